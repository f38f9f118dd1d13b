#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::*;
use crate::{
    grpc::auth::{Auth, Mode},
    model::WorkspaceId,
    secret::Secret,
};

const CRM: &str = "bbg_token-of-the-crm-00000000000000000";
const READER: &str = "bbg_token-of-a-reader-0000000000000000";

fn auth(secret: &Secret, first_key: &str) -> Auth {
    let folder = TempDir::new().unwrap();
    for (name, key) in [("acme", "canary-acme"), ("acme-1", "canary-first"), ("globex", "canary-globex")] {
        let path = folder.path().join(name);
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let digest = |token: &str| TokenDigest::of(token.as_bytes()).to_hex();
    let text = format!(
        "[workspaces.acme]\nkey_file = 'acme'\n{first_key}\n[workspaces.globex]\nkey_file = 'globex'\n\
         [callers.crm]\ntoken_sha256 = ['{}']\nworkspaces = {{ acme = 'write', globex = 'write' }}\n\
         [callers.reader]\ntoken_sha256 = ['{}']\ncertificates = ['dns:reader.example']\n\
         workspaces = {{ acme = 'read' }}\n",
        digest(CRM),
        digest(READER)
    );
    let path = folder.path().join("access.toml");
    fs::write(&path, text).unwrap();
    Auth::held(secret, Access::load(&path).unwrap())
}

fn metadata(headers: &[(&'static str, &str)]) -> MetadataMap {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    MetadataMap::from_headers(map)
}

fn admit(auth: &Auth, headers: &[(&'static str, &str)], names: &[&str]) -> Result<Workspace, Error> {
    let mut extensions = Extensions::new();
    if !names.is_empty() {
        extensions.insert(Peer { names: names.iter().map(ToString::to_string).collect() });
    }
    auth.admit(&metadata(headers), &extensions, Right::Read).map(|(workspace, _)| workspace)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_token_opens_a_workspace_whatever_the_case_of_its_scheme() {
    let auth = auth(&Secret::random(), "");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let workspace = admit(&auth, &[("authorization", &format!("{scheme} {READER}"))], &[]).unwrap();
        assert_eq!(workspace.key.current().expose(), "canary-acme");
        assert!(workspace.key.is_held());
    }
    let chosen = [("authorization", bearer(CRM)), ("x-workspace", "globex".to_owned())];
    let chosen: Vec<_> = chosen.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(admit(&auth, &chosen, &[]).unwrap().key.current().expose(), "canary-globex");
}

#[test]
fn a_certificate_opens_a_workspace_and_a_token_goes_before_it() {
    let auth = auth(&Secret::random(), "");
    let names = ["dns:reader.example"];
    assert_eq!(admit(&auth, &[], &names).unwrap().key.current().expose(), "canary-acme");
    let with = |value: &str| admit(&auth, &[("authorization", value)], &names);
    assert_eq!(with(&bearer(CRM)).unwrap_err().violations()[0].field, "x-workspace", "the token's caller");
    for wrong in [bearer(&"x".repeat(40)), "Basic Y2FuYXJ5".to_owned(), String::new()] {
        assert_eq!(with(&wrong).unwrap_err().reason(), Reason::CredentialsInvalid, "{wrong}");
    }
    assert_eq!(admit(&auth, &[], &["dns:canary"]).unwrap_err().reason(), Reason::CredentialsInvalid);
}

#[test]
fn what_cannot_be_a_credential_is_refused_in_words_that_say_what_to_send() {
    let auth = auth(&Secret::random(), "");
    let (good, long) = (bearer(READER), bearer(&"canary".repeat(100)));
    let lists: [&[(&'static str, &str)]; 13] = [
        &[],
        &[("authorization", "")],
        &[("authorization", "canary")],
        &[("authorization", READER)],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer canary-short-canary-short-cana")],
        &[("authorization", "Bearer  canary-token-with-two-spaces-before")],
        &[("authorization", "Bearer canary-token-with-a-tab\t-00000000000")],
        &[("authorization", "Bearer canary-token-\u{fc}-00000000000000000000")],
        &[("authorization", &long)],
        &[("authorization", &good), ("authorization", &good)],
        // However good the token: the key may be another workspace's.
        &[("authorization", &good), ("x-api-key", "canary")],
        &[("x-api-key", "canary")],
    ];
    for headers in lists {
        let error = admit(&auth, headers, &[]).unwrap_err();
        assert_eq!(error.reason(), Reason::CredentialsInvalid, "{headers:?}");
        assert!(error.message().contains("authorization") || error.message().contains("token"), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn a_choice_that_is_none_is_forbidden_and_two_are_one_too_many() {
    let auth = auth(&Secret::random(), "");
    let good = bearer(READER);
    for name in ["", "globex", "canary", "ACME", "acme ", "canary\u{fc}"] {
        let error = admit(&auth, &[("authorization", &good), ("x-workspace", name)], &[]).unwrap_err();
        assert_eq!(error.reason(), Reason::WorkspaceForbidden, "{name}");
        assert!(!error.message().contains("canary"), "{error}");
    }
    let twice = [("authorization", good.as_str()), ("x-workspace", "acme"), ("x-workspace", "acme")];
    assert_eq!(admit(&auth, &twice, &[]).unwrap_err().violations()[0].field, "x-workspace");
}

#[test]
fn a_workspace_keeps_the_name_that_its_first_key_gave_it_and_else_is_named_by_nothing_that_is_a_key() {
    let secret = Secret::random();
    let passed = Auth::passed(&secret, &[]);
    let by_key = |key: &str| admit(&passed, &[("x-api-key", key)], &[]).unwrap().id;
    let id =
        |auth: &Auth| -> WorkspaceId { admit(auth, &[("authorization", &bearer(READER))], &[]).unwrap().id };
    let (first, unnamed) = (id(&auth(&secret, "first_key_file = 'acme-1'")), id(&auth(&secret, "")));
    assert_eq!(first, by_key("canary-first"));
    for key in ["acme", "canary-acme", "canary-first"] {
        assert_ne!(unnamed, by_key(key), "{key}");
    }
    assert_eq!(unnamed, id(&auth(&secret, "")));
    assert_ne!(unnamed, id(&auth(&Secret::random(), "")), "under another secret it has another name");
    assert!(matches!(passed.0, Mode::Passed(_)));
}

#[test]
fn where_keys_are_passed_through_nothing_else_is_looked_at() {
    let passed = Auth::passed(&Secret::random(), &[]);
    let headers = [("x-api-key", "k"), ("x-workspace", "globex"), ("authorization", "Bearer x")];
    let mut extensions = Extensions::new();
    extensions.insert(Peer { names: ["dns:reader.example".to_owned()].into() });
    let (workspace, _) = passed.admit(&metadata(&headers), &extensions, Right::Write).unwrap();
    assert_eq!(workspace.key.current().expose(), "k");
    assert!(!workspace.key.is_held());
    assert_eq!(
        admit(&passed, &headers[1..], &["dns:reader.example"]).unwrap_err().reason(),
        Reason::ApiKeyInvalid
    );
}

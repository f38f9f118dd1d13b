#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::*;
use crate::error::Reason;

/// An access file and its keys, in a folder of their own.
struct Files(TempDir);

const FILE: &str = r#"
[workspaces.acme]
key_file = "keys/acme"
first_key_file = "keys/acme-1"

[workspaces.globex]
key_file = "keys/globex"

[callers.crm]
token_sha256 = ["TOKEN-OLD", "TOKEN-NEW"]
certificates = ["spiffe://mesh.example/crm"]
workspaces = { acme = "write", globex = "read" }

[callers.reports]
certificates = ["dns:reports.example"]
workspaces = { globex = "read" }
"#;

const OLD: &str = "old-token-of-crm-old-token-of-crm-000";
const NEW: &str = "new-token-of-crm-new-token-of-crm-000";

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        fs::create_dir(files.0.path().join("keys")).unwrap();
        for (name, key) in
            [("acme", "canary-acme-2\n"), ("acme-1", "canary-acme-1"), ("globex", "canary-globex\r\n")]
        {
            files.key(name, key);
        }
        files.write(FILE);
        files
    }

    fn key(&self, name: &str, content: &str) {
        let path = self.0.path().join("keys").join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn write(&self, text: &str) {
        let digest = |token: &str| TokenDigest::of(token.as_bytes()).to_hex();
        let text = text.replace("TOKEN-OLD", &digest(OLD)).replace("TOKEN-NEW", &digest(NEW));
        fs::write(self.0.path().join("access.toml"), text).unwrap();
    }

    fn load(&self) -> Result<Access, String> {
        Access::load(&self.0.path().join("access.toml"))
    }

    /// What is said of a file in which this stands in place of that.
    fn problem(&self, from: &str, to: &str) -> String {
        assert!(FILE.contains(from), "{from}");
        self.write(&FILE.replace(from, to));
        self.load().unwrap_err()
    }
}

fn token(token: &str) -> Shown {
    Shown::Token(TokenDigest::of(token.as_bytes()))
}

fn certificate(names: &[&str]) -> Shown {
    Shown::Certificate(Peer { names: names.iter().map(ToString::to_string).collect() })
}

fn refusal(access: &Access, shown: &Shown, workspace: Option<&str>, wants: Right) -> Reason {
    access.admit(shown, workspace, wants).unwrap_err().reason()
}

#[test]
fn a_caller_is_known_by_each_token_and_each_certificate_of_its() {
    let access = Files::new().load().unwrap();
    for shown in [token(OLD), token(NEW), certificate(&["dns:other", "spiffe://mesh.example/crm"])] {
        let granted = access.admit(&shown, Some("acme"), Right::Write).unwrap();
        assert_eq!((&*granted.caller, &*granted.workspace), ("crm", "acme"));
        assert_eq!(granted.key.current().expose(), "canary-acme-2");
        assert!(matches!(granted.identity, Identity::FirstKey(key) if key.expose() == "canary-acme-1"));
    }
    for stranger in [
        token("nobodys-token-nobodys-token-nobodys-0"),
        certificate(&[]),
        // Names are compared as they are.
        certificate(&[
            "dns:REPORTS.example",
            "dns:x.reports.example",
            "reports.example",
            "spiffe://mesh.example/crm/x",
        ]),
        // Neither caller would be more right than the other.
        certificate(&["dns:reports.example", "spiffe://mesh.example/crm"]),
    ] {
        assert_eq!(
            refusal(&access, &stranger, None, Right::Read),
            Reason::CredentialsInvalid,
            "{stranger:?}"
        );
    }
}

#[test]
fn a_caller_is_in_the_workspace_that_it_names_or_in_its_only_one() {
    let access = Files::new().load().unwrap();
    let reports = certificate(&["dns:reports.example"]);
    let granted = access.admit(&reports, None, Right::Read).unwrap();
    assert_eq!((&*granted.workspace, granted.key.current().expose()), ("globex", "canary-globex"));
    assert!(matches!(granted.identity, Identity::Name(name) if &*name == "globex"));
    let unchosen = access.admit(&token(NEW), None, Right::Read).unwrap_err();
    assert_eq!(unchosen.violations()[0].field, "x-workspace");
    // What is not there and what is another's sound alike.
    let told = |name| access.admit(&reports, Some(name), Right::Read).unwrap_err();
    assert_eq!(told("acme"), told("no-such"));
    assert_eq!(told("acme").reason(), Reason::WorkspaceForbidden);
}

#[test]
fn who_may_write_may_read_and_who_may_read_may_not_write() {
    let access = Files::new().load().unwrap();
    let crm = token(NEW);
    assert!(access.admit(&crm, Some("acme"), Right::Read).is_ok());
    assert!(access.admit(&crm, Some("globex"), Right::Read).is_ok());
    let refused = access.admit(&crm, Some("globex"), Right::Write).unwrap_err();
    assert_eq!(refused.reason(), Reason::WorkspaceForbidden);
    assert!(refused.message().contains("read"), "{refused}");
}

#[test]
fn what_is_wrong_is_told_by_its_place_and_never_by_a_key_or_a_token() {
    let files = Files::new();
    for (from, to, part) in [
        ("[workspaces.acme]", "[workspaces.acme", "line 2"),
        ("[workspaces.acme]", "colour = 1\n[workspaces.acme]", "colour"),
        ("[workspaces.acme]", "[workspaces.\"a c\"]", "workspaces.a c: a name"),
        ("\"keys/acme\"", "7", "workspaces.acme.key_file"),
        ("\"keys/acme\"", "\"keys/none\"", "there is no file"),
        ("key_file = \"keys/globex\"", "", "workspaces.globex: key_file is missing"),
        ("\"keys/globex\"", "\"keys/acme\"", "workspaces.globex: a key of it is one of workspaces.acme"),
        ("\"keys/globex\"", "\"keys/acme-1\"", "workspaces.globex: a key of it is one of workspaces.acme"),
        ("\"TOKEN-OLD\"", "\"canary-token-itself\"", "callers.crm.token_sha256, number 1: must"),
        (
            "\"TOKEN-OLD\"",
            "\"TOKEN-NEW\"",
            "callers.crm.token_sha256: a digest stands at callers.crm already",
        ),
        ("[\"TOKEN-OLD\", \"TOKEN-NEW\"]", "\"canary-token\"", "callers.crm.token_sha256: must be a list"),
        ("\"TOKEN-OLD\"", "12", "callers.crm.token_sha256, number 1: must be a text"),
        ("token_sha256 = [", "token = [\"canary\"]\ntoken_sha256 = [", "there is no setting \"token\""),
        ("\"dns:reports.example\"", "\"dns:*.example\"", "wildcards"),
        ("\"dns:reports.example\"", "\"reports.example\"", "callers.reports.certificates, number 1"),
        ("\"dns:reports.example\"", "\"spiffe://mesh.example/crm\"", "stands at callers.crm already"),
        ("certificates = [\"dns:reports.example\"]", "", "callers.reports: needs a token_sha256"),
        ("{ globex = \"read\" }", "{ globex = \"canary\" }", "callers.reports.workspaces.globex: must be"),
        ("{ globex = \"read\" }", "{ initech = \"read\" }", "there is no [workspaces.initech]"),
        ("{ globex = \"read\" }", "{ }", "callers.reports.workspaces: must name"),
        ("workspaces = { globex = \"read\" }\n", "", "callers.reports.workspaces: must name"),
        ("= \"keys/acme\"", "= canary", "line 3"),
    ] {
        let problem = files.problem(from, to);
        assert!(problem.contains(part), "{to}: {problem}");
        assert!(!problem.contains("canary"), "{problem}");
    }
    files.write("");
    let problem = files.load().unwrap_err();
    assert!(problem.contains("[workspaces.NAME]") && problem.contains("[callers.NAME]"), "{problem}");
}

#[test]
fn a_key_file_holds_one_key_and_is_private() {
    let files = Files::new();
    for content in ["", "canary one", "canary\nother", "canary\n\n", &"k".repeat(513), &"k".repeat(5_000)] {
        files.key("globex", content);
        let problem = files.load().unwrap_err();
        assert!(
            problem.contains("workspaces.globex.key_file") && problem.contains("one API key"),
            "{problem}"
        );
        assert!(!problem.contains("canary"), "{problem}");
    }
    files.key("globex", "good");
    let path = files.0.path().join("keys/globex");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(files.load().unwrap_err().contains("chmod 600"));
}

#[test]
fn all_problems_are_told_at_once() {
    let files = Files::new();
    let problem = files.problem(
        FILE,
        "[workspaces.a]\nkey = 1\n[workspaces.b]\nkey_file = \"keys/none\"\n[callers.c]\nworkspaces = { x = \"read\" }",
    );
    for part in ["no setting \"key\"", "key_file is missing", "keys/none", "needs a token", "[workspaces.x]"]
    {
        assert!(problem.contains(part), "{part}: {problem}");
    }
}

#[test]
fn a_renewed_key_is_the_key_of_those_who_were_let_in_before() {
    let files = Files::new();
    let access = files.load().unwrap();
    let before = access.admit(&token(NEW), Some("acme"), Right::Write).unwrap();
    let begun = before.key.current();
    assert_eq!(access.look(), Look::Same);
    files.key("acme", "canary-acme-3");
    assert_eq!(access.look(), Look::Changed);
    assert_eq!(before.key.current().expose(), "canary-acme-3");
    assert_eq!(begun.expose(), "canary-acme-2", "an operation keeps the key that it began with");
}

#[test]
fn a_bad_file_changes_nothing_and_renews_no_key() {
    let files = Files::new();
    let access = files.load().unwrap();
    let granted = access.admit(&token(NEW), Some("acme"), Right::Write).unwrap();
    files.key("acme", "canary-acme-3");
    files.write(&FILE.replace("certificates", "certificate"));
    assert_eq!(access.look(), Look::Refused);
    assert_eq!(granted.key.current().expose(), "canary-acme-2");
    assert!(access.admit(&certificate(&["dns:reports.example"]), None, Right::Read).is_ok());
}

#[test]
fn a_workspace_stays_the_same_one_for_as_long_as_the_server_runs() {
    let files = Files::new();
    let access = files.load().unwrap();
    files.key("acme-1", "canary-another");
    assert_eq!(access.look(), Look::Refused, "another first key");
    files.key("acme-1", "canary-acme-1");
    assert_eq!(access.look(), Look::Same);
    for (from, to) in [
        ("first_key_file = \"keys/acme-1\"\n", ""),
        ("key_file = \"keys/globex\"", "key_file = \"keys/globex\"\nfirst_key_file = \"keys/globex\""),
    ] {
        files.write(&FILE.replace(from, to));
        assert_eq!(access.look(), Look::Refused, "{to}");
    }
    let told = book::load(&files.0.path().join("access.toml"), access.0.current().workspaces());
    assert!(told.err().unwrap()[0].contains("globex.first_key_file: with another first key"));
}

#[test]
fn a_token_that_is_taken_out_opens_nothing_from_the_next_look_on() {
    let files = Files::new();
    let access = files.load().unwrap();
    files.write(&FILE.replace("\"TOKEN-OLD\", ", ""));
    assert!(access.admit(&token(OLD), Some("acme"), Right::Read).is_ok(), "nobody has looked");
    access.look();
    assert_eq!(refusal(&access, &token(OLD), Some("acme"), Right::Read), Reason::CredentialsInvalid);
    assert!(access.admit(&token(NEW), Some("acme"), Right::Read).is_ok());
}

#[tokio::test]
async fn who_waits_for_a_right_to_be_withdrawn_hears_what_a_new_call_would() {
    use futures_util::FutureExt as _;
    for (from, to, reason) in [
        ("\"TOKEN-OLD\", ", "", Reason::CredentialsInvalid),
        ("acme = \"write\", ", "", Reason::WorkspaceForbidden),
        ("acme = \"write\"", "acme = \"read\"", Reason::WorkspaceForbidden),
    ] {
        let files = Files::new();
        let access = files.load().unwrap();
        let withdrawn = access.clone().withdrawn(token(OLD), "acme".into(), Right::Write);
        tokio::pin!(withdrawn);
        assert!(withdrawn.as_mut().now_or_never().is_none());
        files.key("globex", "canary-globex-2");
        access.look();
        assert!(withdrawn.as_mut().now_or_never().is_none(), "a change that is not its own");
        files.write(&FILE.replace(from, to));
        access.look();
        assert_eq!(withdrawn.now_or_never().unwrap().reason(), reason, "{from}");
    }
}

//! Keys that the server holds: who may call what, where, and for how long.

mod handles;
mod live;
mod matrix;
mod rotation;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use blubash_grpc::{
    access::TokenDigest,
    pb::{self, campaigns_service_client::CampaignsServiceClient},
    sandbox,
};
use tempfile::TempDir;
use tonic::{Request, Response, Status, transport::Channel};

use crate::harness::{App, item, request_id};

/// What a caller sends with its calls.
type Headers<'a> = &'a [(&'static str, &'a str)];

const WRITER: &str = "Bearer bbg_writer-of-acme-0000000000000000000000000000";
const READER: &str = "Bearer bbg_reader-of-acme-0000000000000000000000000000";
const STRANGER: &str = "Bearer bbg_writer-of-globex-00000000000000000000000000";
const BOTH: &str = "Bearer bbg_writer-of-acme-and-globex-00000000000000000";
const NOBODY: &str = "Bearer bbg_nobody-has-this-token-00000000000000000000";

/// The URI in a certificate of who may read in acme, and in globex.
const READERS_NAME: &str = "spiffe://mesh.example/reader";

/// An access file and its keys.
struct Files(TempDir);

impl Files {
    /// The sandbox's keys, a caller a role.
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        for (workspace, key) in [
            ("acme", sandbox::ACME_API_KEY),
            ("globex", sandbox::GLOBEX_API_KEY),
            ("free-plan", sandbox::FREE_PLAN_API_KEY),
        ] {
            files.key(workspace, key);
        }
        files.write(&Self::text());
        files
    }

    fn text() -> String {
        let callers = [
            ("writer", WRITER, "acme = 'write'"),
            ("reader", READER, "acme = 'read'"),
            ("stranger", STRANGER, "globex = 'write', free-plan = 'write'"),
            ("both", BOTH, "acme = 'write', globex = 'write'"),
        ];
        let mut text = String::new();
        for workspace in ["acme", "globex", "free-plan"] {
            text += &format!("[workspaces.{workspace}]\nkey_file = '{workspace}'\n");
        }
        for (name, credential, workspaces) in callers {
            text += &format!("[callers.{name}]\ntoken_sha256 = ['{}']\n", digest(credential));
            text += &format!("workspaces = {{ {workspaces} }}\n");
        }
        text += &format!("[callers.mesh-reader]\ncertificates = ['{READERS_NAME}']\n");
        text += "workspaces = { acme = 'read', globex = 'read' }\n";
        text
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("access.toml")
    }

    fn key(&self, workspace: &str, key: &str) {
        let (path, draft) = (self.0.path().join(workspace), self.0.path().join("draft"));
        fs::write(&draft, key).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(draft, path).unwrap();
    }

    /// At once, as an operator's tools should: the server may look at any time.
    fn write(&self, text: &str) {
        let draft = self.0.path().join("draft.toml");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.path()).unwrap();
    }

    fn flag(&self) -> String {
        format!("--access-file={}", self.path().display())
    }

    async fn serve(&self) -> App {
        App::with(sandbox::Options::default(), &[&self.flag(), "--reload-interval=100ms"]).await
    }
}

fn digest(credential: &str) -> String {
    TokenDigest::of(credential.strip_prefix("Bearer ").unwrap().as_bytes()).to_hex()
}

fn with<T>(message: T, headers: Headers) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request.set_timeout(Duration::from_secs(60));
    request
}

fn get(campaign: &str, id: &str, max_staleness: i64) -> pb::GetMessageRequest {
    pb::GetMessageRequest {
        campaign_id: campaign.into(),
        message_id: id.into(),
        max_staleness: Some(prost_types::Duration { seconds: max_staleness, nanos: 0 }),
    }
}

async fn add(
    app: &App,
    headers: Headers<'_>,
    campaign: &str,
    id: &str,
) -> Result<pb::AddAudienceResponse, Status> {
    add_by(app.client.clone(), headers, campaign, id).await
}

async fn add_by(
    mut client: CampaignsServiceClient<Channel>,
    headers: Headers<'_>,
    campaign: &str,
    id: &str,
) -> Result<pb::AddAudienceResponse, Status> {
    let message = pb::AddAudienceRequest {
        campaign_id: campaign.into(),
        options: Some(request_id(id)),
        items: vec![item("5511900000001")],
    };
    let request = with(tokio_stream::iter([message]), headers);
    client.add_audience(request).await.map(Response::into_inner)
}

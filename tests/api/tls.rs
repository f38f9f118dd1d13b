//! TLS on the listener: who may shake hands, and certificates that change while calls are made.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use blubash_grpc::{
    pb::{self, campaigns_service_client::CampaignsServiceClient},
    sandbox::{EVERGREEN, Options, SEEDED, SEEDED_MESSAGES},
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{App, item, keyed, request_id};

/// A root, and what it vouches for, in files.
pub(crate) struct Authority {
    folder: TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    cert: String,
    key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let this = Self { folder: TempDir::new().unwrap(), root };
        std::fs::write(this.path("ca.pem"), this.root.pem()).unwrap();
        this.renew();
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate of these names.
    pub(crate) fn issue(&self, names: Vec<SanType>) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.root).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// A certificate for a caller who goes by this URI.
    pub(crate) fn caller(&self, uri: &str) -> Pair {
        self.issue(vec![SanType::URI(uri.try_into().unwrap())])
    }

    /// Gives the server a new certificate.
    pub(crate) fn renew(&self) {
        let pair = self.issue(vec![SanType::DnsName("localhost".try_into().unwrap())]);
        std::fs::write(self.path("cert.pem"), pair.cert).unwrap();
        std::fs::write(self.path("key.pem"), pair.key).unwrap();
        std::fs::set_permissions(self.path("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The flags of a server with its certificate, and with `--tls-client-ca-file` if `clients`.
    pub(crate) fn flags(&self, clients: bool) -> Vec<String> {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let mut flags = vec![
            flag("tls-cert-file", "cert.pem"),
            flag("tls-key-file", "key.pem"),
            "--reload-interval=100ms".to_owned(),
        ];
        if clients {
            flags.push(flag("tls-client-ca-file", "ca.pem"));
        }
        flags
    }

    /// Connects as who holds this certificate.
    pub(crate) async fn connect(&self, app: &App, caller: Option<&Pair>) -> Result<Channel, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match caller {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let address = app.address.trim_start_matches("http://").to_owned();
        let connect = tower::service_fn(move |_: http::Uri| {
            let (connector, address) = (connector.clone(), address.clone());
            async move {
                let socket = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").unwrap();
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, socket).await?))
            }
        });
        let endpoint = Endpoint::from_shared(app.address.clone()).unwrap();
        endpoint.connect_with_connector(connect).await.map_err(|error| format!("{error:?}"))
    }
}

pub(crate) async fn app(flags: &[String]) -> App {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    App::with(Options::default(), &flags).await
}

async fn get(channel: &Channel) -> Result<(), tonic::Status> {
    let (campaign_id, message_id) = (SEEDED.to_owned(), SEEDED_MESSAGES[0].to_owned());
    let request = pb::GetMessageRequest { campaign_id, message_id, max_staleness: None };
    CampaignsServiceClient::new(channel.clone()).get_message(keyed(request)).await.map(|_| ())
}

/// The serial number, say: what tells certificates apart.
pub(crate) async fn presented(app: &App) -> Vec<u8> {
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(app.address.trim_start_matches("http://")).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Trusts every server: it only looks.
#[derive(Debug)]
struct Anyone;

mod anyone {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    impl ServerCertVerifier for super::Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}

#[tokio::test]
async fn a_caller_who_trusts_the_root_is_served_over_tls_and_nobody_in_the_clear() {
    let authority = Authority::new();
    let app = app(&authority.flags(false)).await;
    let channel = authority.connect(&app, None).await.unwrap();
    get(&channel).await.unwrap();
    assert!(app.get(SEEDED, SEEDED_MESSAGES[0]).await.is_err(), "plain HTTP/2 is not answered");
}

#[tokio::test]
async fn where_callers_need_a_certificate_one_of_the_right_root_is_needed() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let app = app(&authority.flags(true)).await;
    let channel = authority.connect(&app, Some(&authority.caller("spiffe://mesh/crm"))).await.unwrap();
    get(&channel).await.unwrap();
    for caller in [None, Some(stranger.caller("spiffe://mesh/crm"))] {
        // With TLS 1.3 a client learns that it was turned away from its first read.
        if let Ok(channel) = authority.connect(&app, caller.as_ref()).await {
            assert!(get(&channel).await.is_err());
        }
    }
    get(&channel).await.unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_presented_to_who_comes_and_cuts_nobody_who_is_there() {
    let authority = Authority::new();
    let app = app(&authority.flags(false)).await;
    let channel = authority.connect(&app, None).await.unwrap();
    let request = pb::WatchMessagesRequest { campaign_id: EVERGREEN.into(), ..Default::default() };
    let watch = CampaignsServiceClient::new(channel.clone()).watch_messages(keyed(request)).await;
    let mut watch = watch.unwrap().into_inner();
    let first = presented(&app).await;
    authority.renew();
    while presented(&app).await == first {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The old connection's calls, that one and new ones, go on.
    let mut client = CampaignsServiceClient::new(channel.clone());
    let message = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("renewed")),
        items: vec![item("5511900000001")],
    };
    let added = client.add_audience(keyed(tokio_stream::once(message))).await.unwrap().into_inner();
    let id = &added.results[0].added.as_ref().unwrap().message_id;
    loop {
        let update = watch.message().await.unwrap().unwrap();
        if format!("{update:?}").contains(id) {
            break;
        }
    }

    // A key that is not the certificate's: the one before goes on counting.
    let second = presented(&app).await;
    std::fs::write(authority.path("key.pem"), authority.caller("spiffe://mesh/x").key).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(presented(&app).await, second);
    get(&authority.connect(&app, None).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn files_that_are_no_pair_or_can_be_read_by_others_are_refused_by_their_flags() {
    let authority = Authority::new();
    let refused = async |authority: &Authority| {
        let mut arguments =
            vec!["serve".to_owned(), "--sandbox".to_owned(), "--listen=127.0.0.1:0".to_owned()];
        arguments.extend(authority.flags(true));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, said) = crate::binary::refused(&arguments).await;
        assert_eq!(code, 1, "{said}");
        said
    };
    std::fs::set_permissions(authority.path("key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = refused(&authority).await;
    assert!(said.contains("--tls-key-file") && said.contains("chmod 600"), "{said}");

    authority.renew();
    std::fs::write(authority.path("key.pem"), authority.caller("spiffe://mesh/x").key).unwrap();
    let said = refused(&authority).await;
    assert!(said.contains("--tls-key-file") && said.contains("belong"), "{said}");

    authority.renew();
    std::fs::write(authority.path("ca.pem"), "canary").unwrap();
    let said = refused(&authority).await;
    assert!(said.contains("--tls-client-ca-file") && !said.contains("canary"), "{said}");

    std::fs::remove_file(authority.path("cert.pem")).unwrap();
    assert!(refused(&authority).await.contains("--tls-cert-file"));
}

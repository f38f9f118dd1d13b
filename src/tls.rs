//! TLS on the listener, with certificates that are read anew when their files change.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    model::Peer,
    reload::{Digesting, Read, Reloaded},
    secret,
};

/// A chain or a bundle of certificates is far smaller.
const MAX_BYTES: usize = 1 << 20;

/// A file of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct Fault {
    /// The flag that names it.
    pub flag: &'static str,
    /// What is wrong with it. It quotes nothing of it.
    pub problem: String,
}

/// What stands before a DNS name.
const DNS: &str = "dns:";

/// What TLS is made of: PEM files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The server's certificate, followed by those between it and the root.
    pub cert: PathBuf,
    /// The certificate's private key, for this process's user only.
    pub key: PathBuf,
    /// Who vouches for the callers' certificates. `None`: callers are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a caller without a certificate is turned away, where there is a `client_ca`.
    pub client_required: bool,
    /// Whether HTTP/1.1 is spoken beside HTTP/2.
    pub http1: bool,
}

/// TLS, as the files say it now. Connections that stand keep what they were made with. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<Reloaded<Arc<ServerConfig>>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Which of them cannot be used, and why.
    pub fn open(files: Files) -> Result<Self, Fault> {
        Reloaded::new("tls", move || files.read()).map(Self)
    }

    /// The files, to be looked at again from time to time.
    pub fn reloaded(&self) -> Arc<Reloaded<Arc<ServerConfig>>> {
        Arc::clone(&self.0)
    }

    /// Shakes hands, and says who the caller's certificate names, if it brought one.
    ///
    /// # Errors
    /// Where that fails: no common protocol, a certificate that nobody vouches for.
    pub async fn accept<Io>(&self, io: Io) -> io::Result<(TlsStream<Io>, Option<Peer>)>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&*self.0.current());
        let stream = TlsAcceptor::from(config).accept(io).await?;
        // Verified by now: a handshake with another one has failed.
        let peer = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(names);
        Ok((stream, peer))
    }
}

/// The names in a certificate; `None`: it cannot be read.
fn names(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    // No URI may pass for one of the other kind.
    let uris = certificate.valid_uri_names().filter(|uri| !uri.starts_with(DNS)).map(str::to_owned);
    let hosts = certificate.valid_dns_names().map(|name| format!("{DNS}{name}"));
    Some(Peer { names: uris.chain(hosts).collect() })
}

const CERT: &str = "--tls-cert-file";
const KEY: &str = "--tls-key-file";
const CLIENT_CA: &str = "--tls-client-ca-file";

impl Files {
    fn read(&self) -> Result<Read<Arc<ServerConfig>>, Fault> {
        let mut digesting = Digesting::default();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(CERT, &self.cert, &mut digesting)?;
        let key = self.key(&mut digesting)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault { flag: CERT, problem: error.to_string() })?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let refused = |why: &dyn fmt::Display| Fault {
                    flag: CLIENT_CA,
                    problem: format!("{}: {why}", path.display()),
                };
                let mut roots = RootCertStore::empty();
                for root in certificates(CLIENT_CA, path, &mut digesting)? {
                    roots.add(root).map_err(|error| refused(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = if self.client_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(&error))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| Fault {
            flag: KEY,
            problem: format!(
                "{error}; does the key in {} belong to the first certificate in {}?",
                self.key.display(),
                self.cert.display()
            ),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if self.http1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Ok(Read { value: Arc::new(config), digest: digesting.finish() })
    }

    fn key(&self, digesting: &mut Digesting) -> Result<PrivateKeyDer<'static>, Fault> {
        let refused = |problem: String| Fault { flag: KEY, problem };
        let content = secret::read_private(&self.key, MAX_BYTES)
            .map_err(|fault| refused(fault.to_string()))?
            .ok_or_else(|| refused(format!("there is no file {}", self.key.display())))?;
        digesting.add(&content);
        // What the parser says could quote the file.
        PrivateKeyDer::from_pem_slice(&content).map_err(|_| {
            refused(format!(
                "{} holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted)",
                self.key.display()
            ))
        })
    }
}

fn certificates(
    flag: &'static str,
    path: &Path,
    digesting: &mut Digesting,
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let refused = |why: &str| Fault { flag, problem: format!("{}: {why}", path.display()) };
    let content = std::fs::read(path).map_err(|error| refused(&error.to_string()))?;
    if content.len() > MAX_BYTES {
        return Err(refused("has more than 1 MiB: is it the right file?"));
    }
    digesting.add(&content);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(refused("holds no certificate in PEM")),
    }
}

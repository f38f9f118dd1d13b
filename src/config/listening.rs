//! How callers reach the service: connections, calls, TLS, web pages.

use std::{num::NonZeroU32, time::Duration};

use http::HeaderValue;
use url::Url;

use super::{ConfigError, Flags};
use crate::tls::{Files, Tls};

/// What connections may do.
#[derive(Clone, Debug)]
pub struct Connections {
    /// The most at once.
    pub max: usize,
    /// The most calls of one at once.
    pub max_streams: u32,
    /// How long one may take to begin.
    pub handshake_timeout: Duration,
    /// The age at which one takes no new calls. `None`: never.
    pub max_age: Option<Duration>,
    /// How long its calls may still take then.
    pub age_grace: Duration,
    /// The origins whose pages may call. Where there are none, only HTTP/2 is spoken.
    pub web_origins: Vec<HeaderValue>,
}

/// What calls may do.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// The most at once, until their answers begin.
    pub max: usize,
    /// The most of one workspace among them.
    pub workspace_max: usize,
    /// The most a second of one workspace. `None`: as many as it likes.
    pub workspace_rate: Option<NonZeroU32>,
    /// How long one waits for its caller's next message.
    pub stream_idle: Duration,
}

impl Flags {
    pub(super) fn connections(&self, problems: &mut Vec<ConfigError>) -> Connections {
        let age = self.connection_max_age;
        if !age.is_zero() && !(Duration::from_secs(1)..=Duration::from_secs(30 * 86_400)).contains(&age) {
            let problem = "must be 0s (never) or lie between 1s and 30d".to_owned();
            problems.push(ConfigError { flag: "--connection-max-age", problem });
        }
        let mut web_origins = Vec::new();
        for text in &self.web_origin {
            match origin(text) {
                Ok(origin) => web_origins.push(origin),
                Err(problem) => problems.push(ConfigError { flag: "--web-origin", problem }),
            }
        }
        Connections {
            max: self.max_connections as usize,
            max_streams: self.max_streams,
            handshake_timeout: self.handshake_timeout,
            max_age: (!age.is_zero()).then_some(age),
            age_grace: self.connection_age_grace,
            web_origins,
        }
    }

    pub(super) fn calls(&self) -> Calls {
        Calls {
            max: self.max_calls as usize,
            workspace_max: self.workspace_max_calls as usize,
            workspace_rate: self.workspace_rate.and_then(NonZeroU32::new),
            stream_idle: self.stream_idle_timeout,
        }
    }

    pub(super) fn tls(&self, problems: &mut Vec<ConfigError>) -> Option<Tls> {
        let (cert, key, client_ca) = (&self.tls_cert_file, &self.tls_key_file, &self.tls_client_ca_file);
        for (flag, named, needed, other) in [
            ("--tls-cert-file", cert, key, "--tls-key-file"),
            ("--tls-key-file", key, cert, "--tls-cert-file"),
            ("--tls-client-ca-file", client_ca, cert, "--tls-cert-file"),
        ] {
            if named.is_some() && needed.is_none() {
                problems.push(ConfigError { flag, problem: format!("needs {other} beside it") });
            }
        }
        let (Some(cert), Some(key)) = (cert, key) else { return None };
        let files = Files {
            cert: cert.clone(),
            key: key.clone(),
            client_ca: self.tls_client_ca_file.clone(),
            // With an access file a certificate is one of two ways to say who calls; it is asked for, and the file decides.
            client_required: self.access_file.is_none(),
            http1: !self.web_origin.is_empty(),
        };
        Tls::open(files).map_err(|fault| problems.push(fault.into())).ok()
    }
}

/// An origin as a browser sends it: scheme and host, and the port where it is not the scheme's own.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let example = "write it as browsers send it, for example https://app.example or http://localhost:8080";
    let url = Url::parse(text).map_err(|_| format!("not an origin; {example}"))?;
    let told = url.origin().ascii_serialization();
    if !matches!(url.scheme(), "http" | "https") || told != text {
        return Err(format!("not an origin; {example}"));
    }
    HeaderValue::from_str(&told).map_err(|_| format!("not an origin; {example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends_and_nothing_more() {
        for good in ["https://app.example", "http://localhost:8080", "https://app.example:8443"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "app.example",
            "https://app.example/",
            "https://app.example:443",
            "https://a/b",
            "null",
            "file:///x",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}

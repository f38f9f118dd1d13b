//! Where the upstream is and how long to wait for it.

use std::{num::NonZeroU32, time::Duration};

use url::{Host, Url};

/// Settings of the upstream client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The vendor's base URL with its path, as in `https://api.blubash.io/api/v1/campaigns`. No slash at the end.
    pub base_url: Url,
    /// What is known of how the upstream treats a batch with one bad item.
    pub batches: Batches,
    /// The most time that one attempt of a read may take.
    pub read_attempt_timeout: Duration,
    /// The most time that one attempt of a write may take. Generous: a write that is cut is in doubt.
    pub write_attempt_timeout: Duration,
    /// The most time to look up a name, connect and shake hands.
    pub connect_timeout: Duration,
    /// The most time that all attempts of a read may take; no write is tried again later than this.
    pub operation_timeout: Duration,
    /// The most requests a second that a workspace sends, with bursts of a second's worth. `None`: as many
    /// as it has, since the vendor documents no limit.
    pub rate: Option<NonZeroU32>,
    /// How much of `rate` imports may use, in percent, 1 to 100: the rest is always there for lookups.
    pub bulk_share: u8,
    /// How much of `rate` polls for watchers may use, in percent, 1 to 100. Together with `bulk_share` it may
    /// be more than all: then each gets a little less, and lookups go between them.
    pub poll_share: u8,
    /// The most calls of a workspace that are on their way at once, at least 1. Polls are a quarter of them
    /// at most, but one at least.
    pub concurrency: usize,
    /// The most batches of a workspace that are on their way at once, at least 1, and one less than
    /// `concurrency` at most. They count as calls too.
    pub bulk_concurrency: usize,
}

/// Whether a 4xx to a batch of several items proves that none of them was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Batches {
    /// Nobody knows: such a batch is in doubt.
    #[default]
    Unproven,
    /// The operator declares that a batch is taken as a whole or not at all.
    Atomic,
}

/// Why the client cannot be built. Each text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    /// It does not parse, or has no host.
    #[error("the upstream URL is not a URL with a host: write it as https://api.blubash.io/api/v1/campaigns")]
    NotUrl,
    /// Neither https nor http.
    #[error("the upstream URL must begin with https:// (or http:// for an upstream on this machine)")]
    Scheme,
    /// The key would cross a network in the clear.
    #[error(
        "the upstream URL must begin with https://: plain http is for localhost, 127.0.0.0/8 and [::1] only"
    )]
    PlainHttp,
    /// It names a user or a password.
    #[error("the upstream URL must not hold a user or a password: give the API key by its own setting")]
    Credentials,
    /// It has a query or a fragment.
    #[error("the upstream URL must end after its path: take away what follows \"?\" or \"#\"")]
    QueryOrFragment,
    /// The HTTP client cannot be built.
    #[error(
        "the HTTP client cannot be built ({0}): for https, see that the system has CA certificates (package ca-certificates)"
    )]
    Http(String),
}

impl Config {
    /// The default settings for the upstream at this URL.
    pub fn new(base_url: &str) -> Result<Self, ConfigFault> {
        let mut base_url = Url::parse(base_url.trim()).map_err(|_| ConfigFault::NotUrl)?;
        check(&base_url)?;
        let path = base_url.path().trim_end_matches('/').to_owned();
        base_url.set_path(&path);
        Ok(Self {
            base_url,
            batches: Batches::default(),
            read_attempt_timeout: Duration::from_secs(10),
            write_attempt_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            operation_timeout: Duration::from_secs(30),
            rate: None,
            bulk_share: 80,
            poll_share: 25,
            concurrency: 256,
            bulk_concurrency: 32,
        })
    }

    /// Whether requests travel in the clear, which is allowed on this machine only. Its fields can be
    /// written after [`Config::new`], so they are checked once more before a key is sent.
    pub(super) fn is_plain(&self) -> Result<bool, ConfigFault> {
        check(&self.base_url)?;
        Ok(self.base_url.scheme() == "http")
    }
}

fn check(base_url: &Url) -> Result<(), ConfigFault> {
    let loopback = match base_url.host().ok_or(ConfigFault::NotUrl)? {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    match base_url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(ConfigFault::PlainHttp),
        _ => return Err(ConfigFault::Scheme),
    }
    if !base_url.username().is_empty() || base_url.password().is_some() {
        return Err(ConfigFault::Credentials);
    }
    if base_url.query().is_some() || base_url.fragment().is_some() {
        return Err(ConfigFault::QueryOrFragment);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for url in
            ["http://localhost:1/a", "http://127.9.9.9/a", "http://[::1]:80/a", "https://example.com/a"]
        {
            assert!(Config::new(url).is_ok(), "{url}");
        }
        for (url, fault) in [
            ("http://example.com/a", ConfigFault::PlainHttp),
            ("http://localhost.example.com/a", ConfigFault::PlainHttp),
            ("http://10.0.0.1/a", ConfigFault::PlainHttp),
            ("ftp://example.com/a", ConfigFault::Scheme),
            ("unix:/run/x", ConfigFault::NotUrl),
            ("api.blubash.io", ConfigFault::NotUrl),
            ("https://user@example.com/a", ConfigFault::Credentials),
            ("https://:secret@example.com/a", ConfigFault::Credentials),
            ("https://example.com/a?b", ConfigFault::QueryOrFragment),
            ("https://example.com/a#b", ConfigFault::QueryOrFragment),
        ] {
            assert_eq!(Config::new(url).unwrap_err(), fault, "{url}");
        }
    }

    #[test]
    fn a_url_that_was_changed_later_is_checked_again() {
        let mut config = Config::new("http://localhost:1/a").unwrap();
        assert_eq!(config.is_plain(), Ok(true));
        config.base_url = Url::parse("http://example.com/a").unwrap();
        assert_eq!(config.is_plain(), Err(ConfigFault::PlainHttp));
    }

    #[test]
    fn a_fault_never_repeats_the_url() {
        let fault = Config::new("https://user:hunter2@example.com").unwrap_err();
        assert!(!fault.to_string().contains("hunter2"));
    }

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        for url in ["https://example.com/api/v1/campaigns", "https://example.com/api/v1/campaigns//"] {
            assert_eq!(Config::new(url).unwrap().base_url.path(), "/api/v1/campaigns");
        }
    }
}

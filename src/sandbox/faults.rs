//! Faults on demand: rules that take requests and do them harm, so many times and for so long.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

/// What a request asks of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    Add,
    Get,
    List,
    Cancel,
    /// Anything that the API does not have.
    Other,
}

impl Operation {
    /// Needs the Campaigns feature: "Read endpoints may work even without the feature enabled" [page], and here they do.
    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Add | Self::Cancel)
    }
}

/// A rule as it is posted. Which requests it takes: every condition that is given must hold. What it does: waits `latency_ms`, and then
/// one of `status`, `reset_before`, `reset_after`, `truncate` and `hang_ms`, or none of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rule {
    operation: Option<Operation>,
    method: Option<String>,
    /// A part of the path.
    path: Option<String>,
    /// Lets so many matching requests through first.
    after: u64,
    /// Takes so many requests; without it, all.
    count: Option<u64>,
    /// Ends so long after it was posted, in real time.
    expires_ms: Option<u64>,

    latency_ms: u64,
    /// Answers with this status, 200 to 599. The request is not applied unless `apply` says so.
    status: Option<u16>,
    /// The answer's body: a string goes out as it is, anything else as JSON. Without it, the vendor's error form.
    body: Option<Value>,
    headers: BTreeMap<String, String>,
    /// Reads the request, applies nothing, closes the connection.
    reset_before: bool,
    /// Applies the request, closes the connection.
    reset_after: bool,
    /// Applies the request, sends the head of the answer and half of its body, closes the connection.
    truncate: bool,
    /// Holds the request so long, then closes the connection. Not applied unless `apply` says so.
    hang_ms: Option<u64>,
    apply: bool,
}

/// What is done to one request.
#[derive(Clone, Debug)]
pub(super) enum Harm {
    None,
    Answer { status: u16, body: Option<Value>, headers: BTreeMap<String, String>, apply: bool },
    ResetBefore,
    ResetAfter,
    Truncate,
    Hang { for_: Duration, apply: bool },
}

#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The rule's number.
    pub(super) rule: u64,
    pub(super) latency: Duration,
    pub(super) harm: Harm,
}

impl Rule {
    /// Why the rule makes no sense, if it does not.
    fn complaint(&self) -> Option<&'static str> {
        let header = |(name, value): (&String, &String)| {
            // hyper frames the answer itself, and panics where a header contradicts it.
            let frames =
                ["content-length", "transfer-encoding", "connection"].contains(&name.to_lowercase().as_str());
            !frames && name.parse::<HeaderName>().is_ok() && value.parse::<HeaderValue>().is_ok()
        };
        if !self.headers.iter().all(header) {
            return Some("headers must be names and values of HTTP headers, none of which frames the answer");
        }
        let harms = [
            self.status.is_some(),
            self.reset_before,
            self.reset_after,
            self.truncate,
            self.hang_ms.is_some(),
        ];
        match harms.iter().filter(|harm| **harm).count() {
            0 if self.latency_ms == 0 => {
                Some("a rule needs one of status, reset_before, reset_after, truncate, hang_ms, latency_ms")
            }
            0 | 1 => match self.status {
                Some(status) if !(200..600).contains(&status) => Some("status must be 200 to 599"),
                None if self.body.is_some() || !self.headers.is_empty() => {
                    Some("body and headers need a status")
                }
                None if self.apply && self.hang_ms.is_none() => Some("apply needs status or hang_ms"),
                _ => None,
            },
            _ => Some("status, reset_before, reset_after, truncate and hang_ms exclude each other"),
        }
    }

    fn matches(&self, method: &str, path: &str, operation: Operation) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation)
            && self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|wanted| path.contains(wanted))
    }

    fn harm(&self) -> Harm {
        match self {
            Self { status: Some(status), body, headers, apply, .. } => {
                Harm::Answer { status: *status, body: body.clone(), headers: headers.clone(), apply: *apply }
            }
            Self { hang_ms: Some(ms), apply, .. } => {
                Harm::Hang { for_: Duration::from_millis(*ms), apply: *apply }
            }
            Self { reset_before: true, .. } => Harm::ResetBefore,
            Self { reset_after: true, .. } => Harm::ResetAfter,
            Self { truncate: true, .. } => Harm::Truncate,
            _ => Harm::None,
        }
    }
}

/// A rule at work, as `GET /_sandbox/faults` shows it.
#[derive(Clone, Serialize)]
pub(super) struct Active {
    id: u64,
    #[serde(flatten)]
    rule: Rule,
    /// Requests that met the conditions, those let through by `after` included.
    seen: u64,
    /// Requests that it took.
    taken: u64,
    #[serde(skip)]
    ends: Option<Instant>,
}

#[derive(Default)]
struct Rules {
    active: Vec<Active>,
    made: u64,
}

#[derive(Default)]
pub(super) struct Faults(Mutex<Rules>);

impl Faults {
    /// Puts rules behind those that are there: all of them or, if one makes no sense, none.
    pub(super) fn add(&self, rules: Vec<Rule>) -> Result<(), &'static str> {
        if let Some(complaint) = rules.iter().find_map(Rule::complaint) {
            return Err(complaint);
        }
        self.with(|state| {
            for rule in rules {
                state.made += 1;
                let ends =
                    rule.expires_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
                state.active.push(Active { id: state.made, rule, seen: 0, taken: 0, ends });
            }
        });
        Ok(())
    }

    /// The first rule that takes this request.
    pub(super) fn take(&self, method: &str, path: &str, operation: Operation) -> Option<Fault> {
        self.with(|state| {
            state.drop_expired();
            for active in &mut state.active {
                let spent = active.rule.count.is_some_and(|count| active.taken >= count);
                if spent || !active.rule.matches(method, path, operation) {
                    continue;
                }
                active.seen += 1;
                if active.seen > active.rule.after {
                    active.taken += 1;
                    let latency = Duration::from_millis(active.rule.latency_ms);
                    return Some(Fault { rule: active.id, latency, harm: active.rule.harm() });
                }
            }
            None
        })
    }

    /// The rules that have not expired; spent ones stay visible.
    pub(super) fn all(&self) -> Vec<Active> {
        self.with(|state| {
            state.drop_expired();
            state.active.clone()
        })
    }

    pub(super) fn clear(&self) {
        self.with(|state| state.active.clear());
    }

    fn with<T>(&self, f: impl FnOnce(&mut Rules) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rules {
    fn drop_expired(&mut self) {
        let now = Instant::now();
        self.active.retain(|active| active.ends.is_none_or(|ends| now < ends));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(rules: Value) -> Faults {
        let faults = Faults::default();
        faults.add(serde_json::from_value(rules).unwrap()).unwrap();
        faults
    }

    fn take(faults: &Faults) -> Option<u64> {
        faults.take("POST", "/api/v1/campaigns/c/audience", Operation::Add).map(|fault| fault.rule)
    }

    #[test]
    fn a_rule_takes_so_many_requests_after_so_many() {
        let faults = faults(json!([{"operation": "add", "after": 1, "count": 2, "status": 503}]));
        assert_eq!(
            [take(&faults), take(&faults), take(&faults), take(&faults)],
            [None, Some(1), Some(1), None]
        );
        assert!(faults.take("GET", "/", Operation::List).is_none());
    }

    #[test]
    fn the_first_rule_that_matches_wins_and_a_spent_one_makes_way() {
        let faults = faults(
            json!([{"path": "/audience", "count": 1, "reset_after": true}, {"method": "post", "truncate": true}]),
        );
        assert_eq!([take(&faults), take(&faults), take(&faults)], [Some(1), Some(2), Some(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_expires() {
        let faults = faults(json!([{"expires_ms": 1000, "latency_ms": 1}]));
        assert_eq!(take(&faults), Some(1));
        tokio::time::advance(Duration::from_millis(1000)).await;
        assert_eq!(take(&faults), None);
        assert!(faults.all().is_empty());
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused() {
        for rule in [
            json!({}),
            json!({"status": 500, "truncate": true}),
            json!({"status": 99}),
            json!({"status": 500, "headers": {"no header": "x"}}),
            json!({"status": 500, "headers": {"Content-Length": "1"}}),
            json!({"reset_after": true, "body": "x"}),
            json!({"truncate": true, "apply": true}),
        ] {
            let faults = Faults::default();
            assert!(faults.add(vec![serde_json::from_value(rule.clone()).unwrap()]).is_err(), "{rule}");
        }
        assert!(serde_json::from_value::<Rule>(json!({"stauts": 500})).is_err());
    }
}

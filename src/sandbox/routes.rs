//! The emulated API: one exchange from arrival to answer, and the order in which it refuses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderValue, request::Parts},
    response::Response,
    routing::{get, post},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    answer::Answer,
    audience,
    clock::{Clock, Millis},
    faults::{Fault, Faults, Harm, Operation},
    idempotency::Recall,
    journal::Journal,
    listing,
    message::{Message, Status},
    options::{Idempotency, PlanText},
    store::Store,
    transport::{fabricated, hang_up, read, respond, truncated},
};

/// What all requests share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    pub(super) store: Mutex<Store>,
    /// `Options::max_body`, where no lock is needed to know it.
    pub(super) max_body: usize,
}

impl Shared {
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn router() -> Router<Arc<Shared>> {
    let on = |operation| {
        move |State(shared): State<Arc<Shared>>, request: Request| exchange(shared, operation, request)
    };
    Router::new()
        .route("/api/v1/campaigns/{campaign}/audience", post(on(Operation::Add)))
        .route("/api/v1/campaigns/{campaign}/messages", get(on(Operation::List)))
        .route("/api/v1/campaigns/{campaign}/messages/{message}", get(on(Operation::Get)))
        .route("/api/v1/campaigns/{campaign}/messages/{message}/cancel", post(on(Operation::Cancel)))
        .fallback(on(Operation::Other))
        .method_not_allowed_fallback(on(Operation::Other))
}

async fn exchange(shared: Arc<Shared>, operation: Operation, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let n = shared.journal.begin(&parts, operation, shared.clock.now());
    let fault = shared.faults.take(parts.method.as_str(), parts.uri.path(), operation);
    let Fault { latency, harm, .. } = match fault {
        Some(fault) => {
            shared.journal.took(n, fault.rule);
            fault
        }
        None => Fault { rule: 0, latency: Default::default(), harm: Harm::None },
    };
    let Some(body) = read(body, shared.max_body).await else {
        return hang_up();
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }

    let call = Call::new(operation, &mut parts, &body, n, shared.clock.now()).await;
    let applies = match &harm {
        Harm::None | Harm::ResetAfter | Harm::Truncate => true,
        Harm::ResetBefore => false,
        Harm::Answer { apply, .. } | Harm::Hang { apply, .. } => *apply,
    };
    let answer = {
        let mut store = shared.store();
        let workspace = call.workspace(&store);
        shared.journal.read(
            n,
            workspace.map(|at| store.workspaces[at].name),
            body.as_deref().unwrap_or_default(),
        );
        let answer = if applies { call.act(&mut store, workspace) } else { call.untouched() };
        shared.journal.acted(n, &answer);
        answer
    };

    let (status, response) = match harm {
        Harm::None => (answer.status, respond(answer.status, &HeaderMap::new(), answer.body.into())),
        Harm::Truncate => (answer.status, truncated(&answer)),
        Harm::Answer { status, body, headers, .. } => (status, fabricated(status, body, headers)),
        Harm::ResetBefore | Harm::ResetAfter => return hang_up(),
        Harm::Hang { for_, .. } => {
            tokio::time::sleep(for_).await;
            return hang_up();
        }
    };
    shared.journal.answered(n, status);
    response
}

/// A request, taken apart.
struct Call<'a> {
    operation: Operation,
    campaign: Option<String>,
    message: Option<String>,
    query: &'a str,
    api_key: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    json: bool,
    /// `None`: too long.
    body: Option<&'a [u8]>,
    n: u64,
    now: Millis,
}

impl<'a> Call<'a> {
    async fn new(
        operation: Operation,
        parts: &'a mut Parts,
        body: &'a Option<Bytes>,
        n: u64,
        now: Millis,
    ) -> Self {
        // A path that is no UTF-8 names nothing that exists, so it may end as a 404.
        let names = Path::<Vec<(String, String)>>::from_request_parts(parts, &())
            .await
            .map_or_else(|_| Vec::new(), |Path(names)| names);
        let name = |wanted| names.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        Self {
            operation,
            campaign: name("campaign"),
            message: name("message"),
            query: parts.uri.query().unwrap_or_default(),
            api_key: header("x-api-key"),
            idempotency_key: header("x-idempotency-key"),
            json: header("content-type")
                .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json")),
            body: body.as_deref(),
            n,
            now,
        }
    }

    fn workspace(&self, store: &Store) -> Option<usize> {
        store.workspace(self.api_key?)
    }

    /// For the request log, when a fault keeps the request from being applied.
    fn untouched(&self) -> Answer {
        let items = self.body.filter(|_| self.operation == Operation::Add).and_then(|body| {
            let body = serde_json::from_slice::<Value>(body).ok()?;
            Some(body.get("items")?.as_array()?.len())
        });
        Answer { items, ..Answer::refusal(500, "") }
    }

    /// Refuses in this order: 401, 403, 404, the campaign's state, the body. That order is a guess.
    fn act(&self, store: &mut Store, workspace: Option<usize>) -> Answer {
        if self.operation == Operation::Other {
            return Answer::refusal(404, "Not found");
        }
        let Some(workspace) = workspace else {
            return Answer::refusal(401, "Missing or invalid API key");
        };
        if self.operation.writes() && !store.workspaces[workspace].campaigns_feature {
            return Answer::refusal(
                403,
                match store.options.plan_text {
                    PlanText::Page => "Campaigns feature is not available in your current plan",
                    PlanText::OlderPage => {
                        "Campaigns feature is not available in your current plan. Please upgrade your plan."
                    }
                },
            );
        }
        let id = self.campaign.as_deref().unwrap_or_default();
        if store.campaign(workspace, id).is_none() {
            return Answer::refusal(404, "Campaign not found");
        }
        let key = self
            .idempotency_key
            .filter(|_| self.operation.writes() && store.options.idempotency == Idempotency::Honoured);
        let (Some(key), Some(body)) = (key, self.body) else {
            return self.perform(store, workspace, id);
        };
        let scope =
            format!("{workspace}/{id}/{:?}/{}", self.operation, self.message.as_deref().unwrap_or_default());
        match store.idempotency.recall(&scope, key, body) {
            // A repeat applies nothing, whatever its first time did.
            Recall::Same(answer) => Answer { applied: 0, ..answer },
            Recall::Conflict => {
                Answer::refusal(409, "X-Idempotency-Key was already used with a different request body")
            }
            Recall::New => {
                let answer = self.perform(store, workspace, id);
                // What changed nothing may be tried again, with the same key, when the campaign runs again: a guess.
                if answer.status == 200 || answer.applied > 0 {
                    store.idempotency.keep(&scope, key, body, &answer);
                }
                answer
            }
        }
    }

    fn perform(&self, store: &mut Store, workspace: usize, id: &str) -> Answer {
        let Store { options, .. } = store;
        let (options, now) = (options.clone(), self.now);
        let Some(campaign) = store.campaign(workspace, id) else {
            return Answer::refusal(404, "Campaign not found");
        };
        let message = self.message.as_deref().unwrap_or_default();
        // The page has no row for a message that does not exist: a guess, after the campaign's.
        let unknown = || Answer::refusal(404, "Message not found");
        match self.operation {
            Operation::List => listing::list(campaign.messages(), self.query, &options, now),
            Operation::Get => campaign
                .message(message)
                .map_or_else(unknown, |message| listing::one(message, options.envelope, now)),
            Operation::Cancel => match campaign.message_mut(message) {
                None => unknown(),
                Some(message) => cancel(message, options.cancel_refusal, now),
            },
            Operation::Add => match (campaign.state.refusal(), self.body) {
                (Some(refusal), _) => Answer::refusal(400, refusal),
                (None, None) => Answer::refusal(413, "request entity too large"),
                (None, Some(_)) if !self.json => {
                    Answer::refusal(400, "Content-Type must be application/json")
                }
                (None, Some(body)) => audience::add(store, id, body, now, self.n),
            },
            Operation::Other => Answer::refusal(404, "Not found"),
        }
    }
}

fn cancel(message: &mut Message, refusal: u16, now: Millis) -> Answer {
    #[derive(Serialize)]
    struct Cancelled<'a> {
        id: &'a str,
        status: Status,
    }
    if message.standing(now).status != Status::Queued {
        // The page has the rule but no row for it: the status is a setting, the text a guess.
        let status = if (400..500).contains(&refusal) { refusal } else { 400 };
        return Answer::refusal(status, "Only messages with status QUEUED can be cancelled");
    }
    message.cancelled = Some(now);
    Answer { applied: 1, ..Answer::ok(&Cancelled { id: &message.id, status: Status::Cancelled }) }
}

//! What the model upstream says, and when it says nothing.

use std::{io, time::Duration};

use turmoil::net::TcpStream;

use crate::{
    coverage::CrashPoint,
    harm::{Harm, Lie},
    model::{BY_KEY, Model, PROOF, Processed, body},
    support::wire::{Received, Wire, response, response_of_length},
};

/// An answer that says nothing of what was done.
pub(crate) fn plain(status: u16, headers: &str) -> Vec<u8> {
    response(status, headers, "")
}

/// A refusal by which this request did nothing.
fn proof(status: u16, headers: &str, text: &str) -> Vec<u8> {
    refusal(status, &format!("{PROOF}: request\r\n{headers}"), text)
}

fn refusal(status: u16, headers: &str, text: &str) -> Vec<u8> {
    response(status, headers, &serde_json::json!({"statusCode": status, "message": text}).to_string())
}

const CAMPAIGN_TEXTS: [&str; 3] = [
    "Campaign is not an evergreen campaign",
    "Cannot add contacts to cancelled or failed campaigns",
    "Cannot add contacts while the campaign is paused",
];

impl Model {
    pub(crate) async fn answer(
        &self,
        mut wire: Wire<TcpStream>,
        request: &Received,
        harm: Harm,
    ) -> io::Result<()> {
        let meet = |row| self.world().meet(row);
        let process_if = |applied: bool| applied.then(|| self.process(request));
        let several = request.items().len() > 1;
        let answer = match harm {
            Harm::None => self.true_answer(self.process(request), several),
            Harm::Cut { applied } => {
                meet(if applied { "cut after all was applied" } else { "cut before anything was applied" });
                process_if(applied);
                wire.close().await;
                return Ok(());
            }
            Harm::CutInTheAnswer => {
                meet("cut within the answer");
                let answer = self.true_answer(self.process(request), several);
                wire.write(&answer[..30]).await;
                wire.close().await;
                return Ok(());
            }
            Harm::Hang { applied } => {
                meet(if applied { "no answer, all applied" } else { "no answer, nothing applied" });
                process_if(applied);
                wire.hang().await;
                return Ok(());
            }
            Harm::ApplyLate(late) => {
                meet("no answer, applied late");
                tokio::time::sleep(late).await;
                self.true_answer(self.process(request), several)
            }
            Harm::ContinueThenCut { applied } => {
                meet("100 Continue, then cut");
                process_if(applied);
                wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
                // Time for it to be read as what it is.
                tokio::time::sleep(Duration::from_millis(50)).await;
                wire.close().await;
                return Ok(());
            }
            Harm::Failure { status, applied } => {
                meet(match status {
                    408 => "408",
                    409 => "409",
                    500 => "500",
                    502 => "502",
                    503 => "503",
                    504 => "504",
                    _ => "52x",
                });
                process_if(applied);
                plain(status, "")
            }
            Harm::NotNow { status, retry_after } => {
                meet(match (status, retry_after) {
                    (421, _) => "421",
                    (425, _) => "425",
                    (_, None) => "429",
                    (_, Some(_)) => "429 with Retry-After",
                });
                let wait = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n"));
                proof(status, &wait.unwrap_or_default(), "not now")
            }
            Harm::Redirect { applied } => {
                meet("3xx");
                process_if(applied);
                plain(if applied { 307 } else { 302 }, "location: http://elsewhere/\r\n")
            }
            Harm::Whole(status) => {
                meet(match status {
                    400 => "a campaign's 400",
                    401 => "401",
                    403 => "403",
                    404 => "404",
                    405 => "405",
                    _ => "415",
                });
                let text = CAMPAIGN_TEXTS[request.items().len() % 3];
                proof(status, "", if status == 400 { text } else { "no" })
            }
            Harm::TooLarge(status) => {
                meet(if several { "413 or 431 to several" } else { "413 or 431 to one" });
                proof(status, "", "too large")
            }
            Harm::Odd(status) => {
                meet("another 4xx");
                // Of a batch that is taken as a whole or not at all, any refusal is one of the whole.
                if self.is_atomic() && several {
                    proof(status, "", "no")
                } else {
                    process_if(status % 2 == 0);
                    plain(status, "")
                }
            }
            Harm::Lie(lie) => self.lie(lie, self.process(request), several),
        };
        self.world().pass(CrashPoint::AnswerOnItsWay);
        wire.write(&answer).await;
        wire.close().await;
        Ok(())
    }

    fn true_answer(&self, processed: Processed, several: bool) -> Vec<u8> {
        let meet = |row| self.world().meet(row);
        match processed {
            Processed::Added(messages) => {
                meet("2xx, true");
                response(201, "", &body(&messages))
            }
            Processed::Refused { status, text, .. } if !several => {
                meet("400 or 422 to one");
                self.refused(status, text)
            }
            Processed::Refused { status, text, .. } if self.is_atomic() => {
                meet("400 or 422 to several, atomic");
                self.refused(status, text)
            }
            Processed::Refused { status, text, partly } => {
                if partly {
                    meet("400 or 422 to several, some applied");
                }
                refusal(status, "", text)
            }
        }
    }

    /// A refusal of items that were all looked at: where keys are honoured, it is the same for each request
    /// under its key.
    fn refused(&self, status: u16, text: &str) -> Vec<u8> {
        let by = if self.honours_keys() { BY_KEY } else { "request" };
        refusal(status, &format!("{PROOF}: {by}\r\n"), text)
    }

    fn lie(&self, lie: Lie, processed: Processed, several: bool) -> Vec<u8> {
        let Processed::Added(mut messages) = processed else { return self.true_answer(processed, several) };
        let contacts: Vec<_> = messages.iter().map(|(_, contact)| contact.clone()).collect();
        let shuffled = contacts.iter().any(|contact| *contact != contacts[0]);
        let row = match lie {
            Lie::Truncated => "2xx truncated",
            Lie::NotJson => "2xx not JSON",
            Lie::OverTheCap => "2xx over the cap",
            Lie::WrongLength => {
                messages.pop();
                "2xx of the wrong length"
            }
            Lie::EmptyId => {
                messages[0].0.clear();
                "2xx with an empty message id"
            }
            Lie::RepeatedId if several => {
                messages[1].0 = messages[0].0.clone();
                "2xx with a repeated message id"
            }
            Lie::OthersContacts if shuffled && !contacts.contains(&NEW_CONTACT.to_owned()) => {
                let count = messages.len();
                // Each message with the next one's contact: as if the answer were in another order.
                (0..count).for_each(|n| messages[n].1 = contacts[(n + 1) % count].clone());
                "2xx with others' contacts"
            }
            Lie::RepeatedId | Lie::OthersContacts => {
                return self.true_answer(Processed::Added(messages), several);
            }
        };
        self.world().meet(row);
        let body = body(&messages);
        match lie {
            Lie::Truncated => response_of_length(201, "", &(body.len() + 9).to_string(), &body),
            Lie::NotJson => response(200, "", "Created."),
            Lie::OverTheCap => response_of_length(201, "", "99999999", &body),
            _ => response(201, "", &body),
        }
    }
}

/// The contact of an item that named none.
pub(crate) const NEW_CONTACT: &str = "a-new-contact";

//! What the sandbox assumes where the vendor's page is silent: every unknown is a setting, none is settled by the code.

use chrono::{DateTime, Utc};
use clap::ValueEnum;

/// What a 400 about one item means for the other items of its request. The page does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Batches {
    /// The items before the bad one are kept, those after it are not looked at.
    #[default]
    Partial,
    /// Every good item is kept, before and after the bad one; the answer is still the 400.
    Independent,
    /// Nothing of the request is kept.
    Atomic,
}

/// Whether `X-Idempotency-Key` does anything here. The vendor's introduction promises it for "the API", the Campaigns page is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Idempotency {
    /// The header is read for the request log and otherwise ignored: a repeated request adds again.
    #[default]
    Ignored,
    /// A repeated request gets the first answer, byte for byte; the same key with another body gets a 409 (a guess).
    Honoured,
}

/// The order in which a campaign's messages are listed. The page does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListOrder {
    /// In order of creation.
    OldestFirst,
    /// In reverse order of creation.
    #[default]
    NewestFirst,
    /// By `updatedAt`, latest first: messages move between pages while a client reads them. Sorts on every request.
    RecentlyUpdatedFirst,
}

/// What stands around a list of messages, and around a single one. The page shows neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Envelope {
    /// `{"items":[..],"total":n}`, a message bare.
    #[default]
    Items,
    /// `{"messages":[..],"total":n}`, a message as `{"message":{..}}`.
    Messages,
    /// `{"data":[..],"meta":{"total":n}}`, a message as `{"data":{..}}`.
    Data,
    /// `{"data":{"items":[..],"total":n}}`, a message as `{"data":{..}}`.
    Nested,
    /// `[..]`, a message bare; there is no place for a total.
    Bare,
}

/// How wall-clock times become instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UtcOffset {
    /// By the IANA database.
    #[default]
    Iana,
    /// As though daylight saving did not exist: so the page's example comes out as printed (09:00 in New York on 11 March 2026 as
    /// `-05:00`), which is an hour off.
    VendorExample,
}

/// The text of the 403, of which two versions are public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanText {
    /// `Campaigns feature is not available in your current plan`, as on the current page.
    #[default]
    Page,
    /// The same and `. Please upgrade your plan.`, as on the vendor's older page (its ending is a guess).
    OlderPage,
}

/// How a sandbox behaves. `Options::default()` is what `blubash-grpc sandbox` does without flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a 400 about one item means for the others.
    pub batches: Batches,
    /// Whether `X-Idempotency-Key` is honoured.
    pub idempotency: Idempotency,
    /// The order of the list.
    pub list_order: ListOrder,
    /// What stands around lists and messages.
    pub envelope: Envelope,
    /// Whether a list says how many messages there are in all. Default true, a guess.
    pub total: bool,
    /// The largest page of a list; a larger `limit` is lowered in silence. Default 100, a guess; 0 counts as 1.
    pub max_limit: u32,
    /// The most items in one request; more is a 413. Default 100, a guess.
    pub max_items: usize,
    /// The longest request body in bytes; a longer one is a 413. Default 102400 (100 kB, a common default), a guess.
    pub max_body: usize,
    /// How wall-clock times become instants.
    pub utc_offset: UtcOffset,
    /// The text of the 403.
    pub plan_text: PlanText,
    /// The status for cancelling a message that is not QUEUED. Default 400, a guess; outside 400..=499 it counts as 400.
    pub cancel_refusal: u16,
    /// How many of 100 added messages fail, chosen by `seed`. Default 0: nothing fails unless it is asked to.
    pub fail_percent: u8,
    /// What ids are made from: the same seed and the same requests give the same ids. Default 0.
    pub seed: u64,
    /// Whether the clock stands still from the start; `/_sandbox/clock` moves it. Default false.
    pub frozen: bool,
    /// Where the clock starts; `None` is the system's time.
    pub start: Option<DateTime<Utc>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batches: Batches::default(),
            idempotency: Idempotency::default(),
            list_order: ListOrder::default(),
            envelope: Envelope::default(),
            total: true,
            max_limit: 100,
            max_items: 100,
            max_body: 100 * 1024,
            utc_offset: UtcOffset::default(),
            plan_text: PlanText::default(),
            cancel_refusal: 400,
            fail_percent: 0,
            seed: 0,
            frozen: false,
            start: None,
        }
    }
}

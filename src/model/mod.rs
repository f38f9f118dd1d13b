//! The words of the domain: values that cannot be wrong. They are the REST resource (serde sits on
//! them) and what the core speaks; the contract's types end at the edge.

mod audience;
mod counts;
mod id;
mod ingestion;
mod message;
mod page;
mod peer;
mod personal;
mod place;
mod schedule;
mod watch;
mod workspace;

pub use audience::{AddedItem, Item, JsonObject, Recipient};
pub use counts::Counts;
pub use id::{CampaignId, IdFault, MAX_ID_BYTES, MessageId, RequestId};
pub use ingestion::{
    Disposition, Ingested, IngestionOptions, IngestionState, ItemResult, ResultView, Summary,
};
pub use message::{Message, ResolvedSchedule, Status, StatusSet};
pub use page::{Observed, Page, Slice};
pub use peer::Peer;
pub use personal::Personal;
pub use place::WatchPlace;
pub use schedule::{LocalTimePolicy, Moment, Schedule, ScheduleFault, parse_offset_datetime, zone};
pub use watch::{MessageChange, WatchEvent, WatchOptions, WatchUpdate};
pub use workspace::{ApiKey, HeldKey, Workspace, WorkspaceId, WorkspaceKey};

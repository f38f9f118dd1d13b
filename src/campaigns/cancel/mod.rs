//! Cancelling messages: one, or many of a campaign.

mod many;
mod one;
mod summary;

pub use many::{Answer, Many, Which};
pub use one::{Cancel, Cancelled};
pub use summary::{Summary, Told};

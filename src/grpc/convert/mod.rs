//! Between the contract's types and the domain's: parsing is the validation, with all that is wrong said
//! at once; rendering moves what it can.

mod audience;
mod custom_fields;
mod fields;
mod messages;
pub mod render;
#[cfg(test)]
mod tests;
mod watch;

pub mod parse {
    //! The contract's types to the domain's. A violation names a path and a rule, never a value.

    pub use super::{
        audience::{get_ingestion, item, options},
        fields::{campaign_id, message_id},
        messages::{
            ListRequest, cancel_message, cancel_messages, count_messages, get_message, list_messages,
        },
        watch::watch,
    };
}

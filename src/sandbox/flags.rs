//! The options as command-line flags and environment variables, for `blubash-grpc sandbox` and `serve --sandbox` alike.

use chrono::{DateTime, Utc};

use super::options::{Batches, Envelope, Idempotency, ListOrder, Options, PlanText, UtcOffset};

/// The sandbox's options on the command line. Each help text names the unknown of the vendor's page that the flag stands for.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Sandbox")]
pub struct Flags {
    /// Unknown: does a 400 about one item leave the others of its request out?
    #[arg(long = "sandbox-batches", env = "BLUBASH_SANDBOX_BATCHES", value_enum, default_value_t)]
    pub batches: Batches,

    /// Unknown: is X-Idempotency-Key honoured by the Campaigns API?
    #[arg(long = "sandbox-idempotency", env = "BLUBASH_SANDBOX_IDEMPOTENCY", value_enum, default_value_t)]
    pub idempotency: Idempotency,

    /// Unknown: in which order are messages listed?
    #[arg(long = "sandbox-list-order", env = "BLUBASH_SANDBOX_LIST_ORDER", value_enum, default_value_t)]
    pub list_order: ListOrder,

    /// Unknown: what stands around the list of messages, and around one message?
    #[arg(long = "sandbox-envelope", env = "BLUBASH_SANDBOX_ENVELOPE", value_enum, default_value_t)]
    pub envelope: Envelope,

    /// Unknown: does a list say how many messages there are in all?
    #[arg(long = "sandbox-total", env = "BLUBASH_SANDBOX_TOTAL", value_name = "BOOL", action = clap::ArgAction::Set, default_value_t = true)]
    pub total: bool,

    /// Unknown: the largest `limit`; a larger one is lowered in silence
    #[arg(long = "sandbox-max-limit", env = "BLUBASH_SANDBOX_MAX_LIMIT", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_limit: u32,

    /// Unknown: the most items in one request; more is answered with 413
    #[arg(
        long = "sandbox-max-items",
        env = "BLUBASH_SANDBOX_MAX_ITEMS",
        value_name = "N",
        default_value_t = 100
    )]
    pub max_items: usize,

    /// Unknown: the longest request body, in bytes; a longer one is answered with 413
    #[arg(long = "sandbox-max-body", env = "BLUBASH_SANDBOX_MAX_BODY", value_name = "BYTES", default_value_t = 100 * 1024)]
    pub max_body: usize,

    /// Unknown: does the vendor compute daylight saving? Its own example is an hour off
    #[arg(long = "sandbox-utc-offset", env = "BLUBASH_SANDBOX_UTC_OFFSET", value_enum, default_value_t)]
    pub utc_offset: UtcOffset,

    /// Unknown: which of the two public texts does the 403 carry?
    #[arg(long = "sandbox-plan-text", env = "BLUBASH_SANDBOX_PLAN_TEXT", value_enum, default_value_t)]
    pub plan_text: PlanText,

    /// Unknown: the status for cancelling a message that is not QUEUED
    #[arg(long = "sandbox-cancel-refusal", env = "BLUBASH_SANDBOX_CANCEL_REFUSAL", value_name = "STATUS", default_value_t = 400, value_parser = clap::value_parser!(u16).range(400..500))]
    pub cancel_refusal: u16,

    /// How many of 100 messages fail, chosen by the seed
    #[arg(long = "sandbox-fail-percent", env = "BLUBASH_SANDBOX_FAIL_PERCENT", value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub fail_percent: u8,

    /// What ids are made from: the same seed and requests give the same ids
    #[arg(long = "sandbox-seed", env = "BLUBASH_SANDBOX_SEED", value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Start with the clock standing still (POST /_sandbox/clock moves it)
    #[arg(long = "sandbox-frozen", env = "BLUBASH_SANDBOX_FROZEN", value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub frozen: bool,

    /// Where the clock starts, as an RFC 3339 instant; without it, the system's time
    #[arg(long = "sandbox-start", env = "BLUBASH_SANDBOX_START", value_name = "INSTANT")]
    pub start: Option<DateTime<Utc>>,
}

impl From<Flags> for Options {
    fn from(flags: Flags) -> Self {
        Self {
            batches: flags.batches,
            idempotency: flags.idempotency,
            list_order: flags.list_order,
            envelope: flags.envelope,
            total: flags.total,
            max_limit: flags.max_limit,
            max_items: flags.max_items,
            max_body: flags.max_body,
            utc_offset: flags.utc_offset,
            plan_text: flags.plan_text,
            cancel_refusal: flags.cancel_refusal,
            fail_percent: flags.fail_percent,
            seed: flags.seed,
            frozen: flags.frozen,
            start: flags.start,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn without_flags_the_options_are_the_defaults() {
        let options = Options::from(Program::parse_from(["sandbox"]).flags);
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn every_flag_has_a_variable_of_its_name_and_a_help_text() {
        for argument in Program::command().get_arguments() {
            let long = argument.get_long().unwrap();
            let variable = argument.get_env().unwrap().to_str().unwrap();
            assert_eq!(variable, format!("BLUBASH_{}", long.to_uppercase().replace('-', "_")));
            assert!(argument.get_help().is_some(), "--{long}");
        }
    }

    #[test]
    fn frozen_is_a_switch_that_also_takes_a_value() {
        assert!(Program::parse_from(["sandbox", "--sandbox-frozen"]).flags.frozen);
        assert!(!Program::parse_from(["sandbox", "--sandbox-frozen=false"]).flags.frozen);
    }

    #[test]
    fn the_flags_take_the_documented_words() {
        let words = [
            "sandbox",
            "--sandbox-batches=atomic",
            "--sandbox-idempotency=honoured",
            "--sandbox-list-order=recently-updated-first",
            "--sandbox-envelope=nested",
            "--sandbox-total=false",
            "--sandbox-utc-offset=vendor-example",
            "--sandbox-plan-text=older-page",
            "--sandbox-start=2026-03-01T00:00:00Z",
        ];
        let options = Options::from(Program::parse_from(words).flags);
        assert_eq!(options.batches, Batches::Atomic);
        assert_eq!(options.list_order, ListOrder::RecentlyUpdatedFirst);
        assert_eq!(options.utc_offset, UtcOffset::VendorExample);
        assert!(!options.total && options.start.is_some());
    }
}

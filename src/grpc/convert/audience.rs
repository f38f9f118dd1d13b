//! Items and the options that govern them.

use chrono::DateTime;
use chrono_tz::Tz;
use pb::{audience_item::Recipient as ProtoRecipient, schedule::When};
use prost::Message as _;

use super::{
    custom_fields,
    fields::{at_most, campaign_id, invalid, known, not_negative},
    messages::page_size,
};
use crate::{
    error::{Error, Reason, Violation},
    grpc::bounds::cut_owned,
    model::{
        CampaignId, IngestionOptions, Item, LocalTimePolicy, MAX_ID_BYTES, Moment, Personal, Recipient,
        RequestId, ResultView, Schedule, ScheduleFault, zone,
    },
    pb,
};

const MAX_ITEM_BYTES: usize = 64 * 1024;
/// Far beyond any ingestion, and so far from the end of the numbers that no index behind it overflows.
const MAX_FIRST_INDEX: u64 = 1 << 53;
const MAX_ITEM_ID_BYTES: usize = 128;
const MAX_NAME_BYTES: usize = 256;
const MAX_EMAIL_BYTES: usize = 320;
const MAX_TAGS: usize = 100;
const MAX_TAG_BYTES: usize = 128;

/// The options of an ingestion; absent, they are the defaults.
pub fn options(options: Option<pb::AudienceOptions>) -> Result<IngestionOptions, Vec<Violation>> {
    let Some(options) = options else { return Ok(IngestionOptions::default()) };
    let wrong = &mut Vec::new();
    let request_id = (!options.request_id.is_empty())
        .then(|| RequestId::parse(&options.request_id))
        .transpose()
        .unwrap_or_else(|fault| {
            wrong.push(invalid("options.request_id", fault.message()));
            None
        });
    let default_zone = default_zone(&options.default_time_zone, wrong);
    let policy = known("options.local_time_policy", options.local_time_policy, wrong);
    let view = known("options.result_view", options.result_view, wrong);
    let max_batch_size: Option<u32> = not_negative("options.max_batch_size", options.max_batch_size, wrong);
    let first_index: Option<u64> = not_negative("options.first_index", options.first_index, wrong);
    if first_index.is_some_and(|index| index > MAX_FIRST_INDEX) {
        wrong.push(invalid("options.first_index", "must be at most 2^53"));
    }
    if !wrong.is_empty() {
        return Err(std::mem::take(wrong));
    }
    Ok(IngestionOptions {
        request_id,
        default_zone,
        local_time_policy: match policy.unwrap_or_default() {
            pb::LocalTimePolicy::Unspecified | pb::LocalTimePolicy::Reject => LocalTimePolicy::Reject,
            pb::LocalTimePolicy::Earlier => LocalTimePolicy::Earlier,
            pb::LocalTimePolicy::Later => LocalTimePolicy::Later,
        },
        result_view: result_view(view.unwrap_or_default()),
        max_batch_size: max_batch_size.filter(|size| *size > 0),
        validate_only: options.validate_only,
        first_index: first_index.unwrap_or_default(),
        reject_duplicate_recipients: options.reject_duplicate_recipients,
    })
}

fn result_view(view: pb::ResultView) -> ResultView {
    match view {
        pb::ResultView::Unspecified | pb::ResultView::All => ResultView::All,
        pb::ResultView::Failures => ResultView::Failures,
        pb::ResultView::Summary => ResultView::Summary,
    }
}

/// The contract's `GetIngestionRequest`, checked but for its token, which only its key can open.
#[derive(Clone, Debug, PartialEq)]
pub struct IngestionRequest {
    /// Of which campaign.
    pub campaign: CampaignId,
    /// Which ingestion.
    pub request_id: RequestId,
    /// How many results to return at most: 1 to 1,000.
    pub page_size: u32,
    /// Where to go on; empty: from the first page.
    pub page_token: String,
    /// Which results.
    pub view: ResultView,
}

/// A `GetIngestion`.
pub fn get_ingestion(request: pb::GetIngestionRequest) -> Result<IngestionRequest, Error> {
    let mut wrong = Vec::new();
    let campaign = campaign_id(request.campaign_id, &mut wrong);
    let request_id = RequestId::parse(&request.request_id);
    let request_id = request_id.map_err(|fault| wrong.push(invalid("request_id", fault.message()))).ok();
    let page_size = page_size(request.page_size, &mut wrong);
    let view = known("result_view", request.result_view, &mut wrong).map(result_view);
    match (campaign, request_id, page_size, view) {
        (Some(campaign), Some(request_id), Some(page_size), Some(view)) => {
            Ok(IngestionRequest { campaign, request_id, page_size, page_token: request.page_token, view })
        }
        _ => Err(Error::invalid(wrong)),
    }
}

fn default_zone(name: &str, wrong: &mut Vec<Violation>) -> Option<Tz> {
    let known = zone(name);
    if known.is_none() && !name.is_empty() {
        wrong.push(unknown_zone("options.default_time_zone"));
    }
    known
}

/// One item: its `item_id` (cut where it is too long, for its result must name it somehow), and the item
/// or all that is wrong with it.
pub fn item(
    mut item: pb::AudienceItem,
    options: &IngestionOptions,
) -> (String, Result<Item, Vec<Violation>>) {
    let mut wrong = Vec::new();
    // Apart from the rest: only after its depth was checked may its size be asked for.
    let fields = item.custom_fields.take();
    let mut size = item.encoded_len();
    let custom_fields = fields.and_then(|fields| {
        let (object, bytes) = custom_fields::read(fields, &mut wrong);
        size += 1 + prost::length_delimiter_len(bytes) + bytes;
        object
    });
    if size > MAX_ITEM_BYTES {
        wrong.push(invalid("item", "must have at most 64 KiB, encoded"));
    }
    if item.item_id.len() > MAX_ITEM_ID_BYTES {
        wrong.push(invalid("item_id", "must have at most 128 bytes"));
    }
    let recipient = recipient(item.recipient, &mut wrong);
    let name = at_most("name", item.name, MAX_NAME_BYTES, "must have at most 256 bytes", &mut wrong);
    let email = at_most("email", item.email, MAX_EMAIL_BYTES, "must have at most 320 bytes", &mut wrong);
    tags(&item.tags, &mut wrong);
    let schedule = schedule(item.schedule, options, &mut wrong);

    let checked = match (recipient, schedule) {
        (Some(recipient), Some(schedule)) if wrong.is_empty() => Ok(Item {
            recipient,
            name: name.map(Personal),
            email: email.map(Personal),
            custom_fields: custom_fields.map(Personal),
            tags: item.tags.into_iter().map(Personal).collect(),
            schedule,
        }),
        _ => Err(wrong),
    };
    (cut_owned(item.item_id, MAX_ITEM_ID_BYTES), checked)
}

fn recipient(recipient: Option<ProtoRecipient>, wrong: &mut Vec<Violation>) -> Option<Recipient> {
    let fault = match recipient {
        None => {
            Violation::new("recipient", Reason::RecipientRequired, "contact_id or identifier is required")
        }
        Some(ProtoRecipient::ContactId(id)) => match id.len() {
            0 => Violation::new(
                "contact_id",
                Reason::RecipientRequired,
                "must not be empty; set it, or identifier instead",
            ),
            1..=MAX_ID_BYTES if !id.chars().any(char::is_control) => return Some(Recipient::ContactId(id)),
            _ => invalid("contact_id", "must have at most 256 bytes and no control characters"),
        },
        // What else makes an identifier one is the channel's rule, which the upstream knows.
        Some(ProtoRecipient::Identifier(text)) => {
            let bad = |message| Violation::new("identifier", Reason::IdentifierInvalid, message);
            if text.len() > MAX_ID_BYTES {
                invalid("identifier", "must have at most 256 bytes")
            } else if text.chars().any(char::is_control) {
                bad("must not hold control characters")
            } else if text.trim().is_empty() {
                bad("must not be empty")
            } else {
                return Some(Recipient::Identifier(Personal(text)));
            }
        }
    };
    wrong.push(fault);
    None
}

fn tags(tags: &[String], wrong: &mut Vec<Violation>) {
    if tags.len() > MAX_TAGS {
        wrong.push(invalid("tags", "must be at most 100"));
    }
    for (at, tag) in tags.iter().enumerate().take(MAX_TAGS) {
        if !(1..=MAX_TAG_BYTES).contains(&tag.len()) {
            wrong.push(invalid(format!("tags[{at}]"), "must have 1 to 128 bytes"));
        }
    }
}

fn schedule(
    schedule: Option<pb::Schedule>,
    options: &IngestionOptions,
    wrong: &mut Vec<Violation>,
) -> Option<Schedule> {
    let fault = match schedule.and_then(|schedule| schedule.when) {
        None => invalid("schedule", "is required: one of immediate, at, datetime"),
        Some(When::Immediate(pb::Immediate {})) => return Some(Schedule::Immediate),
        Some(When::At(at)) => match instant(at) {
            Some(instant) => return Some(Schedule::At(Moment::at(instant))),
            None => Violation::new(
                "schedule.at",
                Reason::DatetimeInvalid,
                "must be a timestamp of protobuf's range: years 1 to 9999, nanos 0 to 999,999,999",
            ),
        },
        Some(When::Datetime(pb::IsoDateTime { value, time_zone })) => {
            match Moment::parse(value, &time_zone, options.default_zone, options.local_time_policy) {
                Ok(moment) => return Some(Schedule::At(moment)),
                Err(fault) => schedule_fault(fault),
            }
        }
    };
    wrong.push(fault);
    None
}

fn instant(at: prost_types::Timestamp) -> Option<DateTime<chrono::Utc>> {
    // protobuf's range; chrono takes more of both.
    let in_range = (-62_135_596_800..=253_402_300_799).contains(&at.seconds);
    let nanos = u32::try_from(at.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    DateTime::from_timestamp(at.seconds, nanos).filter(|_| in_range)
}

fn schedule_fault(fault: ScheduleFault) -> Violation {
    const VALUE: &str = "schedule.datetime.value";
    const ZONE: &str = "schedule.datetime.time_zone";
    let candidates = |reason, message, earlier: DateTime<_>, later: DateTime<_>| Violation {
        metadata: vec![("earlier".into(), earlier.to_rfc3339()), ("later".into(), later.to_rfc3339())],
        ..Violation::new(VALUE, reason, message)
    };
    match fault {
        ScheduleFault::Datetime => Violation::new(
            VALUE,
            Reason::DatetimeInvalid,
            "must be a date and time that exists, as YYYY-MM-DDTHH:MM[:SS[.fff]] with Z, an offset or nothing behind it",
        ),
        ScheduleFault::ZoneRequired => Violation::new(
            ZONE,
            Reason::TimeZoneRequired,
            "is required for a time without an offset, here or as options.default_time_zone",
        ),
        ScheduleFault::ZoneUnknown => unknown_zone(ZONE),
        ScheduleFault::Nonexistent { earlier, later } => candidates(
            Reason::LocalTimeNonexistent,
            "is a time that clocks skip in its zone; name an offset or set options.local_time_policy",
            earlier,
            later,
        ),
        ScheduleFault::Ambiguous { earlier, later } => candidates(
            Reason::LocalTimeAmbiguous,
            "is a time that clocks show twice in its zone; name an offset or set options.local_time_policy",
            earlier,
            later,
        ),
    }
}

fn unknown_zone(field: &str) -> Violation {
    Violation::new(field, Reason::TimeZoneUnknown, "must be an IANA time zone such as \"America/New_York\"")
}

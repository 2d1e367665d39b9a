//! What a mail about an alert says.
//!
//! The subject names the priority and the stay, whose id says nothing about a person: it is read on
//! locked screens. The body says what a webhook is told. `Message-ID` and `Nowcxr-Event-Id` name
//! the record and are the same however often it is sent, so that whoever has it can drop it.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};
use lettre::{Address, error::Error};
use serde_json::json;

use super::notice::Notice;
use super::webhook::EVENT_ID;
use crate::time::WallTime;

/// Stands above everything else.
const CAUTION: &str = "RESEARCH USE ONLY. Nothing here has been clinically validated; do not act \
                       on it.";

/// The message about a notice.
///
/// # Errors
/// None that a checked configuration could cause; lettre says what it lacks.
pub(super) fn letter(
    notice: &Notice,
    from: &Address,
    to: &Address,
    now: WallTime,
) -> Result<Message, Error> {
    let record = &notice.record;
    let sent = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    let raw = |name, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    Message::builder()
        .date(UNIX_EPOCH + sent)
        .from(Mailbox::new(Some("nowcxr".to_owned()), from.clone()))
        .to(Mailbox::new(None, to.clone()))
        .subject(format!("nowcxr: {}, stay {}", word(&json!(record.priority)), record.stay_id))
        .message_id(Some(format!("<{}@{}>", record.event_id, from.domain())))
        .raw_header(raw(EVENT_ID, record.event_id.to_string()))
        // RFC 3834: nobody's machine answers it.
        .raw_header(raw("Auto-Submitted", "auto-generated".to_owned()))
        // Without it nobody need decode what follows.
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .body(body(notice))
}

fn body(notice: &Notice) -> String {
    let record = &notice.record;
    let disturbs = if notice.disturbs() { "yes" } else { "no, it is shown only" };
    let rows = [
        ("stay", record.stay_id.to_string()),
        ("priority", word(&json!(record.priority))),
        ("state", word(&json!(record.state))),
        ("known at", record.known_at.to_string()),
        ("disturbs", disturbs.to_owned()),
        ("alert", format!("{}, revision {}", record.alert_id, record.revision)),
        ("event", record.event_id.to_string()),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect();
    let json = notice.json();
    format!("{CAUTION}\n\n{}\n\n{rows}\nAs a webhook is told:\n\n{json:#}\n", record.summary)
}

/// A word as the schema writes it, for a person.
fn word(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().replace('_', " ")
}

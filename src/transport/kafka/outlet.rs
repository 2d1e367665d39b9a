//! Risk events, alerts, dead letters and views, out to their topics.

use std::collections::BTreeSet;

use rdkafka::message::{Header, OwnedHeaders};
use serde_json::Value;

use super::delivery::{Delivery, Outgoing};
use super::settings::KafkaSettings;
use crate::ids::Digest;
use crate::ports::{Outlet, Output, OutputKind, PortError};

const KINDS: [OutputKind; 4] =
    [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];

/// Writes at least once: what it cannot know to have arrived is sent again, with the same payload
/// and so the same event id. It remembers no number across a restart ([`Outlet::last_number`] is
/// then 0); within one life it does.
pub struct KafkaOutlet {
    delivery: Delivery,
    topics: [String; 4],
    last: u64,
}

impl KafkaOutlet {
    /// The topics must exist: see [`super::ensure_topics`].
    pub fn open(settings: &KafkaSettings) -> Result<Self, PortError> {
        Ok(KafkaOutlet {
            delivery: Delivery::open(settings, "outlet")?,
            topics: KINDS.map(|kind| settings.output(kind)),
            last: 0,
        })
    }
}

impl Outlet for KafkaOutlet {
    /// Unknown: what was sent before is sent again, with equal ids.
    fn held(&self) -> Result<BTreeSet<Digest>, PortError> {
        Ok(BTreeSet::new())
    }

    fn last_number(&self) -> u64 {
        self.last
    }

    /// The record's key is the stay in decimal, so that a stay's outputs lie in one partition in
    /// order; its headers are the envelope, one for each of its keys, and `number`.
    fn send(&mut self, outputs: &[Output]) -> Result<(), PortError> {
        let mut last = self.last;
        for output in outputs.iter().filter(|output| output.number > self.last) {
            let key = output.stay.map(|stay| stay.to_string());
            self.delivery.enqueue(Outgoing {
                topic: &self.topics[output.kind as usize],
                partition: None,
                key: key.as_ref().map(String::as_bytes),
                value: &output.payload,
                at: None,
                headers: Some(headers(output)),
            })?;
            last = last.max(output.number);
        }
        self.delivery.finish()?;
        self.last = last;
        Ok(())
    }
}

/// Text as it is, everything else as JSON. An envelope that is no JSON object stays whole.
fn headers(output: &Output) -> OwnedHeaders {
    let number = output.number.to_string();
    let start = OwnedHeaders::new().insert(Header { key: "number", value: Some(&number) });
    let envelope = match serde_json::from_slice(&output.envelope) {
        Ok(Value::Object(envelope)) => envelope,
        _ if output.envelope.is_empty() => return start,
        _ => return start.insert(Header { key: "envelope", value: Some(&output.envelope) }),
    };
    envelope.iter().fold(start, |headers, (key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // A header's name is a C string.
        if key.contains('\0') {
            return headers;
        }
        headers.insert(Header { key, value: Some(&text) })
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;

    use super::*;

    #[test]
    fn the_envelope_becomes_headers() {
        let output = Output {
            number: 7,
            kind: OutputKind::Risk,
            stay: None,
            payload: Vec::new(),
            envelope: br#"{"node": "a", "latency_ms": 12}"#.to_vec(),
        };
        let headers = headers(&output);
        let all: Vec<(&str, &[u8])> =
            headers.iter().map(|h| (h.key, h.value.unwrap_or_default())).collect();
        let expected: [(&str, &[u8]); 3] =
            [("number", b"7"), ("latency_ms", b"12"), ("node", b"a")];
        assert_eq!(all, expected);
    }

    #[test]
    fn kinds_index_their_topics() {
        for (at, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }
}

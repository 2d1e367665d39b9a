//! Risk events, alerts, dead letters and views as records of their topics.

use rdkafka::message::{Header, OwnedHeaders};
use serde_json::Value;

use super::delivery::Outgoing;
use crate::ports::Output;

/// The record's key is the stay in decimal (`key`), so that a stay's outputs lie in one partition
/// in order; its headers are the envelope, one for each of its keys, and `number`.
pub(super) fn record<'a>(topic: &'a str, key: Option<&'a str>, output: &'a Output) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: None,
        key: key.map(str::as_bytes),
        value: Some(&output.payload),
        at: None,
        headers: Some(headers(output)),
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
    use crate::ports::OutputKind;

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
}

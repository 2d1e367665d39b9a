//! The envelope of an output: what may differ between two runs that say the same. Who, when, by
//! which program, after which records, and how long a window waited for its answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::Drive;
use crate::ids::{Digest, Position, Topic, program};
use crate::ports::{Committer, Predictor, Source, StateStore};

/// Hexadecimal digits of a trace id (W3C Trace Context, `trace-id`).
const TRACE_DIGITS: usize = 32;

/// How far the input had been read when the output with this envelope was made. Nothing where the
/// envelope does not say, as those of other programs.
pub(super) fn read_to(envelope: &[u8]) -> Vec<Position> {
    let envelope: Value = serde_json::from_slice(envelope).unwrap_or_default();
    let position = |(place, next): (&String, &Value)| {
        let (topic, partition) = place.rsplit_once('-')?;
        let (topic, partition) = (Topic::from_name(topic)?, partition.parse().ok()?);
        Some(Position { topic, partition, next: next.as_u64()? })
    };
    let positions = envelope["positions"].as_object();
    positions.into_iter().flatten().filter_map(position).collect()
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    pub(super) fn envelope(&self, latency: Option<Duration>) -> Value {
        let at = |((topic, partition), next): (&(Topic, u32), &u64)| {
            (format!("{}-{partition}", topic.name()), json!(next))
        };
        let positions: serde_json::Map<_, _> = self.positions.iter().map(at).collect();
        json!({
            "computed_at": (self.clock)().to_string(),
            "node": self.options.node,
            "program": program(),
            "trace_id": self.trace_id(),
            "commit": self.commit_number + 1,
            "positions": positions,
            "latency_ms": latency.map(|latency| latency.as_secs_f64() * 1e3),
        })
    }

    /// Names the next commit of this task, opened here at this time. All that leaves by it has
    /// this trace id, and so has its log line. A commit that is made again after a loss has
    /// another.
    pub(super) fn trace_id(&self) -> String {
        let (node, partition) = (&self.options.node, self.options.partition);
        let (opened_at, commit) = (self.opened_at, self.commit_number + 1);
        let name = format!("{node} {partition} {opened_at} {commit}");
        let digits = Digest::of(name.as_bytes()).to_string();
        digits.chars().take(TRACE_DIGITS).collect()
    }
}

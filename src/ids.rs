//! Names of things: stays, facts, feeds, positions, tickets, events.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::EventTime;

/// Namespace of every UUIDv5 made here, so that the same name gives the same id everywhere.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6e6f_7763_7872_5f61_8000_6e61_6d65_7370);

/// Name and version of this program, and the commit that it was built from where the builder said
/// it by setting `NOWCXR_COMMIT`.
pub fn program() -> String {
    match option_env!("NOWCXR_COMMIT") {
        Some(commit) => format!("nowcxr {} ({commit})", env!("CARGO_PKG_VERSION")),
        None => format!("nowcxr {}", env!("CARGO_PKG_VERSION")),
    }
}

/// One ICU stay, opaque: the only patient-related id that may reach logs, metrics and URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StayId(pub u64);

/// One fact, the same however often its record is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FactId(pub Uuid);

/// One event that left the engine. A function of what it says, so re-sending changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId(pub Uuid);

/// One alert through all its states, named by what it says and the window that raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertId(pub Uuid);

/// A source of facts: the index of its entry in the configured list of feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FeedId(pub u8);

/// A variable: the index of its entry in the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VariableId(pub u8);

/// The input topics. Their order is the rank that breaks ties between facts that became
/// available at the same moment: an admission comes before the film and the labs it explains, and
/// what people did after what they may have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    Stay,
    Imaging,
    Lab,
    Vital,
    Acknowledgement,
}

/// Where one record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    pub topic: Topic,
    pub partition: u32,
    pub offset: u64,
}

/// The next record to read of one partition of one topic. There is no other meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub topic: Topic,
    pub partition: u32,
    pub next: u64,
}

/// One request for a prediction: revision `revision` of the window (`stay`, `t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket {
    pub stay: StayId,
    pub t: EventTime,
    pub revision: u32,
}

/// SHA-256 of something that must not change unnoticed: a film, a model, a config, an input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Topic {
    pub const ALL: [Topic; 5] =
        [Topic::Stay, Topic::Imaging, Topic::Lab, Topic::Vital, Topic::Acknowledgement];

    pub const fn name(self) -> &'static str {
        match self {
            Topic::Stay => "stay",
            Topic::Imaging => "imaging",
            Topic::Lab => "lab",
            Topic::Vital => "vital",
            Topic::Acknowledgement => "acknowledgement",
        }
    }

    /// Whether it says what people did about alerts, and nothing that is true of a patient. No
    /// window holds any of it.
    pub const fn is_of_people(self) -> bool {
        matches!(self, Topic::Acknowledgement)
    }

    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

impl Origin {
    /// The position of a reader that has taken this record.
    pub const fn next(self) -> Position {
        Position { topic: self.topic, partition: self.partition, next: self.offset + 1 }
    }
}

impl FactId {
    /// The id of a fact named by its source, for instance `labevents/12345`.
    pub fn from_name(name: &str) -> Self {
        FactId(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// The first 8 bytes: what a stay's state keeps of an id to recognise it again.
    pub fn key(self) -> u64 {
        (self.0.as_u128() >> 64) as u64
    }
}

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// 64 lower-case hexadecimal digits back to a digest.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0u8; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for StayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic.name(), self.partition, self.offset)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} r{}", self.stay, self.t, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_round_trip_and_rank_stays_first() {
        for topic in Topic::ALL {
            assert_eq!(Topic::from_name(topic.name()), Some(topic));
        }
        assert!(Topic::ALL.is_sorted() && Topic::ALL[0] == Topic::Stay);
        assert!(Topic::ALL.iter().filter(|topic| topic.is_of_people()).eq(Topic::ALL.last()));
    }

    #[test]
    fn digests_round_trip_through_hex() {
        let digest = Digest::of(b"film");
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::from_hex("zz"), None);
    }
}

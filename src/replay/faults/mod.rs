//! Faults put into a recording on purpose, so that what the pipeline finds of them can be counted.
//!
//! Which records are hit, and how, follows from the seed and the record alone, so a recording that
//! is told again is told with the same faults. Each is written down as the truth beside what was
//! told. Stay events are left alone: a lost admission would make a fault of every later record.

mod alter;
mod inject;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use inject::Faulty;

use crate::ids::{Digest, StayId, Topic};
use crate::time::EventTime;
use crate::wire::form;

/// What can be wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Told twice.
    Duplicate,
    /// Never told.
    Drop,
    /// Told hours after its feed has promised that it does not come any more.
    Late,
    /// Told behind the next record of its topic.
    Reorder,
    /// Another value follows that corrects it. Not wrong, but must lead to a revision.
    Correct,
    /// Filed under another stay.
    WrongPatient,
    /// The number of one unit under the name of another.
    UnitSwap,
    /// Bytes that are no record.
    Garbage,
    /// An earlier film of the stay in the place of the new one.
    StaleFilm,
    /// The negative of a film.
    InvertedFilm,
}

impl FaultKind {
    pub const ALL: [FaultKind; 10] = [
        FaultKind::Duplicate,
        FaultKind::Drop,
        FaultKind::Late,
        FaultKind::Reorder,
        FaultKind::Correct,
        FaultKind::WrongPatient,
        FaultKind::UnitSwap,
        FaultKind::Garbage,
        FaultKind::StaleFilm,
        FaultKind::InvertedFilm,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            FaultKind::Duplicate => "duplicate",
            FaultKind::Drop => "drop",
            FaultKind::Late => "late",
            FaultKind::Reorder => "reorder",
            FaultKind::Correct => "correct",
            FaultKind::WrongPatient => "wrong_patient",
            FaultKind::UnitSwap => "unit_swap",
            FaultKind::Garbage => "garbage",
            FaultKind::StaleFilm => "stale_film",
            FaultKind::InvertedFilm => "inverted_film",
        }
    }

    /// Whether records of `topic` can be so.
    const fn befalls(self, topic: Topic) -> bool {
        match topic {
            Topic::Stay | Topic::Acknowledgement => false,
            Topic::Imaging => !matches!(self, FaultKind::Correct | FaultKind::UnitSwap),
            Topic::Lab | Topic::Vital => {
                !matches!(self, FaultKind::StaleFilm | FaultKind::InvertedFilm)
            }
        }
    }

    /// How many more records there are of one that it has hit than of a sound one.
    pub const fn surplus(self) -> i64 {
        match self {
            FaultKind::Duplicate | FaultKind::Correct => 1,
            FaultKind::Drop => -1,
            _ => 0,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which faults, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Share of the records that are hit, 0..=1; less where a kind turns out not to fit.
    pub rate: f64,
    /// In the order of [`FaultKind::ALL`], each once.
    pub kinds: Vec<FaultKind>,
}

impl FromStr for FaultPlan {
    type Err = String;

    /// `rate=0.01` or `rate=0.01,kinds=late+garbage`; without kinds all of them.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut rate, mut kinds) = (None, FaultKind::ALL.to_vec());
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("rate", share)) => {
                    let share = share.parse().ok().filter(|r| (0.0..=1.0).contains(r));
                    rate = Some(share.ok_or("rate is a share, from 0 to 1")?);
                }
                Some(("kinds", list)) => kinds = parse_kinds(list)?,
                _ => return Err(format!("`{part}`: write rate=0.01,kinds=late+garbage")),
            }
        }
        Ok(FaultPlan { rate: rate.ok_or("say how often, such as rate=0.01")?, kinds })
    }
}

fn parse_kinds(list: &str) -> Result<Vec<FaultKind>, String> {
    let named = |name: &str| FaultKind::ALL.into_iter().find(|kind| kind.name() == name);
    let mut kinds = Vec::new();
    for name in list.split('+') {
        kinds.push(named(name).ok_or_else(|| {
            let all = FaultKind::ALL.map(FaultKind::name).join("+");
            format!("`{name}` is no kind of fault; there are {all}")
        })?);
    }
    kinds.sort();
    kinds.dedup();
    Ok(kinds)
}

/// One fault: the truth beside what was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Counts from 1 in the order of telling.
    pub number: u64,
    pub kind: FaultKind,
    pub topic: Topic,
    /// Whose record it was by right.
    pub stay: StayId,
    /// When the record that carries the fault says that it was available.
    #[serde(with = "form")]
    pub available_at: EventTime,
    /// SHA-256 of that record's bytes; of the one that was not told, where none was.
    #[serde(with = "form")]
    pub record: Digest,
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_from_text_and_says_what_is_wrong() {
        let plan: FaultPlan = "rate=0.25,kinds=late+garbage+late".parse().unwrap();
        assert_eq!(plan.kinds, [FaultKind::Late, FaultKind::Garbage]);
        let all: FaultPlan = "rate=1".parse().unwrap();
        assert_eq!(all.kinds, FaultKind::ALL);
        let why = |text: &str| text.parse::<FaultPlan>().unwrap_err();
        assert!(why("kinds=late").contains("how often"));
        assert!(why("rate=2").contains("share"));
        assert!(why("rate=0.1,kinds=tired").contains("inverted_film"));
        assert!(why("0.1").contains("write rate="));
    }

    #[test]
    fn no_kind_befalls_a_stay_event_and_each_befalls_something() {
        for kind in FaultKind::ALL {
            assert!(!kind.befalls(Topic::Stay));
            assert!(Topic::ALL.into_iter().any(|topic| kind.befalls(topic)), "{kind}");
        }
    }
}

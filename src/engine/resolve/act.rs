//! What enters the resolver and what leaves it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::course::Move;
use crate::event::{Admission, Disposition, Rejection, Sex};
use crate::ids::{FactId, NAMESPACE, StayId};
use crate::time::EventTime;

/// A patient at the sender's, as a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PersonId(pub u128);

/// A visit of a patient at the hospital, as a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VisitId(pub u128);

/// One thing that was said, the same however often it is sent; a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId(pub u128);

/// What a report is about, in all its versions: order, code and sub-id, as a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResultId(pub u128);

/// Where a thing was said: the number of the message at its edge, and of the segment in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Heard {
    pub message: u64,
    pub segment: u32,
}

/// One thing that an edge heard. `B` is what a report says; the resolver compares it and passes it
/// on.
#[derive(Clone, Debug, PartialEq)]
pub struct Act<B> {
    pub heard: Heard,
    pub operation: OperationId,
    pub person: PersonId,
    /// When it could be known.
    pub known_at: EventTime,
    pub deed: Deed<B>,
}

/// The closed list of acts.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed<B> {
    /// The patient is in `unit` from `at` on: an admission, a transfer, one half of a swap.
    Arrive { visit: VisitId, at: EventTime, unit: String, about: About },
    /// The visit ended at `at`.
    Leave { visit: VisitId, at: EventTime, disposition: Disposition, about: About },
    /// One of the above did not happen.
    Cancel { visit: VisitId, what: Cancelled },
    /// What is known of the patient; for a visit that is not known yet, also where he is.
    Describe { visit: VisitId, at: EventTime, unit: String, about: About },
    /// Where the patient was from the first of these moves on, wholly: what was known from then on
    /// and is not told any more did not happen. Earlier moves stay.
    Course { visit: VisitId, moves: Vec<Move>, about: About },
    /// What is known of the patient, whatever the visit.
    Know { about: About },
    /// `prior` is this patient. If their visits are one, `visits` names the prior and the surviving
    /// one.
    Merge { prior: PersonId, visits: Option<(VisitId, VisitId)> },
    /// The patient is known by this number elsewhere. Unlike a merge it is not said of the number:
    /// where that is another patient's already, it is a dispute.
    Number { number: PersonId },
    /// A version of a result.
    Report {
        /// `None` where the sender knows the patient only.
        visit: Option<VisitId>,
        result: ResultId,
        /// Whether `result` names this result alone, whenever it was observed; else it names a
        /// series of them, which their times tell apart.
        is_sole: bool,
        observed_at: EventTime,
        status: Status,
        body: B,
    },
}

impl<B> Deed<B> {
    /// The kind of act, as it is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Deed::Arrive { .. } => "arrive",
            Deed::Leave { .. } => "leave",
            Deed::Cancel { .. } => "cancel",
            Deed::Describe { .. } => "describe",
            Deed::Course { .. } => "course",
            Deed::Know { .. } => "know",
            Deed::Merge { .. } => "merge",
            Deed::Number { .. } => "number",
            Deed::Report { .. } => "report",
        }
    }
}

/// What is known of a patient. Nothing that would name one: an age, and no date of birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub age_years: Option<u8>,
    pub sex: Option<Sex>,
}

/// What did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The visit itself.
    Admission,
    /// The last arrival in a unit.
    Transfer,
    Discharge,
}

/// What a version of a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Preliminary,
    Final,
    /// Takes the place of an earlier version.
    Corrected,
    /// Deleted, of the wrong patient, or not to be had: no version holds.
    Withdrawn,
    /// The version that is known is final; brings no value.
    Confirmed,
}

/// Everything that leaves the resolver.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<B> {
    /// A fact of a stay.
    Tell(Telling<B>),
    /// What became of an act, or later of a report that was held. Every act is decided at once;
    /// one that was held is decided a second time.
    Decided { heard: Heard, fate: Fate },
}

/// A fact of one stay.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling<B> {
    /// The act that led to it. An act on two stays gives it to the facts of both.
    pub operation: OperationId,
    pub stay: StayId,
    /// A function of what is told, so that telling it again changes nothing.
    pub id: FactId,
    pub observed_at: EventTime,
    pub available_at: EventTime,
    pub word: Word<B>,
}

/// What is told of a stay.
#[derive(Clone, Debug, PartialEq)]
pub enum Word<B> {
    Admit(Admission),
    Transfer {
        unit: String,
    },
    Discharge {
        disposition: Disposition,
    },
    Report {
        body: B,
        status: Status,
        replaces: Option<FactId>,
    },
    /// `fact`, which said `body`, does not hold.
    Withdraw {
        body: B,
        fact: FactId,
    },
}

/// What became of an act.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// At least one fact was told.
    Told,
    /// Kept: it changes what is told later.
    Kept,
    /// It says what is known already.
    Known,
    Rejected(Rejection),
}

impl About {
    /// What `newer` says, and this where it says nothing.
    #[must_use]
    pub fn updated(self, newer: About) -> About {
        About { age_years: newer.age_years.or(self.age_years), sex: newer.sex.or(self.sex) }
    }
}

impl VisitId {
    /// The id of the visit's `number`-th ICU stay. Opaque as the visit's own id is, and within 63
    /// bits, since the wire's ids are signed.
    pub fn stay(self, number: usize) -> StayId {
        let name = [&b"stay"[..], &self.0.to_be_bytes(), &number.to_be_bytes()].concat();
        let id = Uuid::new_v5(&NAMESPACE, &name);
        StayId((id.as_u128() >> 65) as u64)
    }
}

impl OperationId {
    /// The id of the fact of `kind` that an operation tells of a stay.
    pub(super) fn fact(self, kind: u8, stay: StayId, about: &[u8]) -> FactId {
        let mut name = [&b"fact"[..], &[kind], &self.0.to_be_bytes()].concat();
        name.extend_from_slice(&stay.0.to_be_bytes());
        name.extend_from_slice(about);
        FactId(Uuid::new_v5(&NAMESPACE, &name))
    }
}

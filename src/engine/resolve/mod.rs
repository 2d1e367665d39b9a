//! `resolve`: whose stay is it? Turns what an edge heard of patients into facts of stays.
//!
//! Topics carry stay ids, and hospitals speak of patients, visits and beds. Between the two stands
//! this state machine, pure like the rest of the engine: [`Resolver::step`] takes one [`Act`],
//! [`Resolver::tick`] the time, and both give [`Effect`]s. It owns
//!
//! - *which stay*: an ICU stay is a stretch of a visit in one of the configured units. A visit
//!   that comes back to such a unit, or whose discharge is cancelled, begins a new stay, since the
//!   engine's stays end for good; it is told what its span needs of what the old one was told;
//! - *orphans*: reports that come before their admission, bounded in number and time;
//! - *versions* of each report, so that a correction names what it replaces and a withdrawal what
//!   it takes back, and an older version never overwrites a newer one;
//! - *identity*: a merged patient's earlier number leads to the surviving one from then on, also in
//!   messages that were delayed. A visit that is known to be another patient's is a dispute, and
//!   what quotes it is rejected.
//!
//! A cancelled admission ends its stay, since the engine has no way to say that one never was; a
//! late report of an earlier move changes the admission that was told.
//!
//! An act on two stays (a merge of visits, a swap of beds) is told as inputs of single stays under
//! one [`OperationId`], each idempotent: the same act again tells nothing.
//!
//! # One node
//!
//! This is the single-node form: the process that hears the messages owns one resolver with its
//! state (`edge::desk`), and the stay-keyed topics it writes are distributed. Design decision 1 has
//! a resolve task for each partition of patient-keyed topics; nothing in this module would change
//! for that, but its inputs would have to be a topic, and a merge across partitions two records.
//!
//! Persons, visits and operations are keyed hashes made by the edge. No name and no number of a
//! patient comes this far.

mod act;
mod course;
mod merge;
mod person;
mod report;
mod resolver;

pub use act::{
    About, Act, Cancelled, Deed, Effect, Fate, Heard, OperationId, PersonId, ResultId, Status,
    Telling, VisitId, Word,
};
pub use course::{Move, Step, Units};
pub use person::{Hour, Person};
pub use resolver::{Changes, ResolveConfig, Resolver};
pub use resolver::{MAX_HELD, MAX_PEOPLE, MAX_REPORTS_AN_HOUR, MAX_VISITS};

//! Drift: whether a run's windows look like those that a model was last judged on.
//!
//! A [`Profile`] is made from a run: of every measure the bins and the share of each. Another run
//! is counted into the same bins and compared ([`Profile::compare`]). Measured is what the model
//! saw, at first revisions that have a score:
//!
//! - of each variable the newest *value* of the window's series (from the views of the run's log;
//!   left out where the log is not at hand), whether it was *missing*, and its *age* in hours (both
//!   from the risk events);
//! - the stratum of the film's age, the number of facts in the series, and the score;
//! - where outcomes are known, calibration in the large.
//!
//! A profile holds shares and counts, and nothing of a single stay. What a PSI can say is in
//! [`psi`]. Drift of an input does not say that the model is wrong, nor its absence that it is
//! right: only outcomes do.

mod compare;
mod measure;
mod profile;
pub mod psi;
mod seen;
#[cfg(test)]
mod tests;

pub use compare::{Comparison, Found, STAYS_LEAST, Verdict};
pub use measure::{Kind, Measure, VARIABLES_MAX};
pub use profile::{InTheLarge, Made, Profile, profile};
pub use seen::{Seen, Values, WINDOWS_MAX, seen, values_of};

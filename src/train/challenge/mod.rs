//! Death in hospital from the first 48 hours of an ICU stay, on the PhysioNet/CinC Challenge 2012:
//! real patients, EHR only. It is where the two encoders of the series are compared, since no open
//! data pair films with stays.
//!
//! A record is read by its own dictionary (`schemas/physionet2012.toml`); an encoder
//! ([`crate::model::SeriesEncoder`]) and one layer learn the outcome, and beside it what else the
//! outcome table says, which steadies so few deaths.

mod directory;
mod fit;
mod folds;
mod inputs;
mod net;
mod read;
pub mod recipe;
mod record;
#[cfg(test)]
mod tests;

pub use directory::{About, Trained};
pub use fit::{OutcomeModel, Told};
pub use folds::{cross_validate, folds};
pub use read::{Challenge, Outcome, RowCounts, Stay, read};
pub use recipe::{EhrRecipe, EncoderKind};
pub use record::{HOURS, Record};

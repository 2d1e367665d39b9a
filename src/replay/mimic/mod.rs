//! Streaming readers for the files of MIMIC-IV 2.2 and 3.1 and MIMIC-CXR(-JPG) 2.0 and 2.1, as
//! they are downloaded: CSV or gzipped CSV, rows in any order, columns addressed by name
//! (`reference/open-data.md`).
//!
//! Each reader walks its table once, keeps nothing but what it is told to keep, and hands every
//! row on to [`Intake`](super::intake::Intake), where it ends as exactly one of: not a model
//! variable, out of scope, not in the cohort, rejected, or emitted.

pub mod charts;
pub mod films;
pub mod items;
pub mod labels;
pub mod labs;
pub mod lines;
mod measured;
pub mod stays;
pub mod table;
pub mod transfers;
pub mod tree;
pub mod value;

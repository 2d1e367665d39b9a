//! Bad input through the real loop over a log on disk: each bad record ends as exactly one dead
//! letter with its reason and position, or as the fate that it deserves; nothing else is affected
//! and nothing panics. Also a store that was damaged between two runs.

#![allow(clippy::unwrap_used)]

mod cases;
mod damage;
mod flood;
mod garbage;
mod records;
mod world;

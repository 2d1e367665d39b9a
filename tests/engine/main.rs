//! The engine by itself: golden journals and the invariants of `src/engine/mod.rs`.

#![allow(clippy::unwrap_used)]

mod crash;
mod formats;
mod golden;
mod handover;
mod invariants;
mod support;
mod workload;

//! The engine by itself: golden journals and the invariants of `src/engine/mod.rs`.

#![allow(clippy::unwrap_used)]

mod crash;
mod golden;
mod handover;
mod invariants;
mod support;
mod workload;

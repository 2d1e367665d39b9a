//! The built binary from outside: what it says, what it writes, how it ends, and that a run goes
//! on after any kill. Runs of the pipeline need the shipped model and say so where it is absent.

#![allow(clippy::unwrap_used)]

mod access;
mod challenge;
mod configuration;
mod control;
mod demo;
mod drift;
mod edge;
mod evaluate;
mod faults;
mod help;
mod resume;
mod support;
mod trouble;

//! The hospital's edge from end to end: messages to the local log to the pipeline to risk events.

#![allow(clippy::unwrap_used)]

mod corpus;
mod crash;
mod server;
mod twin;
mod world;

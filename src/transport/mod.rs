//! How records come in and leave: the two transports behind the same ports.
//!
//! [`local`] is an append-only log on disk in this process, the embedded default. [`kafka`] is a
//! cluster. Nothing above knows which one it has.

pub mod kafka;
pub mod local;

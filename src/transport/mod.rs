//! How records come in and leave: the two transports behind the same ports.
//!
//! [`local`] is an append-only log on disk in this process, the embedded default. [`kafka`] is a
//! cluster. Nothing above knows which one it has. [`registry`] names the schemas of a cluster's
//! records.

pub mod kafka;
pub mod local;
pub mod registry;
#[cfg(feature = "https")]
pub mod trust;

/// How rustls says that a server's certificate was not believed.
pub const DISTRUST: &str = "invalid peer certificate";

//! The node's HTTP side: metrics, health, the dashboard and who may see it. It reads what others have put into
//! atomics and topics and never touches the engine (design decision 15), so that a slow scrape or
//! a slow page cannot hold a task up.

pub mod access;
mod bounded;
pub mod dashboard;
mod health;
mod server;

pub use bounded::MAX_CONNECTIONS;
pub use health::{Health, NotReady};
pub use server::{DRAIN, HttpError, Server, routes};

//! The node's HTTP side: metrics, health, the dashboard, who may see it and who has. It reads what
//! others have put into atomics and topics and never touches the engine (design decision 15), so
//! that a slow scrape or a slow page cannot hold a task up.

pub mod access;
pub mod audit;
mod bounded;
pub mod dashboard;
pub mod dicomweb;
pub mod fhir;
mod health;
mod phenotypes;
mod senders;
mod server;
mod shown;

pub use bounded::MAX_CONNECTIONS;
pub use health::{Health, NotReady};
pub use server::{DRAIN, HttpError, Server, routes};

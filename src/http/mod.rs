//! The node's HTTP side: metrics and health. It reads what others have put into atomics and never
//! touches the engine (design decision 15), so a slow scrape cannot hold a task up.

mod bounded;
mod health;
mod server;

pub use bounded::MAX_CONNECTIONS;
pub use health::{Health, NotReady};
pub use server::{DRAIN, HttpError, Server, routes};

//! What was written, checked once into what is valid: all errors at once, unknown keys refused.

mod engine;

pub use engine::{EngineConfig, Feed, LatePolicy};

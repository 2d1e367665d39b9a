//! nowcxr keeps every ICU stay's picture of the chest up to date.

pub mod cli;
pub mod config;
pub mod drive;
pub mod engine;
pub mod event;
pub mod film;
pub mod http;
pub mod ids;
pub mod model;
pub mod ports;
pub mod predict;
pub mod replay;
pub mod series;
pub mod store;
pub mod synth;
pub mod telemetry;
pub mod time;
pub mod train;
pub mod transport;
pub mod wire;

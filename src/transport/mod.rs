//! Where records come from and where outputs go.

pub mod local;

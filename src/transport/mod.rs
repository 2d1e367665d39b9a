//! Where facts come from and events go: Kafka, or the log on this machine's own disk.

pub mod kafka;

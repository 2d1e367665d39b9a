//! State made durable: keyed whole values, committed together with the input positions.
//!
//! * [`codec`] frames every stored value with a format version and a CRC.
//! * [`keys`] is the one place that knows what a store key looks like.
//! * [`memory`] and [`sled`] implement [`crate::ports::StateStore`] over the same `ledger`, which
//!   decides what a commit writes and keeps the running digest of the whole store.

pub mod codec;
pub mod keys;
mod ledger;
pub mod lineage;
pub mod memory;
mod outbox;
pub mod sled;
pub mod values;

//! HL7 v2.3 to 2.8 over MLLP: bytes to messages to what they say of patients.
//!
//! [`message`] reads the syntax and borrows from the bytes; [`time`] the time stamps and zones;
//! [`header`] the MSH segment; [`ack`] writes what goes back. [`reader`] turns ORU and ADT messages
//! into the acts of [`crate::engine::resolve`]. [`mllp`] frames messages on a connection.
//!
//! Everything here is total: no input panics, and every list has a named bound. Deviations that are
//! usual and unambiguous are taken (line feeds for carriage returns, an undeclared character set, a
//! missing trigger event); what would need a guess about a value is refused with its reason.

pub mod ack;
mod adt;
pub mod charset;
pub mod escape;
pub mod header;
mod hear;
pub mod message;
pub mod mllp;
mod oru;
pub mod reader;
pub mod server;
pub mod time;

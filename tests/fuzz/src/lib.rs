//! What holds of the parsers that read other people's bytes, whatever the bytes are: beyond that
//! nothing panics, that the same bytes say the same again, that what is accepted can be read by
//! whoever reads it next, and that little memory is needed. A target for each protocol; the seeds
//! are the corpora of the ordinary tests.

pub mod dicom;
pub mod dimse;
pub mod edge;
pub mod fhir;
pub mod film;
pub mod hl7;
pub mod json;
pub mod memory;
pub mod seeds;
pub mod wire;

/// Lets a panic unwind, as it does in the program, where a decoder's panic is caught. libFuzzer's
/// hook would end the process at the panic itself; one that nobody catches still does.
pub fn let_decoders_panic() {
    drop(std::panic::take_hook());
}

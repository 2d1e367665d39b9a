//! MLLP and the syntax of HL7 v2.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcxr_fuzz::{hl7, seeds};

fuzz_target!(
    init: seeds::plant("mllp", &hl7::seeds(), hl7::WORDS),
    |bytes: &[u8]| hl7::check_syntax(bytes)
);

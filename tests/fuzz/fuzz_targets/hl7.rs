//! HL7 v2 over MLLP.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcxr_fuzz::{hl7, seeds};

fuzz_target!(
    init: seeds::plant("hl7", &hl7::seeds(), hl7::WORDS),
    |bytes: &[u8]| hl7::check(bytes)
);

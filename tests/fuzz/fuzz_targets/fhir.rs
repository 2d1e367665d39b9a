//! FHIR over HTTP.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcxr_fuzz::{fhir, seeds};

fuzz_target!(
    init: seeds::plant("fhir", &fhir::seeds(), fhir::resources::WORDS),
    |bytes: &[u8]| fhir::check(bytes)
);

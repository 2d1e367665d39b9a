//! DIMSE commands.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcxr_fuzz::{dimse, seeds};

fuzz_target!(
    init: seeds::plant("dimse", &dimse::seeds(), dimse::WORDS),
    |bytes: &[u8]| dimse::check(bytes)
);

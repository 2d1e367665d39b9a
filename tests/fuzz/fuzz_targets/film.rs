//! Films as JPEG and PNG.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcxr_fuzz::{film, let_decoders_panic, seeds};

fuzz_target!(
    init: {
        let_decoders_panic();
        seeds::plant("film", &film::seeds(), film::WORDS);
    },
    |bytes: &[u8]| film::check(bytes)
);

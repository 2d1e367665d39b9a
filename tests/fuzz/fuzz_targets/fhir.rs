//! FHIR over HTTP.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nowcxr_fuzz::{fhir, seeds};

fuzz_target!(
    init: seeds::plant("fhir", &fhir::seeds(), fhir::resources::WORDS),
    |bytes: &[u8]| fhir::check(bytes)
);

/// Bytes by which a text may grow at once.
const ROOM: usize = 16;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let edit = |mut text: Vec<u8>| {
        let length = text.len();
        text.resize(length + ROOM, 0);
        let length = fuzzer_mutate(&mut text, length, length + ROOM);
        text.truncate(length);
        text
    };
    // One in four is changed as bytes all the same.
    let changed = match seed % 4 {
        0 => None,
        _ => fhir::changed(&data[..size], max_size, seed, edit),
    };
    match changed {
        Some(bytes) => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});

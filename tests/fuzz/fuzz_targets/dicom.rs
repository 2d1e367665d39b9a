//! DICOM files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcxr_fuzz::{dicom, let_decoders_panic, seeds};

fuzz_target!(
    init: {
        let_decoders_panic();
        seeds::plant("dicom", &dicom::seeds(), dicom::words());
    },
    |bytes: &[u8]| dicom::check(bytes)
);

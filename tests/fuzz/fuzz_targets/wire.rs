//! Records of topics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcxr_fuzz::{seeds, wire};

fuzz_target!(
    init: seeds::plant("wire", &wire::seeds(), wire::WORDS),
    |bytes: &[u8]| wire::check(bytes)
);

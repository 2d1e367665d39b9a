//! Whatever the bytes are, the answer is a film or a rejection: never a panic, never much memory.

use nowcxr::event::Reason;
use nowcxr::film::{png, prepare};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::open_data::{data, deflate, variant_as_ap};
use super::phantom::{self, Dicom, SIDE, eight_bits, twelve_bits};
use super::{AP, prepared};

/// The same cases in every run.
const SEED: u64 = 20_261_123;

/// One way to damage a file.
#[derive(Clone, Debug)]
enum Damage {
    Truncate(prop::sample::Index),
    Flip(Vec<(prop::sample::Index, u8)>),
    /// Near the start, where headers are.
    FlipHeader(Vec<(u16, u8)>),
    Cut(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
}

impl Damage {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let length = bytes.len();
        match self {
            Damage::Truncate(at) => bytes.truncate(at.index(length)),
            Damage::Flip(flips) => {
                flips.iter().for_each(|(at, mask)| bytes[at.index(length)] ^= mask);
            }
            Damage::FlipHeader(flips) => {
                flips.iter().for_each(|(at, mask)| bytes[usize::from(*at) % length] ^= mask);
            }
            Damage::Cut(at, n) => {
                let start = at.index(length);
                bytes.drain(start..(start + usize::from(*n)).min(length));
            }
            Damage::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
        }
        bytes
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = || any::<prop::sample::Index>();
    prop_oneof![
        1 => index().prop_map(Damage::Truncate),
        3 => prop::collection::vec((index(), 1u8..), 1..9).prop_map(Damage::Flip),
        3 => prop::collection::vec((0u16..1024, 1u8..), 1..5).prop_map(Damage::FlipHeader),
        1 => (index(), any::<u8>()).prop_map(|(at, n)| Damage::Cut(at, n)),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, more)| Damage::Insert(at, more)),
    ]
}

fn runner(cases: u32) -> TestRunner {
    let rng_seed = RngSeed::Fixed(SEED);
    TestRunner::new(Config { cases, rng_seed, failure_persistence: None, ..Config::default() })
}

/// A film or a rejection of the film kind; anything else fails the case.
fn answered(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Err(rejection) = prepare(bytes, AP) {
        let film = rejection.reason.code().starts_with("film_");
        prop_assert!(film, "{rejection}");
        prop_assert!(rejection.detail.len() < 500, "{rejection}");
    }
    Ok(())
}

/// The phantom in each format: JPEG, PNG, and five kinds of DICOM.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let plain = Dicom::new(&twelve_bits());
    let side = SIDE as u32;
    let lut = [
        (0x28, 0x3002, *b"US", [4096u16, 0, 12].iter().flat_map(|n| n.to_le_bytes()).collect()),
        (0x28, 0x3006, *b"OW", (0..4096u16).flat_map(u16::to_le_bytes).collect()),
    ];
    let jpeg = phantom::jpeg();
    let eight = plain.clone().bits(8, 8).without(0x28, 0x1050);
    let explicit = plain.bytes();
    // The same data set deflated, under the transfer syntax of that name.
    let mut deflated = plain.clone().codestream("1.2.840.10008.1.2.1.99", &[]).bytes();
    deflated.truncate(132 + 8 + 22);
    deflated.extend(deflate(&plain.dataset()));
    vec![
        ("png", png::encode(&eight_bits(), side, side).expect("sides agree")),
        ("explicit", explicit),
        ("deflated", deflated),
        ("lut", plain.clone().sequence(0x28, 0x3010, &lut).bytes()),
        ("rle", plain.codestream("1.2.840.10008.1.2.5", &phantom::rle()).bytes()),
        ("jpeg in dicom", eight.codestream("1.2.840.10008.1.2.4.50", &jpeg).bytes()),
        ("jpeg", jpeg),
    ]
}

#[test]
fn damaged_films_never_panic() {
    for (name, seed) in seeds() {
        prepared(&seed);
        let ran = runner(150).run(&damage(), |damage| answered(&damage.apply(&seed)));
        ran.unwrap_or_else(|error| panic!("{name}, seed {SEED}: {error}"));
    }
}

#[test]
fn damaged_jpeg2000_never_panics() {
    let Some(data) = data() else { return };
    let seed = variant_as_ap(&data, "var-jpeg2000lossless-12bit-mono2.dcm");
    prepared(&seed);
    let ran = runner(100).run(&damage(), |damage| answered(&damage.apply(&seed)));
    ran.unwrap_or_else(|error| panic!("seed {SEED}: {error}"));
}

#[test]
fn random_bytes_behind_a_magic_word_never_panic() {
    let mut preamble = vec![0; 128];
    preamble.extend(b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
    let magic = [vec![0xff, 0xd8, 0xff], b"\x89PNG\r\n\x1a\n".to_vec(), preamble, vec![]];
    let bytes = (0..magic.len(), prop::collection::vec(any::<u8>(), 0..2000));
    let ran = runner(2000)
        .run(&bytes, |(kind, tail)| answered(&[magic[kind].as_slice(), &tail].concat()));
    ran.unwrap_or_else(|error| panic!("seed {SEED}: {error}"));
}

#[test]
fn nested_sequences_do_not_reach_the_stack() {
    let open = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff";
    let mut bytes = Dicom::new(&[]).bytes();
    bytes.truncate(132 + 8 + 20);
    bytes.extend(open.repeat(500_000));
    assert_eq!(prepare(&bytes, AP).expect_err("nested").reason, Reason::FilmUndecodable);
}

#[test]
fn a_deflate_bomb_is_too_large() {
    let mut bytes = Dicom::new(&[]).codestream("1.2.840.10008.1.2.1.99", &[]).bytes();
    bytes.truncate(132 + 8 + 22);
    bytes.extend(deflate(&vec![0; 80 * 1024 * 1024]));
    assert!(bytes.len() < 1024 * 1024);
    assert_eq!(prepare(&bytes, AP).expect_err("a bomb").reason, Reason::FilmTooLarge);
}

#[test]
fn a_large_film_within_limits_is_prepared() {
    // 4000 x 3000 pixels, the size of a real detector's film.
    let (width, height) = (4000, 3000);
    let small = eight_bits();
    let at = |i: usize| small[(i / width * SIDE / height) * SIDE + i % width * SIDE / width];
    let pixels: Vec<u8> = (0..width * height).map(at).collect();
    let bytes = png::encode(&pixels, width as u32, height as u32).expect("sides agree");
    assert_eq!(prepared(&bytes).notes, []);
}

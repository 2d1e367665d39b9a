//! Films as JPEG and PNG: an input is a file.

use nowcxr::event::{FILM_SIDE, ViewPosition};
use nowcxr::film::{Declared, Prepared, UnknownView, png, prepare};

use crate::memory::bounded;

#[path = "../../film/phantom.rs"]
pub mod phantom;

/// Side of the phantom in pixels: the least that the gate lets through.
pub const SIDE: usize = 128;
/// Bytes that one film may need while it is decoded: the decoders' own limit, and the pixels beside
/// it.
pub const MEMORY: usize = 768 << 20;
/// Characters of a rejection's detail.
const MAX_DETAIL: usize = 500;
/// The record says AP; what the file says must agree.
pub const AP: Declared =
    Declared { view: Some(ViewPosition::Ap), unknown_view: UnknownView::Reject };

/// Holds whatever the file is: a film is the same again, and as the PNG that goes on to the engine.
pub fn check(file: &[u8]) {
    bounded(MEMORY, || {
        let file = with_checksums(file);
        let Some(film) = prepared(&file, AP) else { return };
        assert_eq!(prepared(&file, AP).as_ref(), Some(&film), "another film from the same bytes");
        let side = FILM_SIDE as u32;
        let png = png::encode(film.film.pixels(), side, side).expect("its sides are known");
        let read = prepared(&png, AP).expect("what passed the gates passes them again");
        assert_eq!(read.film, film.film, "the PNG holds another film");
    });
}

/// What a film is prepared to. A refusal says that it is of a film, and not more than a person can
/// read.
pub fn prepared(file: &[u8], declared: Declared) -> Option<Prepared> {
    let rejection = match prepare(file, declared) {
        Ok(film) => return Some(film),
        Err(rejection) => rejection,
    };
    assert!(rejection.reason.code().starts_with("film_"), "{rejection}");
    let detail = rejection.detail.chars().count();
    assert!(detail <= MAX_DETAIL, "a detail of {detail} characters: {rejection}");
    None
}

/// A PNG with the checksums of its chunks made right, so that what is changed in it is read.
fn with_checksums(file: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let mut at = 8;
    while file.starts_with(b"\x89PNG")
        && let Some(&[a, b, c, d]) = file.get(at..at + 4)
    {
        let end = at + 8 + u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(chunk) = file.get(at + 4..end) else { break };
        let Some(place) = bytes.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&crc32fast::hash(chunk).to_be_bytes());
        at = end + 4;
    }
    bytes
}

/// The phantom's 12-bit codes on [`SIDE`] pixels.
pub fn codes() -> Vec<u16> {
    let (whole, from) = (phantom::twelve_bits(), phantom::SIDE);
    let code = |i: usize| whole[i / SIDE * from / SIDE * from + i % SIDE * from / SIDE];
    (0..SIDE * SIDE).map(code).collect()
}

/// The same as 8-bit grey.
pub fn grey() -> Vec<u8> {
    codes().into_iter().map(|code| (code >> 4) as u8).collect()
}

/// Chunks of PNG and markers of JPEG.
pub const WORDS: [&[u8]; 16] = [
    b"IHDR",
    b"PLTE",
    b"tRNS",
    b"IDAT",
    b"IEND",
    b"\0\0\0\x80\0\0\0\x80\x10\x06",
    b"\xff\xc0\0\x0b\x08",
    b"\xff\xc2",
    b"\xff\xc3",
    b"\xff\xc4",
    b"\xff\xd9",
    b"\xff\xda",
    b"\xff\xdb",
    b"\xff\xdd",
    b"\xff\xe0",
    b"\xff\xee",
];

/// The phantom as JPEG and PNG, and pictures that the gate refuses.
pub fn seeds() -> Vec<Vec<u8>> {
    let side = SIDE as u32;
    let flat = vec![90; SIDE * SIDE];
    vec![
        phantom::jpeg_of(&grey(), SIDE, 60),
        phantom::jpeg_of(&flat, SIDE, 30),
        png::encode(&grey(), side, side).expect("its sides are known"),
        png::encode(&flat, side, side).expect("its sides are known"),
    ]
}

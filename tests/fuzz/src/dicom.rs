//! Films as DICOM files at the desk: an input is a letter and a file without its preamble. The
//! letter says which pixels are put behind it, since most of a file's bytes are pixels, and these
//! tell a parser nothing.

use std::slice;
use std::sync::LazyLock;

use nowcxr::edge::dicom::{Instance, Stored};
use nowcxr::edge::{Channel, Outgoing};
use nowcxr::film::{Declared, Prepared, SYNTAXES, origin};
use nowcxr::ids::Topic;
use nowcxr::wire::{Decoded, Picture};

use crate::edge::{Edge, decoded, heard, readable};
use crate::film::phantom::{self, Dicom};
use crate::film::{self, AP, SIDE, prepared};
use crate::memory::bounded;

/// The admission of the patient whose films the seeds are.
const ADMISSION: &str = "MSH|^~\\&|ADT|H|NCX|H|20260301075900||ADT^A01|1|P|2.4\r\
    PID|||7^^^H^MR||||19570301|F\rPV1||I|MICU||||||||||||||||V7\r";

/// The element of the pixels, of 16 and of 8 bits.
static PIXELS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let element = |bytes: Vec<u8>| {
        let head = b"\xe0\x7f\x10\0OW\0\0";
        [&head[..], &(bytes.len() as u32).to_le_bytes(), &bytes].concat()
    };
    let wide = film::codes().into_iter().flat_map(u16::to_le_bytes).collect();
    [element(wide), element(film::grey())]
});

/// Holds whatever the file is.
pub fn check(bytes: &[u8]) {
    let Some((letter, rest)) = bytes.split_first() else { return };
    let pixels: &[u8] = match letter {
        b'W' => &PIXELS[0],
        b'B' => &PIXELS[1],
        _ => &[],
    };
    let file = [&[0; 128], &b"DICM"[..], rest, pixels].concat();
    bounded(film::MEMORY, || holds(&file));
}

fn holds(file: &[u8]) {
    assert_eq!(origin(file), origin(file));
    let film = prepared(file, Declared::default());
    if film.is_none() {
        // The record may say what the file does not.
        prepared(file, AP);
    }
    let instance = Instance::open("PEER".into(), file);
    let (_, sent) = heard(slice::from_ref(&instance));
    assert!(sent.iter().all(|record| record.channel == Channel::DeadLetter), "nobody's film");
    let mut edge = Edge::open();
    edge.take(&ADMISSION.as_bytes().to_vec());
    let stored = edge.take(&instance);
    if stored == Stored::Taken {
        assert_eq!(edge.take(&instance), Stored::Known);
    }
    edge.wait();
    for record in edge.end() {
        readable(&record);
        if record.channel == Channel::Input(Topic::Imaging) {
            assert_eq!(stored, Stored::Taken);
            same_film(&record, film.as_ref());
        }
    }
}

/// The film that goes on is that of the file.
fn same_film(record: &Outgoing, film: Option<&Prepared>) {
    // Its times may be refused; its pixels were judged.
    let Ok(Decoded::Film { picture, .. }) = decoded(Topic::Imaging, record) else { return };
    let Picture::Inline { bytes, .. } = picture else { panic!("a film by reference") };
    let sent = prepared(&bytes, AP).expect("what the edge sends is a film");
    assert_eq!(Some(&sent.film), film.map(|film| &film.film));
}

/// Tags that steer how pixels are read, and the values that they may have.
pub fn words() -> Vec<Vec<u8>> {
    let tags: [u32; 24] = [
        0x0008_0060,
        0x0008_0104,
        0x0008_0201,
        0x0018_0015,
        0x0018_5101,
        0x0028_0002,
        0x0028_0006,
        0x0028_0008,
        0x0028_0120,
        0x0028_0121,
        0x0028_0301,
        0x0028_1050,
        0x0028_1051,
        0x0028_1052,
        0x0028_1053,
        0x0028_1056,
        0x0028_3000,
        0x0028_3002,
        0x0028_3006,
        0x0028_3010,
        0x0040_0031,
        0x0054_0220,
        0x7fe0_0010,
        0xfffe_e000,
    ];
    let values = [
        "MONOCHROME1",
        "MONOCHROME2",
        "RGB",
        "YBR_FULL",
        "SIGMOID",
        "LINEAR_EXACT",
        "IDENTITY",
        "INVERSE",
        "YES",
        "PA",
        "LL",
        "+0100",
        "SQ\0\0",
        "OW\0\0",
        "UN\0\0",
        "US\x02\0",
        "DS",
    ];
    let tag = |tag: u32| [(tag >> 16) as u16, tag as u16].map(u16::to_le_bytes).concat();
    let texts = values.into_iter().chain(SYNTAXES).map(|text| text.as_bytes().to_vec());
    tags.into_iter().map(tag).chain(texts).collect()
}

/// The phantom as the ordinary tests write it, in each transfer syntax and with each kind of LUT.
pub fn seeds() -> Vec<Vec<u8>> {
    let side = SIDE as u16;
    let plain = Dicom::new(&film::codes())
        .word(0x28, 0x10, side)
        .word(0x28, 0x11, side)
        .text(0x08, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.1.1.1")
        .text(0x08, 0x18, b"UI", "1.2.840.99.1")
        .text(0x08, 0x22, b"DA", "20260301")
        .text(0x08, 0x32, b"TM", "083000.5")
        .text(0x10, 0x20, b"LO", "7")
        .text(0x10, 0x21, b"LO", "H");
    let head = |dicom: Dicom| dicom.without(0x7fe0, 0x10).bytes().split_off(132);
    let lut = |bits: u8| {
        let codes: Vec<u8> = (0..256u16).flat_map(|n| (n * 16).to_le_bytes()).collect();
        let says = [256u16, 0, u16::from(bits)].iter().flat_map(|n| n.to_le_bytes()).collect();
        [(0x28, 0x3002, *b"US", says), (0x28, 0x3006, *b"OW", codes)]
    };
    let eight = plain.clone().bits(8, 8).without(0x28, 0x1050).without(0x28, 0x1051);
    let jpeg = phantom::jpeg_of(&film::grey(), SIDE, 60);
    let coded = eight.clone().codestream("1.2.840.10008.1.2.4.50", &jpeg);
    let packed = plain.clone().codestream("1.2.840.10008.1.2.5", &phantom::rle_of(&film::codes()));
    let issuer = [(0x40, 0x31, *b"UT", b"H\0".to_vec())];
    let with = |letter: u8, bytes: Vec<u8>| [&[letter], &bytes[..]].concat();
    vec![
        with(b'W', head(plain.clone())),
        with(b'B', head(eight.clone())),
        with(b'W', head(plain.clone().text(0x28, 0x04, b"CS", "MONOCHROME1"))),
        with(b'W', head(plain.clone().text(0x28, 0x1052, b"DS", "-1024").word(0x28, 0x103, 1))),
        with(b'W', head(plain.clone().sequence(0x28, 0x3010, &lut(12)))),
        with(b'W', head(plain.clone().sequence(0x28, 0x3000, &lut(16)))),
        with(b'W', head(plain.clone().text(0x2050, 0x20, b"CS", "INVERSE"))),
        with(b'B', head(eight.text(0x28, 0x301, b"CS", "YES"))),
        with(b'W', head(plain.text(0x38, 0x10, b"LO", "V7").sequence(0x38, 0x14, &issuer))),
        with(b'F', coded.bytes().split_off(132)),
        with(b'F', packed.bytes().split_off(132)),
    ]
}

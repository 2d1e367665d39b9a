//! Real films: every one is prepared, its negative is not, and the variants of one film agree.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use nowcxr::event::{Reason, ViewPosition};
use nowcxr::film::{Declared, Note, Prepared, UnknownView, png, prepare};

use super::{AP, difference, prepared};

/// Where the data set of a file with a meta group starts.
const GROUP_LENGTH: std::ops::Range<usize> = 140..144;

pub fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("NOWCXR_SHARED").map_or_else(beside, PathBuf::from);
    let data = shared.join("data");
    if !data.is_dir() {
        println!("skipped: neither ../shared nor NOWCXR_SHARED is there");
        return None;
    }
    Some(data)
}

/// All files below `folder` with this extension, in the order of their paths.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder of shared data") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|ending| ending == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A variant of the NIH film, with its view changed from PA to AP so that it passes the gate.
pub fn variant_as_ap(data: &Path, name: &str) -> Vec<u8> {
    let mut bytes = fs::read(data.join("dicom").join(name)).expect("variant");
    let length = u32::from_le_bytes(bytes[GROUP_LENGTH].try_into().expect("4 bytes"));
    let body = bytes.split_off(144 + length as usize);
    let deflated = name.contains("deflated");
    let mut body = if deflated { inflate(&body) } else { body };
    let view = body.windows(10).position(|found| found == b"\x18\0\x01\x51CS\x02\0PA");
    let view = view.expect("the variants say PA");
    body[view + 8] = b'A';
    body[view + 9] = b'P';
    bytes.extend(if deflated { deflate(&body) } else { body });
    bytes
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::new();
    flate2::read::DeflateDecoder::new(bytes).read_to_end(&mut inflated).expect("deflated");
    inflated
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn no_real_film_is_refused() {
    let Some(data) = data() else { return };
    for (folder, extension) in
        [("cxr-hannover/png256", "png"), ("mimic-cxr-simulated-pairing/files", "jpg")]
    {
        let (mut refused, mut doubted, mut all) = (vec![], 0, 0);
        for path in files(&data.join(folder), extension) {
            all += 1;
            match prepare(&fs::read(&path).expect("film"), AP) {
                Ok(film) => doubted += usize::from(film.notes.contains(&Note::PolarityDoubtful)),
                Err(rejection) => refused.push(rejection.to_string()),
            }
        }
        println!("{folder}: {} of {all} refused, {doubted} doubted", refused.len());
        assert!(all > 200 && refused.is_empty(), "{refused:?}");
        assert!(doubted * 10 < all, "{doubted} of {all} doubted");
    }
}

#[test]
fn negatives_are_refused_or_doubted() {
    let Some(data) = data() else { return };
    let (mut refused, mut all) = (0, 0);
    for path in files(&data.join("cxr-hannover/png256"), "png") {
        let film = prepared(&fs::read(&path).expect("film"));
        let negative: Vec<u8> = film.film.pixels().iter().map(|pixel| 255 - pixel).collect();
        all += 1;
        match prepare(&png::encode(&negative, 224, 224).expect("224 x 224"), AP) {
            Ok(doubtful) => assert!(doubtful.notes.contains(&Note::PolarityDoubtful), "{path:?}"),
            Err(rejection) => refused += usize::from(rejection.reason == Reason::FilmNotChest),
        }
    }
    println!("negatives: {refused} of {all} refused, the others doubted");
    assert!(refused * 10 >= all * 9, "{refused} of {all}");
}

#[test]
fn nih_films_pass_where_the_view_may_be_unknown() {
    let Some(data) = data() else { return };
    for path in files(&data.join("dicom"), "dcm") {
        let bytes = fs::read(&path).expect("film");
        let accepting = Declared { view: None, unknown_view: UnknownView::Accept };
        if path.to_string_lossy().contains("nih-") {
            let film = prepare(&bytes, accepting).expect("NIH film");
            assert_eq!(film.view, ViewPosition::Unknown);
            assert!(film.notes.contains(&Note::ViewUnknown));
            assert_eq!(prepared(&bytes).view, ViewPosition::Ap);
        } else {
            let refused = prepare(&bytes, accepting).expect_err("the variants say PA");
            assert_eq!(refused.reason, Reason::FilmView);
        }
    }
}

#[test]
fn the_variants_of_one_film_agree() {
    let Some(data) = data() else { return };
    let variant = |name: &str| prepared(&variant_as_ap(&data, &format!("var-{name}-mono2.dcm")));
    let twelve = variant("explicitLE-12bit");
    let inverse = prepared(&variant_as_ap(&data, "var-explicitLE-12bit-mono1.dcm"));
    assert!(difference(&twelve, &inverse).0 <= 1, "{:?}", difference(&twelve, &inverse));
    assert_eq!(twelve.film, variant("jpeg2000lossless-12bit").film);
    let eight = variant("rle-8bit");
    assert_eq!(eight.film, variant("deflated-8bit").film);
    assert!(difference(&twelve, &eight).0 <= 1, "{:?}", difference(&twelve, &eight));
    // The original has twice the size, so its pixels are means of more.
    let original = data.join("dicom/nih-cxr14-covid0000.dcm");
    let original: Prepared = prepared(&fs::read(original).expect("NIH film"));
    let (_, mean) = difference(&original, &eight);
    assert!(mean < 3.0, "{mean}");
}

//! The same phantom, written in every way that DICOM, JPEG and PNG allow, prepares to the same
//! film.

use nowcxr::event::{Reason, ViewPosition};
use nowcxr::film::{Declared, Note, png, prepare};

use super::phantom::{self, Dicom, SIDE, eight_bits, twelve_bits};
use super::{AP, difference, prepared};

const US: [u8; 2] = *b"US";

fn plain() -> Dicom {
    Dicom::new(&twelve_bits())
}

/// Same film up to a rounding of the last bit.
fn assert_same(a: &[u8], b: &[u8]) {
    let (most, _) = difference(&prepared(a), &prepared(b));
    assert!(most <= 1, "pixels differ by {most}");
}

fn reason(bytes: &[u8]) -> Reason {
    prepare(bytes, AP).expect_err("must be refused").reason
}

fn negative(codes: &[u16]) -> Vec<u16> {
    codes.iter().map(|code| 4095 - code).collect()
}

#[test]
fn monochrome1_is_the_same_film() {
    let inverse = Dicom::new(&negative(&twelve_bits()));
    assert_same(&plain().bytes(), &inverse.text(0x28, 4, b"CS", "MONOCHROME1").bytes());
}

#[test]
fn inversion_comes_after_the_window() {
    // A window off the middle: inverting before it would show another part of the range.
    let window = |film: Dicom, center: &str| {
        film.text(0x28, 0x1050, b"DS", center).text(0x28, 0x1051, b"DS", "3000").bytes()
    };
    let inverse = Dicom::new(&negative(&twelve_bits())).text(0x28, 4, b"CS", "MONOCHROME1");
    // Linear windows are centred on c - 0.5, so the mirror image of 1800 is 4096 - 1800.
    let (direct, mirrored) = (window(plain(), "1800"), window(inverse, "2296"));
    assert_same(&direct, &mirrored);
    let (_, mean) = difference(&prepared(&direct), &prepared(&plain().bytes()));
    assert!(mean > 5.0, "the window must matter, but changed only {mean}");
}

#[test]
fn a_negative_without_its_label_is_refused() {
    let wrong = Dicom::new(&negative(&twelve_bits()));
    let refused = prepare(&wrong.bytes(), AP).expect_err("a negative");
    assert_eq!(refused.reason, Reason::FilmNotChest);
    assert!(refused.detail.starts_with("inverted"), "{refused}");
}

#[test]
fn presentation_lut_shape_does_not_invert_twice() {
    let inverse = Dicom::new(&negative(&twelve_bits()))
        .text(0x28, 4, b"CS", "MONOCHROME1")
        .text(0x2050, 0x20, b"CS", "INVERSE");
    assert_same(&plain().bytes(), &inverse.bytes());
    let contradicting = plain().text(0x28, 4, b"CS", "MONOCHROME1");
    let contradicting = contradicting.text(0x2050, 0x20, b"CS", "IDENTITY").bytes();
    assert_same(&plain().bytes(), &contradicting);
    assert_eq!(prepared(&contradicting).notes, [Note::PolarityContradicted]);
}

#[test]
fn eight_bits_are_the_same_film_as_twelve() {
    let pixels = eight_bits();
    let eight = plain()
        .bits(8, 8)
        .without(0x28, 0x1050)
        .without(0x28, 0x1051)
        .put(0x7fe0, 0x10, b"OW", pixels.clone())
        .bytes();
    assert_same(&plain().bytes(), &eight);
    let png = png::encode(&pixels, SIDE as u32, SIDE as u32).expect("sides agree");
    assert_eq!(prepared(&eight).film, prepared(&png).film);
}

#[test]
fn signed_and_rescaled_values_are_the_same_film() {
    let signed: Vec<u16> = twelve_bits().iter().map(|code| code.wrapping_sub(2048)).collect();
    let film = Dicom::new(&signed).word(0x28, 0x103, 1);
    let shifted = film.clone().text(0x28, 0x1050, b"DS", "0").bytes();
    assert_same(&plain().bytes(), &shifted);
    let rescaled = film.text(0x28, 0x1052, b"DS", "2048").text(0x28, 0x1053, b"DS", "1");
    assert_same(&plain().bytes(), &rescaled.bytes());
}

#[test]
fn bits_that_are_not_stored_do_not_count() {
    let dirty: Vec<u16> = twelve_bits().iter().map(|code| code | 0xf000).collect();
    assert_same(&plain().bytes(), &Dicom::new(&dirty).bytes());
    let high: Vec<u16> = twelve_bits().iter().map(|code| code << 4 | 0xf).collect();
    assert_same(&plain().bytes(), &Dicom::new(&high).word(0x28, 0x102, 15).bytes());
}

#[test]
fn padding_is_black_and_outside_the_used_range() {
    let mut codes = twelve_bits();
    for row in codes.chunks_exact_mut(SIDE) {
        row[..12].fill(4095);
    }
    let film = Dicom::new(&codes).word(0x28, 0x120, 4095).without(0x28, 0x1050).bytes();
    let film = prepared(&film);
    assert_eq!(film.notes, [Note::NoWindow]);
    assert!(film.film.pixels().chunks_exact(224).all(|row| row[..8].iter().all(|&p| p == 0)));
    let most = film.film.pixels().iter().max();
    assert_eq!(most, Some(&255), "the range is that of the picture, without its padding");
}

#[test]
fn luts_are_the_same_film_as_the_window_they_spell() {
    let descriptor: Vec<u8> = [4096u16, 0, 16].iter().flat_map(|n| n.to_le_bytes()).collect();
    let entries = |spell: &dyn Fn(u32) -> u32| {
        (0..4096u32).flat_map(|n| (spell(n) as u16).to_le_bytes()).collect::<Vec<u8>>()
    };
    let lut = |data| [(0x28, 0x3002, US, descriptor.clone()), (0x28, 0x3006, *b"OW", data)];
    let ramp = lut(entries(&|n| n * 65_535 / 4095));
    let voi = plain().without(0x28, 0x1050).sequence(0x28, 0x3010, &ramp);
    assert_same(&plain().bytes(), &voi.bytes());
    let turned = lut(entries(&|n| 4095 - n));
    let modality = Dicom::new(&negative(&twelve_bits())).sequence(0x28, 0x3000, &turned);
    assert_same(&plain().bytes(), &modality.bytes());
    let short = lut(vec![0; 100]);
    assert_eq!(reason(&plain().sequence(0x28, 0x3010, &short).bytes()), Reason::FilmUndecodable);
}

#[test]
fn window_functions_agree_where_they_must() {
    let exact = plain().text(0x28, 0x1056, b"CS", "LINEAR_EXACT");
    assert_same(&plain().bytes(), &exact.bytes());
    let sigmoid = prepared(&plain().text(0x28, 0x1056, b"CS", "SIGMOID").bytes());
    let (_, mean) = difference(&prepared(&plain().bytes()), &sigmoid);
    assert!((0.5..20.0).contains(&mean), "a sigmoid is near its line, not on it: {mean}");
    let none = plain().text(0x28, 0x1051, b"DS", "0");
    assert_eq!(reason(&none.bytes()), Reason::FilmUndecodable);
}

#[test]
fn transfer_syntaxes_hold_the_same_film() {
    let rle = plain().codestream("1.2.840.10008.1.2.5", &phantom::rle()).bytes();
    assert_eq!(prepared(&plain().bytes()).film, prepared(&rle).film);
    let jpeg = plain().bits(8, 8).without(0x28, 0x1050);
    let jpeg = jpeg.codestream("1.2.840.10008.1.2.4.50", &phantom::jpeg()).bytes();
    let (_, mean) = difference(&prepared(&plain().bytes()), &prepared(&jpeg));
    assert!(mean < 1.0, "{mean}");
    let (_, mean) = difference(&prepared(&phantom::jpeg()), &prepared(&jpeg));
    assert!(mean < 0.5, "two JPEG decoders: {mean}");
}

#[test]
fn a_codestream_of_another_size_is_refused() {
    let film = plain().bits(8, 8).word(0x28, 0x11, 200);
    let film = film.codestream("1.2.840.10008.1.2.4.50", &phantom::jpeg());
    assert_eq!(reason(&film.bytes()), Reason::FilmUndecodable);
}

#[test]
fn what_the_file_says_of_itself_is_held_against_it() {
    let plain = plain();
    for (film, expected) in [
        (plain.clone().text(0x18, 0x5101, b"CS", "PA"), Reason::FilmView),
        (plain.clone().text(0x18, 0x5101, b"CS", "LL"), Reason::FilmView),
        (plain.clone().text(0x08, 0x60, b"CS", "CT"), Reason::FilmNotChest),
        (plain.clone().text(0x18, 0x15, b"CS", "HAND"), Reason::FilmNotChest),
        (plain.clone().text(0x08, 0x1c, b"CS", "YES"), Reason::FilmNotChest),
        (plain.clone().text(0x28, 0x08, b"IS", "2"), Reason::FilmUndecodable),
        (plain.clone().word(0x28, 0x10, 65_535).word(0x28, 0x11, 65_535), Reason::FilmTooLarge),
        (plain.clone().word(0x28, 0x10, SIDE as u16 + 1), Reason::FilmUndecodable),
        (plain.clone().without(0x7fe0, 0x10), Reason::FilmUndecodable),
    ] {
        assert_eq!(reason(&film.bytes()), expected);
    }
}

#[test]
fn the_view_comes_from_the_code_where_the_position_is_missing() {
    let undeclared = Declared::default();
    let view = |meaning: &str| {
        let code = [(0x08, 0x0104, *b"LO", meaning.as_bytes().to_vec())];
        plain().without(0x18, 0x5101).sequence(0x54, 0x0220, &code).bytes()
    };
    let film = prepare(&view("antero-posterior"), undeclared).expect("AP");
    assert_eq!(film.view, ViewPosition::Ap);
    let refused = prepare(&view("left lateral"), undeclared).expect_err("lateral");
    assert_eq!(refused.reason, Reason::FilmView);
    let unnamed = plain().without(0x18, 0x5101).bytes();
    assert_eq!(prepare(&unnamed, undeclared).expect_err("unnamed").reason, Reason::FilmView);
}

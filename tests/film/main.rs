//! Films against the open data of `../shared` (two NIH films as DICOM, their variants, 243
//! Hannover films, 305 of them laid out as MIMIC-CXR-JPG), against a phantom in every encoding,
//! and against hostile bytes.
//!
//! `NOWCXR_SHARED` names the shared folder where it is not beside the repository.

mod encodings;
mod hostile;
mod open_data;
mod phantom;

use nowcxr::event::ViewPosition;
use nowcxr::film::{Declared, Prepared, UnknownView, prepare};

/// The record says AP; what the file says must agree.
const AP: Declared = Declared { view: Some(ViewPosition::Ap), unknown_view: UnknownView::Reject };

fn prepared(bytes: &[u8]) -> Prepared {
    prepare(bytes, AP).expect("this film is sound")
}

/// The largest and the mean absolute difference of two films' pixels.
fn difference(a: &Prepared, b: &Prepared) -> (u8, f64) {
    let pairs = a.film.pixels().iter().zip(b.film.pixels());
    let differences: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = differences.iter().map(|&d| f64::from(d)).sum();
    let most = differences.iter().max().copied().unwrap_or(0);
    (most, sum / differences.len() as f64)
}

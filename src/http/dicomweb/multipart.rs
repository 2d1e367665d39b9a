//! Bodies of `multipart/related` whose parts are DICOM files (PS3.18 8.6.1.2.1).

use std::convert::Infallible;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::stream;
use multer::{Constraints, Multipart, SizeLimit};

use crate::film::MAX_ENCODED_BYTES;

/// Bytes of a body of one file beside the file: boundaries and a few headers.
const MAX_FRAME_BYTES: usize = 64 << 10;
/// Bytes of a body of one file.
pub const MAX_ANSWER_BYTES: usize = MAX_ENCODED_BYTES + MAX_FRAME_BYTES;
/// A body is read in pieces of this size, so that no second copy of the whole is made.
const PIECE: usize = 64 << 10;
/// The media type of a file.
const FILE: &str = "application/dicom";

/// Why there is no file in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It ends too early.
    CutOff,
    /// It is something else.
    Other(String),
}

/// The boundary of a body of DICOM files.
pub(super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut fields = text.split(';').map(str::trim);
    let is_related = fields.next()?.eq_ignore_ascii_case("multipart/related");
    let mut named = fields.filter_map(|field| {
        let (name, value) = field.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
    });
    let all: Vec<(String, String)> = named.by_ref().collect();
    let field = |name: &str| all.iter().find(|(own, _)| own == name).map(|(_, value)| value);
    let is_dicom = field("type").is_none_or(|kind| kind.eq_ignore_ascii_case(FILE));
    field("boundary").filter(|text| is_related && is_dicom && !text.is_empty()).cloned()
}

/// How long a file may be, whatever its body is.
pub(super) fn constraints(files: usize) -> Constraints {
    let limit = SizeLimit::new()
        .per_field(MAX_ENCODED_BYTES as u64)
        .whole_stream((files * MAX_ENCODED_BYTES + MAX_FRAME_BYTES) as u64);
    Constraints::new().size_limit(limit)
}

/// The one file of a body: its only part, or all of it.
///
/// # Errors
/// If it is another kind of body, ends too early, or has not one part.
pub async fn file(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, Unreadable> {
    if is_file(headers) {
        return Ok(body);
    }
    let Some(boundary) = boundary(headers) else {
        return Err(Unreadable::Other("it is no DICOM file and no parts that are such".to_owned()));
    };
    let mut rest = Bytes::from(body);
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some(Ok::<_, Infallible>(piece))
    });
    let mut parts = Multipart::with_constraints(stream::iter(pieces), boundary, constraints(1));
    let part = parts.next_field().await.map_err(unreadable)?;
    let part = part.ok_or_else(|| Unreadable::Other("it has no part".to_owned()))?;
    let file = part.bytes().await.map_err(unreadable)?;
    match parts.next_field().await.map_err(unreadable)? {
        Some(_) => Err(Unreadable::Other("it has more than one part".to_owned())),
        None => Ok(Vec::from(file)),
    }
}

fn is_file(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(FILE)
}

fn unreadable(error: multer::Error) -> Unreadable {
    match error {
        multer::Error::IncompleteStream
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteFieldData { .. } => Unreadable::CutOff,
        error => Unreadable::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=\"b\"";

    fn headers(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(text).expect("plain"))])
    }

    fn read(kind: &str, body: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(file(&headers(kind), body.to_vec()))
    }

    fn body(parts: &[&[u8]]) -> Vec<u8> {
        let head = b"--b\r\nContent-Type: application/dicom\r\n\r\n";
        let of = |part: &&[u8]| [&head[..], part, b"\r\n"].concat();
        [parts.iter().map(of).collect::<Vec<_>>().concat(), b"--b--\r\n".to_vec()].concat()
    }

    #[test]
    fn only_bodies_of_dicom_files_have_a_boundary() {
        let found = |text: &str| boundary(&headers(text));
        let quoted = r#"multipart/related; type="application/dicom"; boundary="a b""#;
        assert_eq!(found(quoted).as_deref(), Some("a b"));
        assert_eq!(found("Multipart/Related;boundary=x").as_deref(), Some("x"));
        assert_eq!(found("multipart/related; type=\"application/dicom+json\"; boundary=x"), None);
        assert_eq!(found("multipart/form-data; boundary=x"), None);
        assert_eq!(found("multipart/related"), None);
        assert_eq!(boundary(&HeaderMap::new()), None);
    }

    #[test]
    fn a_body_has_one_file_or_says_why_it_has_none() {
        assert_eq!(read("application/dicom; transfer-syntax=x", b"file"), Ok(b"file".to_vec()));
        let long: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        assert_eq!(read(RELATED, &body(&[&long])), Ok(long));
        let other = |kind: &str, bytes: &[u8]| match read(kind, bytes) {
            Err(Unreadable::Other(why)) => why,
            read => panic!("{:?}", read.map(|file| file.len())),
        };
        assert!(other(RELATED, &body(&[b"a", b"b"])).contains("more than one"));
        assert!(other(RELATED, &body(&[])).contains("no part"));
        assert!(other("application/dicom+json", b"[]").contains("no DICOM file"));
        let huge = vec![0; MAX_ENCODED_BYTES + 1];
        assert!(other(RELATED, &body(&[&huge])).contains("size"));
        assert_eq!(read(RELATED, b"--b\r\n\r\nfile"), Err(Unreadable::CutOff));
    }

    proptest! {
        #[test]
        fn whatever_is_cut_off_is_no_file(
            part in prop::collection::vec(any::<u8>(), 0..200), cut in 0..300usize,
        ) {
            // `--b` within it would be a boundary.
            let part: Vec<u8> = part.into_iter().map(|byte| byte | 0x80).collect();
            let whole = body(&[&part]);
            let end = whole.len() - b"\r\n".len();
            let cut = cut.min(end - 1);
            prop_assert!(read(RELATED, &whole[..cut]).is_err(), "cut at {}", cut);
            prop_assert_eq!(read(RELATED, &whole[..end]), Ok(part));
        }

        #[test]
        fn any_bytes_are_a_file_or_an_error(
            kind in "[ -~]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..400),
            dashes in prop::collection::vec(0..400usize, 0..4),
        ) {
            let mut bytes = bytes;
            for at in dashes {
                let at = at.min(bytes.len());
                bytes.splice(at..at, b"\r\n--b\r\n\r\n".iter().copied());
            }
            let _ = read(RELATED, &bytes);
            let _ = read(&kind, &bytes);
        }
    }
}

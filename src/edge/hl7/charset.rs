//! The character set of a message, as MSH-18 declares it.

use std::borrow::Cow;

use thiserror::Error;

/// Why the bytes of a message cannot be read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CharsetError {
    #[error(
        "MSH-18 names a character set that is not read here; use ASCII, UNICODE UTF-8 or 8859/1"
    )]
    Unknown,
    #[error("MSH-18 says UTF-8, and the bytes are not")]
    NotUtf8,
}

/// Field separators before MSH-18.
const BEFORE_CHARSET: usize = 17;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    /// None, or ASCII: senders that say so often mean one of the other two.
    Undeclared,
    Utf8,
    Latin1,
}

/// The text of a message. ASCII and UTF-8 are borrowed. Bytes above 127 that no declaration
/// explains are UTF-8 if they can be, and 8859/1 otherwise; text that is UTF-8 by chance does not
/// occur in practice.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, CharsetError> {
    match (declared(bytes)?, std::str::from_utf8(bytes)) {
        (Charset::Utf8 | Charset::Undeclared, Ok(text)) => Ok(Cow::Borrowed(text)),
        (Charset::Utf8, Err(_)) => Err(CharsetError::NotUtf8),
        (Charset::Latin1, Ok(text)) if bytes.is_ascii() => Ok(Cow::Borrowed(text)),
        (Charset::Latin1, _) | (Charset::Undeclared, Err(_)) => {
            Ok(Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()))
        }
    }
}

/// MSH-18, found before anything is decoded: all three sets agree on what an MSH is made of.
fn declared(bytes: &[u8]) -> Result<Charset, CharsetError> {
    let start = bytes.windows(3).take(8).position(|three| three == b"MSH").unwrap_or(0);
    let msh = bytes.get(start..).unwrap_or_default();
    let line = msh.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let Some(&separator) = line.get(3) else { return Ok(Charset::Undeclared) };
    // The separator behind `MSH` is MSH-1, so the piece behind the n-th one is MSH-(n + 1).
    let field = line.split(|byte| *byte == separator).nth(BEFORE_CHARSET).unwrap_or_default();
    let first = field.split(|byte| *byte == b'~').next().unwrap_or_default();
    let name = String::from_utf8_lossy(first).trim().to_ascii_uppercase();
    match name.as_str() {
        "" | "\"\"" | "ASCII" | "US-ASCII" | "ISO IR6" => Ok(Charset::Undeclared),
        "UNICODE UTF-8" | "UTF-8" | "UTF8" | "UNICODE" => Ok(Charset::Utf8),
        "8859/1" | "8859-1" | "ISO-8859-1" | "ISO8859-1" | "ISO IR100" => Ok(Charset::Latin1),
        _ => Err(CharsetError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msh(charset: &str, text: &[u8]) -> Vec<u8> {
        let mut bytes =
            format!("MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5||||||{charset}\rNTE|1||").into_bytes();
        bytes.extend_from_slice(text);
        bytes
    }

    #[test]
    fn each_declared_set_is_read_as_such() {
        let latin = msh("8859/1", b"K\xF6rper");
        assert!(decode(&latin).unwrap().ends_with("Körper"));
        // Valid UTF-8, and still declared as something else.
        assert!(decode(&msh("8859/1", "ö".as_bytes())).unwrap().ends_with("Ã¶"));
        let utf8 = msh("UNICODE UTF-8", "Körper".as_bytes());
        assert!(matches!(decode(&utf8), Ok(Cow::Borrowed(text)) if text.ends_with("Körper")));
        assert_eq!(decode(&msh("UNICODE UTF-8", b"K\xF6")), Err(CharsetError::NotUtf8));
        assert_eq!(decode(&msh("BIG-5", b"x")), Err(CharsetError::Unknown));
    }

    #[test]
    fn an_undeclared_set_is_utf8_or_latin1() {
        for declared in ["", "ASCII"] {
            assert!(decode(&msh(declared, b"K\xF6rper")).unwrap().ends_with("Körper"));
            assert!(decode(&msh(declared, "Körper".as_bytes())).unwrap().ends_with("Körper"));
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_text_all_the_same() {
        for bytes in [&b""[..], b"M", b"MSH", b"\xFF\xFE", b"\r\r\r"] {
            assert!(decode(bytes).is_ok());
        }
    }
}

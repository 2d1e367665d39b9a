//! The file of tokens: a line each with name, role and the SHA-256 of the token.
//!
//! ```text
//! # name role sha256
//! ana clinician 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use rand::rngs::SysRng;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::Role;
use crate::ids::Digest;

/// Fewer characters are a password, which can be guessed: such a token is never let in.
pub const LEAST_TOKEN: usize = 32;
/// Tokens of one file.
pub const MAX_TOKENS: usize = 1_000;
/// Bytes of one file.
pub const MAX_BYTES: u64 = 256 << 10;
/// Characters of a name.
pub const MAX_NAME: usize = 64;
/// How old what was read of the file may be.
pub const LOOK: Duration = Duration::from_secs(1);

/// What a token begins with, so that people and scanners for secrets know it when they see it.
const PREFIX: &str = "nowcxr_";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: Arc<str>,
    pub role: Role,
    /// SHA-256 of the token.
    pub digest: Digest,
}

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the tokens in {path} cannot be read ({what}); make one with nowcxr token")]
    Unreadable { path: PathBuf, what: String },
    #[error("line {line} of the tokens {what}; write: name role sha256")]
    Line { line: usize, what: String },
    #[error("more than {MAX_TOKENS} tokens; take out those that nobody uses")]
    TooMany,
    #[error("the machine gives no random numbers: {0}")]
    Random(String),
}

/// A new token: 256 bits of the machine's random source.
///
/// # Errors
/// [`TokenError::Random`].
pub fn mint() -> Result<String, TokenError> {
    let mut bytes = [0u8; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| TokenError::Random(error.to_string()))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The lines of a file; empty ones and those that begin with `#` say nothing.
///
/// # Errors
/// [`TokenError::Line`] for the first wrong one, [`TokenError::TooMany`].
pub fn parse(text: &str) -> Result<Vec<Entry>, TokenError> {
    let mut entries: Vec<Entry> = Vec::new();
    for (i, written) in text.lines().map(str::trim).enumerate() {
        if written.is_empty() || written.starts_with('#') {
            continue;
        }
        let entry = entry(written).map_err(|what| TokenError::Line { line: i + 1, what })?;
        if entries.iter().any(|other| other.name == entry.name) {
            let what = format!("has the name {} again", entry.name);
            return Err(TokenError::Line { line: i + 1, what });
        }
        entries.push(entry);
    }
    if entries.len() > MAX_TOKENS {
        return Err(TokenError::TooMany);
    }
    Ok(entries)
}

fn entry(written: &str) -> Result<Entry, String> {
    let mut words = written.split_whitespace();
    let (Some(name), Some(role), Some(hash), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("does not have three words".to_owned());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    if name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(format!(
            "names somebody with other than 1 to {MAX_NAME} letters, digits, _-.@"
        ));
    }
    let digest = Digest::from_hex(hash).ok_or("has no SHA-256 of 64 hexadecimal digits")?;
    Ok(Entry { name: name.into(), role: role.parse()?, digest })
}

/// The entry of `token`. Every entry is compared, and each in constant time, so that how long it
/// takes says nothing about any of them.
pub fn find<'a>(entries: &'a [Entry], token: &str) -> Option<&'a Entry> {
    let shown = Digest::of(token.as_bytes());
    let long = Choice::from(u8::from(token.chars().count() >= LEAST_TOKEN));
    let mut place = u64::MAX;
    for (i, entry) in entries.iter().enumerate() {
        let same = entry.digest.0.ct_eq(&shown.0) & long;
        place.conditional_assign(&(i as u64), same);
    }
    entries.get(usize::try_from(place).ok()?)
}

/// What a file held when it was last looked at.
pub struct TokenFile {
    path: PathBuf,
    read: Mutex<Option<(Instant, Read)>>,
}

type Read = Result<Arc<[Entry]>, TokenError>;

impl TokenFile {
    pub fn new(path: &Path) -> Self {
        TokenFile { path: path.to_owned(), read: Mutex::new(None) }
    }

    /// The entries, at most [`LOOK`] old. A file that has become wrong lets nobody in: whoever has
    /// just taken a token out of it must not be mistaken about that.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn entries(&self, now: Instant) -> Read {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some((at, entries)) if now.saturating_duration_since(*at) < LOOK => entries.clone(),
            _ => {
                let entries = load(&self.path);
                if let Err(error) = &entries {
                    tracing::error!("nobody can look at the dashboard: {error}");
                }
                *read = Some((now, entries.clone()));
                entries
            }
        }
    }
}

fn load(path: &Path) -> Read {
    let unreadable = |what: String| TokenError::Unreadable { path: path.to_owned(), what };
    let failed = |error: std::io::Error| unreadable(error.to_string());
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_BYTES {
        return Err(unreadable(format!("{bytes} bytes, more than {MAX_BYTES}")));
    }
    parse(&std::fs::read_to_string(path).map_err(failed)?).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lines_are_named_and_no_hash_is_repeated() {
        let hash = Digest::of(b"x").to_string();
        let good = format!("# tokens\n\nana viewer {hash}\n  bo   admin {hash}\n");
        assert_eq!(parse(&good).expect("valid").len(), 2);
        let wrong = [
            (format!("ana {hash}"), "three words"),
            (format!("ana viewer {hash} x"), "three words"),
            (format!("ana king {hash}"), "viewer, clinician or admin"),
            (format!("a/b viewer {hash}"), "letters, digits"),
            ("ana viewer 12ab".to_owned(), "64 hexadecimal"),
            (format!("ana viewer {hash}\nana admin {hash}"), "again"),
        ];
        for (text, why) in wrong {
            let error = parse(&text).expect_err(why).to_string();
            assert!(error.contains(why) && error.contains("name role sha256"), "{error}");
            assert!(!error.contains(&hash), "{error}");
        }
        let many: String = (0..=MAX_TOKENS).map(|n| format!("u{n} viewer {hash}\n")).collect();
        assert_eq!(parse(&many), Err(TokenError::TooMany));
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, two) = (mint().expect("random"), mint().expect("random"));
        assert_eq!(one.len(), PREFIX.len() + 43);
        assert!(one != two && one.len() >= LEAST_TOKEN);
    }

    #[test]
    fn a_missing_file_says_how_to_make_one() {
        let error = TokenFile::new(Path::new("/no/such")).entries(Instant::now());
        assert!(error.expect_err("missing").to_string().contains("nowcxr token"));
    }
}

//! Who may see what: bearer tokens with a role, kept as hashes in a file.
//!
//! A token is 256 random bits, so its bare SHA-256 gives nothing away, and a visitor is found by
//! comparing hashes in constant time. The file is read anew while the program runs: a line taken
//! out of it ends that token's access within [`LOOK`], and the updates of open pages soon after.
//! Without a file the dashboard is open, and then for this machine only.

mod attempts;
mod role;
mod tokens;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use attempts::{MAX_ADDRESSES, MAX_FAILED, MINUTE};
pub use role::Role;
pub use tokens::{Entry, LEAST_TOKEN, LOOK, MAX_TOKENS, TokenError, mint, parse};

use attempts::Attempts;
use tokens::TokenFile;

use crate::ids::Digest;

/// Who looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    pub name: Arc<str>,
    pub role: Role,
    /// False where nobody needs a token.
    pub by_token: bool,
}

/// Why a visitor is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("a token is needed; sign in, or send it as Authorization: Bearer")]
    NoToken,
    #[error("no such token; ask whoever runs this service for one")]
    Unknown,
    #[error("too many wrong tokens from this address; try again in {} s", .0.as_secs().max(1))]
    TooMany(Duration),
    #[error("nobody can be let in: {0}")]
    Broken(TokenError),
}

/// How visitors are let in.
pub enum Access {
    /// Everybody on this machine may see everything.
    Open,
    Tokens(Gate),
}

/// The door of [`Access::Tokens`].
pub struct Gate {
    file: TokenFile,
    attempts: Attempts,
    /// Tokens that were right once. They pass although somebody else at the same address, such as
    /// a proxy's, tries wrong ones.
    proven: Mutex<BTreeSet<Digest>>,
}

impl Access {
    /// Tokens from `file`, which is read once now.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn tokens(file: &Path) -> Result<Self, TokenError> {
        let file = TokenFile::new(file);
        file.entries(Instant::now())?;
        let (attempts, proven) = (Attempts::default(), Mutex::default());
        Ok(Access::Tokens(Gate { file, attempts, proven }))
    }

    pub fn is_open(&self) -> bool {
        matches!(self, Access::Open)
    }

    /// Who shows `token` at `now`, having come from `peer`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit(
        &self,
        token: Option<&str>,
        peer: IpAddr,
        now: Instant,
    ) -> Result<Visitor, Refusal> {
        match self {
            Access::Open => {
                Ok(Visitor { name: "anyone".into(), role: Role::Admin, by_token: false })
            }
            Access::Tokens(gate) => gate.admit(token.ok_or(Refusal::NoToken)?, peer, now),
        }
    }

    /// Whether somebody who was let in would still be: asked for as long as a page is kept up to
    /// date.
    pub fn still_admits(&self, visitor: &Visitor, now: Instant) -> bool {
        match self {
            Access::Open => true,
            Access::Tokens(gate) => gate.file.entries(now).is_ok_and(|entries| {
                entries.iter().any(|one| one.name == visitor.name && one.role == visitor.role)
            }),
        }
    }
}

impl Gate {
    fn admit(&self, token: &str, peer: IpAddr, now: Instant) -> Result<Visitor, Refusal> {
        let entries = self.file.entries(now).map_err(Refusal::Broken)?;
        let found = tokens::find(&entries, token);
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        match (found, self.attempts.blocked(peer, now)) {
            (Some(entry), blocked) if blocked.is_none() || proven.contains(&entry.digest) => {
                // Hashes that have left the file are forgotten once there are many.
                if proven.len() >= MAX_TOKENS {
                    proven.clear();
                }
                proven.insert(entry.digest);
                Ok(Visitor { name: entry.name.clone(), role: entry.role, by_token: true })
            }
            (_, Some(wait)) => Err(Refusal::TooMany(wait)),
            (_, None) => {
                self.attempts.failed(peer, now);
                tracing::warn!(%peer, "a wrong token was shown to the dashboard");
                Err(Refusal::Unknown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn door(lines: &[(&str, Role, &str)]) -> (Access, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        for (name, role, token) in lines {
            writeln!(file, "{name} {role} {}", Digest::of(token.as_bytes())).expect("written");
        }
        (Access::tokens(file.path()).expect("valid"), file)
    }

    #[test]
    fn a_token_has_its_name_and_role_and_others_have_none() {
        let (ana, bo) = (mint().expect("random"), mint().expect("random"));
        let (access, _file) = door(&[("ana", Role::Viewer, &ana), ("bo", Role::Admin, &bo)]);
        let now = Instant::now();
        let visitor = access.admit(Some(&bo), HERE, now).expect("right");
        assert_eq!((&*visitor.name, visitor.role), ("bo", Role::Admin));
        assert_eq!(access.admit(Some(&ana), HERE, now).expect("right").role, Role::Viewer);
        assert!(matches!(access.admit(None, HERE, now), Err(Refusal::NoToken)));
        let wrong = mint().expect("random");
        assert!(matches!(access.admit(Some(&wrong), HERE, now), Err(Refusal::Unknown)));
        assert!(matches!(access.admit(Some(&ana[1..]), HERE, now), Err(Refusal::Unknown)));
    }

    #[test]
    fn a_password_is_no_token_even_if_its_hash_is_in_the_file() {
        let (access, _file) = door(&[("ana", Role::Viewer, "summer2026")]);
        let shown = access.admit(Some("summer2026"), HERE, Instant::now());
        assert!(matches!(shown, Err(Refusal::Unknown)), "{shown:?}");
    }

    #[test]
    fn wrong_tokens_close_the_door_for_a_minute_but_not_to_those_already_inside() {
        let (ana, bo) = (mint().expect("random"), mint().expect("random"));
        let (access, _file) = door(&[("ana", Role::Viewer, &ana), ("bo", Role::Viewer, &bo)]);
        let now = Instant::now();
        access.admit(Some(&ana), HERE, now).expect("right");
        for _ in 0..MAX_FAILED {
            assert!(matches!(access.admit(Some("wrong"), HERE, now), Err(Refusal::Unknown)));
        }
        assert!(matches!(access.admit(Some("wrong"), HERE, now), Err(Refusal::TooMany(_))));
        assert!(matches!(access.admit(Some(&bo), HERE, now), Err(Refusal::TooMany(_))));
        assert!(access.admit(Some(&ana), HERE, now).is_ok(), "ana was inside before");
        assert!(access.admit(Some(&bo), THERE, now).is_ok(), "another address is not blocked");
        let later = now + MINUTE;
        assert!(access.admit(Some(&bo), HERE, later).is_ok(), "the minute is over");
    }

    #[test]
    fn a_line_that_is_taken_out_or_broken_ends_access() {
        let ana = mint().expect("random");
        let (access, file) = door(&[("ana", Role::Viewer, &ana)]);
        let now = Instant::now();
        let visitor = access.admit(Some(&ana), HERE, now).expect("right");
        assert!(access.still_admits(&visitor, now + LOOK));
        std::fs::write(file.path(), "# nobody\n").expect("written");
        assert!(access.admit(Some(&ana), HERE, now + LOOK).is_ok(), "read once in LOOK");
        let later = now + LOOK * 2;
        let shown = access.admit(Some(&ana), HERE, later);
        assert!(!access.still_admits(&visitor, later));
        assert!(matches!(shown, Err(Refusal::Unknown)), "{shown:?}");
        std::fs::write(file.path(), "ana king 00\n").expect("written");
        let shown = access.admit(Some(&ana), HERE, later + LOOK).expect_err("broken");
        assert!(shown.to_string().contains("line 1"), "{shown}");
    }

    #[test]
    fn an_open_door_asks_nobody() {
        let visitor = Access::Open.admit(None, HERE, Instant::now()).expect("open");
        assert!(visitor.role == Role::Admin && !visitor.by_token);
    }
}

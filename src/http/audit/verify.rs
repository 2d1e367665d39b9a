//! Reads an audit log through and says whether its chain is whole.

use std::io::{self, BufRead, Read as _};

use serde::Serialize;

use super::{Line, MAX_LINE, START};
use crate::ids::Digest;

/// A whole chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub lines: u64,
    /// Lines that a crash or a full disk has cut off; nobody saw a page on their account.
    pub cut_off: u64,
    /// SHA-256 of the last line. Noted elsewhere, it shows later whether the file was written anew.
    pub head: String,
    /// Whether the head that was asked for is among the lines; none was asked for if `None`.
    pub holds_head: Option<bool>,
}

/// Where the chain is broken.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(
        "line {0} does not follow from the line before it: one was altered, taken out or put in"
    )]
    Chain(u64),
    #[error("line {0} is longer than any of ours")]
    TooLong(u64),
    #[error("the log cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Reads all lines; `noted` is a head that was noted earlier.
///
/// # Errors
/// [`Broken`].
pub fn verify(mut log: impl BufRead, noted: Option<Digest>) -> Result<Verified, Broken> {
    let (mut lines, mut cut_off) = (0, 0);
    let mut head = START;
    let mut holds = noted == Some(START);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = log.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        lines += 1;
        if line.pop_if(|last| *last == b'\n').is_none() && read > MAX_LINE {
            return Err(Broken::TooLong(lines));
        }
        match serde_json::from_slice::<Line>(&line) {
            Ok(said) if said.previous == head.to_string() => {}
            Ok(_) => return Err(Broken::Chain(lines)),
            // What follows it holds its hash, or nothing follows.
            Err(_) => cut_off += 1,
        }
        head = Digest::of(&line);
        holds |= noted == Some(head);
    }
    Ok(Verified { lines, cut_off, head: head.to_string(), holds_head: noted.map(|_| holds) })
}

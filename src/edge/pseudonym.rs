//! Keyed hashes in the place of identifiers.
//!
//! HMAC-SHA-256 under a secret of the site, cut to 128 bits. Numbers of patients have few digits:
//! without a key, a hash of one is found by trying them all. With it, the same number always has
//! the same pseudonym, and nobody without the secret can go back. Parts are hashed with their
//! lengths, so that no two lists of parts are one text.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::HashKey;
use crate::engine::resolve::{OperationId, PersonId, ResultId, VisitId};

/// Makes pseudonyms.
#[derive(Clone)]
pub struct Pseudonyms {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

impl Pseudonyms {
    pub fn new(secret: &HashKey) -> Self {
        // HMAC takes keys of any length: longer ones than a block are hashed first.
        let block = sha2_block(secret.bytes());
        Pseudonyms { keyed: Hmac::new(&block.into()) }
    }

    fn of(&self, kind: &str, parts: &[&str]) -> u128 {
        let mut mac = self.keyed.clone();
        for part in std::iter::once(&kind).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
    }

    /// A patient, by assigning authority and number.
    pub fn person(&self, authority: &str, number: &str) -> PersonId {
        PersonId(self.of("person", &[authority, number]))
    }

    /// A visit, by assigning authority and number.
    pub fn visit(&self, authority: &str, number: &str) -> VisitId {
        VisitId(self.of("visit", &[authority, number]))
    }

    /// What a result is about: sender, order, code and sub-id.
    pub fn result(&self, parts: &[&str]) -> ResultId {
        ResultId(self.of("result", parts))
    }

    /// A film, by its SOP Instance UID: the same whatever way it comes, and is taken back.
    pub fn film(&self, instance: &str) -> ResultId {
        self.result(&["dicom", instance])
    }

    /// One thing that was said: sender, control id, and place in the message.
    pub fn operation(&self, parts: &[&str]) -> OperationId {
        OperationId(self.of("operation", parts))
    }

    /// The same under the same secret, and nothing else.
    pub fn check(&self) -> u128 {
        self.of("check", &[])
    }

    /// A whole message: sender, control id and content.
    pub fn message(&self, parts: &[&str]) -> u128 {
        self.of("message", parts)
    }
}

/// The key as one block of SHA-256, as RFC 2104 makes it.
fn sha2_block(key: &[u8]) -> [u8; 64] {
    use sha2::Digest as _;
    let mut block = [0; 64];
    let hashed: [u8; 32];
    let short = if key.len() > block.len() {
        hashed = Sha256::digest(key).into();
        &hashed[..]
    } else {
        key
    };
    block.iter_mut().zip(short).for_each(|(to, from)| *to = *from);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonyms(secret: &str) -> Pseudonyms {
        Pseudonyms::new(&HashKey::new(secret).expect("long enough"))
    }

    #[test]
    fn it_is_hmac_sha_256() {
        // RFC 4231, test case 6 has a key of 131 bytes; ours are texts, so the same by hand.
        let key = "k".repeat(131);
        let short = pseudonyms(&key);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
        for part in ["person", "H", "42"] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let expected = mac.finalize().into_bytes();
        assert_eq!(short.person("H", "42").0.to_be_bytes(), expected[..16]);
    }

    #[test]
    fn every_part_and_the_secret_count() {
        let ours = pseudonyms("0123456789abcdef");
        assert_eq!(ours.person("H", "42"), ours.clone().person("H", "42"));
        assert_ne!(ours.person("H", "42").0, ours.visit("H", "42").0);
        assert_ne!(ours.person("H4", "2"), ours.person("H", "42"));
        assert_ne!(ours.person("H", "42"), pseudonyms("0123456789abcdeg").person("H", "42"));
        assert!(!format!("{ours:?}").contains("0123"));
    }
}

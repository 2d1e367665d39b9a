//! Keeps a decoder's panic from becoming ours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::undecodable;
use crate::event::Rejection;

/// Runs a decoder that we did not write. Its error and its panic both become `film_undecodable`.
///
/// Every decoder is given bytes and returns a fresh value, so nothing that it may have left half
/// done is seen again: that makes the assertion of unwind safety true.
pub(super) fn caught<T, E: std::fmt::Display>(
    what: &str,
    decoder: impl FnOnce() -> Result<T, E>,
) -> Result<T, Rejection> {
    match catch_unwind(AssertUnwindSafe(decoder)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(undecodable(format!("{what}: {error}"))),
        Err(_) => Err(undecodable(format!("{what}: the decoder panicked; keep the file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reason;

    #[test]
    fn a_panic_is_a_rejection() {
        let zero = std::hint::black_box(0usize);
        let got = caught("test", || Ok::<_, String>([1u8, 2][2 + zero]));
        assert_eq!(got.expect_err("it panicked").reason, Reason::FilmUndecodable);
        assert_eq!(caught("test", || Ok::<_, String>(1)), Ok(1));
    }
}

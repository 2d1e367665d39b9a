//! How often wrong tokens may be shown from one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens from one address in a [`MINUTE`]; after them it is not listened to.
pub const MAX_FAILED: u32 = 10;
/// Addresses remembered at once; of more, the one that failed first is forgotten.
pub const MAX_ADDRESSES: usize = 1_024;
/// Counted from an address's first wrong token.
pub const MINUTE: Duration = Duration::from_secs(60);

/// The wrong tokens of the last minute.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<BTreeMap<IpAddr, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Instant,
    n: u32,
}

impl Attempts {
    /// How long `peer` is not listened to; `None` if it is.
    pub fn blocked(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failures.get(&network(peer))?;
        let left = MINUTE.checked_sub(now.saturating_duration_since(failed.since))?;
        (failed.n >= MAX_FAILED && !left.is_zero()).then_some(left)
    }

    /// Takes note of a wrong token.
    pub fn failed(&self, peer: IpAddr, now: Instant) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, failed| now.saturating_duration_since(failed.since) < MINUTE);
        let peer = network(peer);
        if failures.len() >= MAX_ADDRESSES && !failures.contains_key(&peer) {
            let oldest = failures.iter().min_by_key(|(_, failed)| failed.since);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                failures.remove(&oldest);
            }
        }
        failures.entry(peer).or_insert(Failures { since: now, n: 0 }).n += 1;
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_address_and_their_number_is_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        for n in 0..MAX_FAILED {
            assert_eq!(attempts.blocked(v6(9), now), None);
            attempts.failed(v6(n as u16), now);
        }
        assert_eq!(attempts.blocked(v6(99), now), Some(MINUTE));
        assert_eq!(attempts.blocked(v6(99), now + MINUTE), None);
        for n in 0..MAX_ADDRESSES as u32 {
            attempts.failed(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), now);
        }
        assert_eq!(attempts.0.lock().expect("whole").len(), MAX_ADDRESSES);
    }
}

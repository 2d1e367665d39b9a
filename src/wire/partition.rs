//! Which partition a key belongs to: murmur2, as Kafka's Java clients have it (`Utils.murmur2`) and
//! librdkafka's `murmur2_random`. Whoever feeds by another partitioner tears a stay apart.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;
/// Java takes the sign away before it divides.
const POSITIVE: u32 = 0x7fff_ffff;

/// The partition of `key` where there are `partitions` of them, at least one.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & POSITIVE) % partitions.max(1)
}

fn murmur2(key: &[u8]) -> u32 {
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed = (mixed ^ (mixed >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    if !rest.is_empty() {
        let add = |sum: u32, (at, &byte): (usize, &u8)| sum | u32::from(byte) << (8 * at);
        hash = (hash ^ rest.iter().enumerate().fold(0, add)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's own tests of `Utils.murmur2`.
    #[test]
    fn it_is_the_java_clients_hash() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn every_partition_is_used_and_one_is_enough() {
        let of = |n: u32| partition_of(n.to_string().as_bytes(), 16);
        assert_eq!((0..500).map(of).collect::<std::collections::BTreeSet<_>>().len(), 16);
        assert_eq!(partition_of(b"anything", 1), 0);
    }
}

//! Which partitions a member keeps warm copies of.

use std::collections::BTreeSet;

/// Of `partitions`, `most` that are not `owned`: those that follow an owned one most closely, round
/// the circle of numbers; from 0 on where none is owned.
///
/// Members do not know of each other's choice. Each looks on from its own partitions, which no
/// other member has, so their choices differ, and where each keeps as many as the others own
/// together every partition has a copy.
pub(super) fn choose(owned: &BTreeSet<u32>, partitions: u32, most: u32) -> BTreeSet<u32> {
    let mut ranked = Vec::new();
    let mut distance = 0u64;
    // Once round to know how far the last owned one before 0 is, and once to rank.
    for is_ranking in [false, true] {
        for partition in 0..partitions {
            distance = if owned.contains(&partition) { 0 } else { distance + 1 };
            if is_ranking && distance > 0 {
                ranked.push((distance, partition));
            }
        }
    }
    ranked.sort_unstable();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    ranked.into_iter().take(most).map(|(_, partition)| partition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each partition how many of the members keep a copy.
    fn copies(members: &[BTreeSet<u32>], partitions: u32, most: u32) -> Vec<usize> {
        let chosen: Vec<_> = members.iter().map(|own| choose(own, partitions, most)).collect();
        (0..partitions).map(|p| chosen.iter().filter(|set| set.contains(&p)).count()).collect()
    }

    #[test]
    fn a_choice_is_bounded_and_never_an_owned_partition() {
        let owned = BTreeSet::from([1, 4, 5]);
        assert_eq!(choose(&owned, 8, 0), BTreeSet::new());
        assert_eq!(choose(&owned, 8, 2), BTreeSet::from([2, 6]));
        assert_eq!(choose(&owned, 8, 4), BTreeSet::from([2, 3, 6, 7]));
        assert_eq!(choose(&owned, 8, 99), BTreeSet::from([0, 2, 3, 6, 7]));
        assert_eq!(choose(&BTreeSet::new(), 8, 3), BTreeSet::from([0, 1, 2]));
        assert_eq!(choose(&(0..8).collect(), 8, 3), BTreeSet::new());
        assert_eq!(choose(&owned, 0, 3), BTreeSet::new());
    }

    #[test]
    fn every_partition_has_a_copy_somewhere_under_the_usual_assignments() {
        let dealt = |n: u32, m: u32| (0..n).filter(|p| p % 3 == m).collect::<BTreeSet<u32>>();
        let dealt: Vec<_> = (0..3).map(|m| dealt(16, m)).collect();
        let ranges = [(0..6).collect(), (6..11).collect(), (11..16).collect::<BTreeSet<u32>>()];
        for members in [&dealt[..], &ranges[..]] {
            assert!(copies(members, 16, 6).iter().all(|&n| n >= 1));
            // Two members see each other's everything.
            assert!(copies(members, 16, 11).iter().all(|&n| n == 2));
        }
    }
}

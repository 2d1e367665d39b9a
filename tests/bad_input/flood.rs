//! More than a stay may hold: what waits is bounded, and everyone is told.

use nowcxr::config::EngineConfig;
use nowcxr::ids::Topic;

use super::records::{NOBODY, clean, codec, minute, sent, vital};
use super::world::run_in_memory;

/// Facts that one stay may hold in this test.
const HELD: usize = 50;
const SENT: usize = 300;

#[test]
fn a_flood_for_nobody_is_held_up_to_the_bound_and_rejected_beyond() {
    let codec = codec();
    let config = EngineConfig { max_waiting: HELD, ..EngineConfig::default() };
    let (expected, _) = run_in_memory(&clean(&codec), config.clone());
    let mut records = clean(&codec);
    for n in 0..SENT {
        let mut event = vital(&format!("flood {n}"), 200);
        event.stay_id = NOBODY;
        records.push(sent(&codec, Topic::Vital, NOBODY, minute(200), &event));
    }
    let (got, offsets) = run_in_memory(&records, config);
    assert!(got.risks == expected.risks, "the flood reached another stay");
    let of = |reason: &str| got.letters.iter().filter(|l| l.reason == reason).count();
    assert_eq!(of("no_admission"), HELD);
    assert_eq!(of("too_many_waiting"), SENT - HELD);
    let mut positions: Vec<u64> = got.letters.iter().map(|letter| letter.offset as u64).collect();
    positions.sort_unstable();
    assert_eq!(positions, offsets[offsets.len() - SENT..]);
}

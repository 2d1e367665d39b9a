//! Good records with random bytes changed: whatever comes of them, each ends exactly once.

use nowcxr::config::EngineConfig;
use nowcxr::ids::Topic;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::records::{NOBODY, STAYS, admit};
use super::records::{Sent, clean, codec, film, lab, minute, sent, stay_event, vital};
use super::world::{n_marks, run_in_memory};

const SEED: u64 = 20_261_123;
const RECORDS: usize = 1_500;

#[test]
fn every_spoilt_record_ends_exactly_once() {
    println!("seed {SEED}");
    let codec = codec();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut records = clean(&codec);
    for n in 0..RECORDS {
        let at = rng.random_range(0..700);
        let id = format!("garbage {n}");
        let time = minute(at);
        let stay = STAYS[0];
        let mut spoilt = match n % 16 {
            0 => sent(&codec, Topic::Imaging, stay, time, &film(&id, at)),
            1..=5 => sent(&codec, Topic::Lab, stay, time, &lab(&id, at)),
            6 => sent(&codec, Topic::Stay, NOBODY, time, &stay_event(&id, NOBODY, at, admit(40))),
            _ => sent(&codec, Topic::Vital, stay, time, &vital(&id, at)),
        };
        spoil(&mut spoilt, &mut rng);
        records.push(spoilt);
    }
    let facts = records.len() as u64 - n_marks(&codec, &records);
    let (got, _) = run_in_memory(&records, EngineConfig::default());
    assert_eq!(got.fates(), facts);
    let rejected = got.fate("rejected");
    assert_eq!(got.letters.len() as u64, rejected);
    assert!(rejected > RECORDS as u64 / 4, "only {rejected} were bad enough to be rejected");
    let mut positions: Vec<_> = got.letters.iter().map(|l| (&l.topic, l.offset)).collect();
    positions.sort();
    positions.dedup();
    assert_eq!(positions.len(), got.letters.len(), "a record has two letters");
}

fn spoil(sent: &mut Sent, rng: &mut ChaCha8Rng) {
    let head = sent.value.len().min(120);
    for _ in 0..rng.random_range(1..4) {
        match rng.random_range(0..8) {
            0 => sent.value.truncate(rng.random_range(0..=sent.value.len())),
            1 => sent.key = None,
            2 => sent.value.extend([0x80; 9]),
            _ if head > 0 && sent.value.len() >= head => {
                let at = rng.random_range(0..head);
                sent.value[at] ^= 1 << rng.random_range(0..8);
            }
            _ => {}
        }
    }
}

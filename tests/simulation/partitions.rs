//! The same facts, sent in other ways: twice, in another order within what the marks allow, over
//! more partitions. The risk events are the same.

use nowcxr::event::risk::RiskEvent;
use nowcxr::ports::{Output, OutputKind};

use crate::cluster::{codec, play};
use crate::dice::Dice;
use crate::ward::{Logged, Size, Truth, Ward};
use crate::world::Faults;

const SEEDS: u64 = 6;
/// Segments that end before any stay expires: longer than that no record is remembered.
const SEGMENTS: usize = 36;
const DUPLICATES: f64 = 0.05;

fn short(seed: u64, partitions: u32) -> Ward {
    let mut ward = Ward::with_marks(seed, Size::FULL, partitions);
    ward.feeds.values_mut().for_each(|segments| segments.truncate(SEGMENTS));
    ward
}

/// What comes of a ward in which nothing goes wrong.
fn risks(seed: u64, ward: &Ward, partitions: u32) -> Vec<RiskEvent> {
    let played = play(seed, ward, partitions, Faults::default());
    let played = played.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    plain_risks(&played.outputs, ward)
}

/// What a consumer keeps, in an order of its own; scores are drawn anew by the simulated model.
pub fn plain_risks(outputs: &[Output], ward: &Ward) -> Vec<RiskEvent> {
    let codec = codec(&ward.config);
    let risks = outputs.iter().filter(|output| output.kind == OutputKind::Risk);
    let plain = |event: RiskEvent| {
        let mut event = RiskEvent { scores: None, ..event };
        // Says that a latent was generated, which belongs to the scores.
        event.validity.retain(|doubt| *doubt != nowcxr::event::risk::Doubt::GeneratedAtFloor);
        event
    };
    let mut risks: Vec<RiskEvent> =
        risks.map(|output| plain(codec.decode_risk(&output.payload).unwrap())).collect();
    risks.sort_by_key(|event| (event.stay, event.t, event.revision));
    risks
}

/// Some records again, in the same segment or one of the next.
fn duplicated(ward: &mut Ward, dice: &mut Dice) -> usize {
    let mut n = 0;
    for segments in ward.feeds.values_mut() {
        for index in 0..segments.len() {
            let is_fact = |logged: &&Logged| matches!(logged.truth, Truth::Fact(_));
            let copies: Vec<Logged> = segments[index]
                .iter()
                .filter(is_fact)
                .filter(|_| dice.chance(DUPLICATES))
                .cloned()
                .collect();
            n += copies.len();
            let to = (index + dice.below(4)).min(segments.len() - 1);
            segments[to].splice(0..0, copies);
        }
    }
    n
}

/// Every segment in another order, its marks last.
fn shuffled(ward: &mut Ward, dice: &mut Dice) {
    for segment in ward.feeds.values_mut().flatten() {
        dice.shuffle(segment);
        segment.sort_by_key(|logged| matches!(logged.truth, Truth::Mark(_)));
    }
}

#[test]
fn the_same_risk_events_whatever_is_sent_twice_reordered_or_spread_out() {
    let (mut n_events, mut n_copies) = (0, 0);
    println!("seeds 0..{SEEDS}");
    for seed in 0..SEEDS {
        let expected = risks(seed, &short(seed, 1), 1);
        n_events += expected.len();
        for partitions in [1, 2, 8] {
            let mut dice = Dice::new(seed, 5);
            let mut ward = short(seed, partitions);
            n_copies += duplicated(&mut ward, &mut dice);
            shuffled(&mut ward, &mut dice);
            let what = format!("seed {seed}, {partitions} partitions");
            assert!(risks(seed, &ward, partitions) == expected, "{what}, 5 % duplicates, shuffled");
            let mut ward = short(seed, partitions);
            for segments in ward.feeds.values_mut() {
                segments.extend(segments.clone());
            }
            assert!(risks(seed, &ward, partitions) == expected, "{what}, everything twice");
        }
    }
    println!("{n_events} events, {n_copies} copies of single records");
    assert!(n_events > 30 && n_copies > 20, "too little was compared");
}

//! One topic far ahead of the others: what waits for the watermark stays within its bound, and the
//! risk events are the same.

use std::time::Duration;

use nowcxr::config::EngineConfig;
use nowcxr::ids::{StayId, Topic};

use crate::cluster::{Played, play};
use crate::dice::Dice;
use crate::input::AHEAD_RECORDS;
use crate::partitions::plain_risks;
use crate::records::Sheet;
use crate::ward::Ward;
use crate::world::Faults;

const SEED: u64 = 1;
/// Labs every half hour for twelve hours, and a hundred times as many vitals.
const LABS: i64 = 24;
const VITALS_A_LAB: i64 = 100;
const MINUTES_A_LAB: i64 = 30;
const WAITING_MAX: usize = 200;
/// Longer than the machine may keep a task from its turn.
const PATIENCE: Duration = Duration::from_millis(500);

/// One stay, its monitor's topic, and a laboratory that may never speak.
fn ward(is_lab_silent: bool) -> Ward {
    let stay = StayId(1);
    let new = |topic, name: String| Sheet::new(topic, stay, format!("{stay}/{name}"));
    let mut sheets = vec![new(Topic::Stay, "in".into()).at(0, 0).admits(60)];
    for lab in 0..LABS {
        let at = lab * MINUTES_A_LAB;
        sheets.push(new(Topic::Lab, format!("lab{lab}")).at(at, at + 5).value(0, 90 + lab));
        for n in 0..VITALS_A_LAB {
            let at = at + n * MINUTES_A_LAB / VITALS_A_LAB;
            let sheet = new(Topic::Vital, format!("vital{lab}/{n}")).at(at, at + 1);
            sheets.push(sheet.value(0, 60 + n));
        }
    }
    let mut ward = Ward::of(EngineConfig::default(), &sheets, 1, &mut Dice::new(SEED, 1));
    if is_lab_silent {
        ward.feeds.insert((Topic::Lab, 0), Vec::new());
    }
    ward
}

/// All lies in the log, and the monitor's topic is read first wherever it may be.
fn played(ward: &Ward, waiting_max: Option<usize>, patience: Option<Duration>) -> Played {
    let faults = Faults { ahead: Some(Topic::Vital), waiting_max, patience, ..Faults::default() };
    play(SEED, ward, 1, faults).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn a_topic_far_ahead_waits_in_its_log_and_not_in_memory() {
    let ward = ward(false);
    let (free, bounded) = (played(&ward, None, None), played(&ward, Some(WAITING_MAX), None));
    let (events, expected) =
        (plain_risks(&bounded.outputs, &ward), plain_risks(&free.outputs, &ward));
    println!("{} events, {} facts waited, {} without", events.len(), bounded.peak, free.peak);
    assert!(events == expected && events.len() > 10);
    // What one fetch brings, and a half hour of those that are read on.
    assert!(bounded.peak <= WAITING_MAX + 2 * AHEAD_RECORDS, "{}", bounded.peak);
    assert!(free.peak > 2_000, "{}", free.peak);
}

#[test]
fn a_silent_feed_holds_nobody_up_for_ever() {
    let ward = ward(true);
    // It is passed over, and all goes on within the bound.
    let passed = played(&ward, Some(WAITING_MAX), Some(PATIENCE));
    assert!(passed.peak <= WAITING_MAX + 2 * AHEAD_RECORDS, "{}", passed.peak);
    assert!(plain_risks(&passed.outputs, &ward).len() > 10);
    // Where nobody passes it over, everything is read all the same, as it was told: the judge has
    // a fate for every record.
    let stands = played(&ward, Some(WAITING_MAX), None);
    assert!(stands.peak > 2_000 && plain_risks(&stands.outputs, &ward).is_empty());
}

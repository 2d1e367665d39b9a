//! A laboratory whose producer sends no marks: what its records' append times say of it.

use super::*;

const LATENESS: Span = Span::minutes(30);

/// The ward of `seed`, in which the laboratory never says how far it has got.
fn unmarked(seed: u64, lateness: Option<Span>) -> World {
    let world = World::of(seed);
    let is_mark = |r: &SourceRecord| r.key.is_none() && r.origin.topic == Topic::Lab;
    let records = world.records.iter().filter(|r| !is_mark(r)).cloned().collect();
    let mut config = EngineConfig::default();
    for feed in config.feeds.iter_mut().filter(|feed| feed.topic == Topic::Lab) {
        feed.lateness = lateness;
    }
    World { records: Rc::new(records), config, ..world }
}

fn n_risks(world: &World) -> usize {
    world.outputs.borrow().iter().filter(|output| output.kind == OutputKind::Risk).count()
}

/// The marks of the journal that hold like a feed's own.
fn marks(world: &World) -> Vec<JournalInput> {
    let codec = codec();
    let journal = world.journal.borrow();
    let inputs = journal.iter().map(|record| codec.decode_journal(&record.input).unwrap().1);
    inputs.filter(|input| matches!(input, JournalInput::Mark(_))).collect()
}

#[test]
fn a_feed_without_marks_closes_windows_and_its_journal_rebuilds_them() {
    println!("wards 0..{WARDS}, {LATENESS} lateness");
    let (mut n_events, mut n_marks) = (0, 0);
    for seed in 0..WARDS {
        let stuck = unmarked(seed, None);
        stuck.run().unwrap();
        assert_eq!(n_risks(&stuck), 0, "without a mark nothing closes");

        let world = unmarked(seed, Some(LATENESS));
        world.run().unwrap();
        let expected = world.payloads();
        n_events += n_risks(&world);
        n_marks += marks(&world).len();

        let (records, journal) = (world.records.clone(), world.journal.borrow().clone());
        // The same inputs alone, and with the journal on a machine that has nothing else. It must
        // not matter there that the lateness was changed since.
        for (journal, lateness, is_told) in
            [(Vec::new(), Some(LATENESS), false), (journal, None, true)]
        {
            let again = World {
                records: Rc::clone(&records),
                journal: Rc::new(RefCell::new(journal)),
                ..unmarked(seed, lateness)
            };
            again.run().unwrap();
            assert_eq!(again.payloads(), expected, "ward {seed}, with its journal: {is_told}");
            assert_eq!(again.n_asked.get() == 0, is_told);
        }
    }
    assert!(n_events > 100 && n_marks > 100, "{n_events} events, {n_marks} marks");
}

#[test]
fn a_crash_between_derived_marks_changes_nothing() {
    println!("wards 0..{WARDS}, crashes at {CRASHES_PER_WARD} calls of each");
    let mut n_crashes = 0;
    for seed in 0..WARDS {
        let calm = unmarked(seed, Some(LATENESS));
        calm.run().unwrap();
        let (expected, derived) = (calm.payloads(), marks(&calm));
        for crash in 0..CRASHES_PER_WARD {
            let world = unmarked(seed, Some(LATENESS));
            for fuse in [crash * 13 + seed, crash * 7 + 3] {
                *world.fuse.0.borrow_mut() = Some(fuse);
                n_crashes += u64::from(world.run().is_err());
            }
            *world.fuse.0.borrow_mut() = None;
            world.run().unwrap();
            assert_eq!(world.payloads(), expected, "ward {seed}, crash {crash}");
            assert_eq!(marks(&world), derived, "ward {seed}, crash {crash}");
        }
    }
    assert!(n_crashes > 300, "only {n_crashes} runs crashed");
}

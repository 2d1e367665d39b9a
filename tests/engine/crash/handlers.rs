//! A record that cannot be used ends the process where `[errors]` says so: before it is passed, so
//! that nothing is lost and nothing said twice when somebody has decided otherwise.

use nowcxr::config::RecordHandler::{DeadLetter, Fail};

use super::*;

/// The ward of `seed` with one record that is none, and where that lies.
fn spoilt(seed: u64, errors: ErrorHandlers) -> (World, Origin) {
    let world = World::of(seed);
    let mut records = world.records.to_vec();
    let keyed = records.iter().filter(|record| record.key.is_some()).count();
    let mut keyed = records.iter_mut().filter(|r| r.key.is_some()).skip(keyed / 2);
    let record = keyed.next().unwrap();
    record.value = Bytes::from_static(b"no record at all");
    let origin = record.origin;
    (World { records: Rc::new(records), errors, ..world }, origin)
}

fn handlers(deserialization: bool, processing: bool) -> ErrorHandlers {
    let handler = |fails| if fails { Fail } else { DeadLetter };
    let (deserialization, processing) = (handler(deserialization), handler(processing));
    ErrorHandlers { deserialization, processing, ..ErrorHandlers::default() }
}

/// Why the process ends.
fn stopped(world: &World) -> Option<String> {
    match world.run() {
        Ok(()) => None,
        Err(DriveError::Port(PortError::Stop(why))) => Some(why),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_cannot_be_used_ends_the_process_before_it_is_passed_if_that_is_said() {
    println!("wards 0..{WARDS}");
    let (mut n_processing, mut n_before) = (0, 0);
    for seed in 0..WARDS {
        let calm = spoilt(seed, handlers(false, false)).0;
        assert_eq!(stopped(&calm), None);
        let expected = calm.payloads();
        for (deserialization, processing) in [(true, false), (false, true), (true, true)] {
            let (world, origin) = spoilt(seed, handlers(deserialization, processing));
            let first = stopped(&world);
            // A restart meets the same record, having committed nothing of it.
            assert_eq!(stopped(&world), first, "ward {seed}");
            let said = first.unwrap_or_default();
            let of_processing = said.contains("errors.processing is fail");
            assert_eq!(deserialization || of_processing, !said.is_empty(), "ward {seed}: {said}");
            if said.contains("errors.deserialization is fail") {
                assert!(said.contains(&format!("{origin} cannot be used (undecodable")), "{said}");
            }
            n_processing += usize::from(of_processing);
            n_before += world.payloads().len();
            assert!(world.payloads().iter().all(|said| expected.contains(said)));
            let world = World { errors: handlers(false, false), ..world };
            assert_eq!(stopped(&world), None);
            assert_eq!(world.payloads(), expected, "ward {seed}, told to go on");
        }
    }
    assert!(n_processing > 3 && n_before > 20, "{n_processing} by processing, {n_before} before");
}

//! Whose stay is it: the resolver's course, told as it would be read from its topics.

use nowcxr::engine::resolve::{
    About, Act, Cancelled, Deed, Effect, Fate, Heard, MAX_HELD, Move, OperationId, PersonId,
    ResolveConfig, Resolver, ResultId, Status, Step, Units, VisitId, Word,
};
use nowcxr::event::{Disposition, Sex};
use nowcxr::ids::{FactId, StayId};
use nowcxr::time::{EventTime, Span};
use proptest::prelude::*;

const ABOUT: About = About { age_years: Some(63), sex: Some(Sex::Female) };
const V1: VisitId = VisitId(11);
const V2: VisitId = VisitId(22);

fn minute(n: i64) -> EventTime {
    EventTime::from_millis(1_772_352_000_000) + Span::minutes(n)
}

fn config() -> ResolveConfig {
    ResolveConfig {
        units: Units(vec!["MICU".into(), "SICU".into()]),
        lookback: Span::hours(24),
        grace: Span::hours(24),
        keep: Span::hours(96),
    }
}

/// A resolver, and everything it has said.
struct World {
    resolver: Resolver<i64>,
    operations: u64,
}

impl World {
    fn new() -> Self {
        World { resolver: Resolver::new(config()), operations: 0 }
    }

    /// One act at this minute; what it led to, a line each.
    fn act(&mut self, person: u128, at: i64, deed: Deed<i64>) -> Vec<String> {
        self.operations += 1;
        let n = self.operations;
        self.again(n, person, at, deed)
    }

    fn again(&mut self, n: u64, person: u128, at: i64, deed: Deed<i64>) -> Vec<String> {
        let heard = Heard { message: n, segment: 1 };
        let operation = OperationId(u128::from(n));
        let act = Act { heard, operation, person: PersonId(person), known_at: minute(at), deed };
        let mut effects = Vec::new();
        self.resolver.step(act, &mut effects);
        effects.iter().map(line).collect()
    }

    fn tick(&mut self, at: i64) -> Vec<String> {
        let mut effects = Vec::new();
        self.resolver.tick(minute(at), &mut effects);
        effects.iter().map(line).collect()
    }
}

fn name(stay: StayId) -> &'static str {
    let known = [(V1, 0, "1a"), (V1, 1, "1b"), (V2, 0, "2a"), (V2, 1, "2b")];
    known.iter().find(|(visit, n, _)| visit.stay(*n) == stay).map_or("?", |(_, _, name)| name)
}

fn line(effect: &Effect<i64>) -> String {
    match effect {
        Effect::Decided { fate, .. } => match fate {
            Fate::Rejected(rejection) => rejection.reason.code().to_owned(),
            other => format!("{other:?}").to_lowercase(),
        },
        Effect::Tell(told) => {
            let minutes = told.observed_at.since(minute(0)).as_millis() / 60_000;
            let word = match &told.word {
                Word::Admit(admission) => {
                    format!("admit {} {}", admission.age_years, admission.unit)
                }
                Word::Transfer { unit } => format!("transfer {unit}"),
                Word::Discharge { disposition } => format!("discharge {disposition:?}"),
                Word::Report { body, status, replaces } => {
                    let replaces = if replaces.is_some() { " replacing" } else { "" };
                    format!("{body} {status:?}{replaces}")
                }
                Word::Withdraw { body, .. } => format!("withdraw {body}"),
            };
            format!("{}@{minutes} {word}", name(told.stay))
        }
    }
}

fn arrive(visit: VisitId, at: i64, unit: &str) -> Deed<i64> {
    Deed::Arrive { visit, at: minute(at), unit: unit.into(), about: ABOUT }
}

fn leave(visit: VisitId, at: i64) -> Deed<i64> {
    Deed::Leave { visit, at: minute(at), disposition: Disposition::Alive, about: ABOUT }
}

fn report(visit: Option<VisitId>, result: u128, at: i64, status: Status, body: i64) -> Deed<i64> {
    let (result, observed_at) = (ResultId(result), minute(at));
    Deed::Report { visit, result, is_sole: false, observed_at, status, body }
}

fn result(visit: VisitId, result: u128, at: i64, body: i64) -> Deed<i64> {
    report(Some(visit), result, at, Status::Final, body)
}

#[test]
fn a_sole_result_is_corrected_by_any_later_version_and_a_series_is_not() {
    for (is_sole, said) in [(true, "1a@6 101 Corrected replacing"), (false, "1a@6 101 Final")] {
        let mut world = World::new();
        world.act(1, 1, arrive(V1, 1, "MICU"));
        let version = |at: i64, body: i64| {
            let (result, observed_at, status) = (ResultId(7), minute(at), Status::Final);
            Deed::Report { visit: Some(V1), result, is_sole, observed_at, status, body }
        };
        assert_eq!(world.act(1, 10, version(5, 100)), ["1a@5 100 Final", "told"]);
        assert_eq!(world.act(1, 20, version(6, 101)), [said, "told"]);
    }
}

fn course(moves: &[(i64, &str)]) -> Deed<i64> {
    let made = |(at, unit): &(i64, &str)| {
        let step = match *unit {
            "out" => Step::Out(Disposition::Alive),
            unit => Step::Into(unit.into()),
        };
        Move { at: minute(*at), step }
    };
    Deed::Course { visit: V1, moves: moves.iter().map(made).collect(), about: About::default() }
}

#[test]
fn a_course_is_told_as_a_whole_and_waits_for_age_and_sex() {
    let mut world = World::new();
    assert_eq!(world.act(1, 0, course(&[(0, "MICU")])), ["kept"]);
    let born = |age_years: u8| Deed::Know {
        about: About { age_years: Some(age_years), sex: Some(Sex::Female) },
    };
    assert_eq!(world.act(1, 1, born(63)), ["1a@0 admit 63 MICU", "told"]);
    assert_eq!(world.act(1, 2, born(64)), ["known"], "a birthday");
    assert_eq!(world.act(1, 3, born(53)), ["1a@0 admit 53 MICU", "told"], "a correction");
    assert_eq!(world.act(1, 60, course(&[(60, "SICU")])), ["1a@60 transfer SICU", "told"]);
    assert_eq!(world.act(1, 90, course(&[(90, "out")])), ["1a@90 discharge Alive", "told"]);
    assert_eq!(world.act(1, 91, course(&[(90, "out")])), ["known"]);
    // It goes on after all.
    let again = ["1b@0 admit 53 MICU", "1b@92 transfer SICU", "told"];
    assert_eq!(world.act(1, 92, course(&[(60, "SICU")])), again);
}

#[test]
fn a_stay_is_the_stretch_of_a_visit_in_an_icu() {
    let mut world = World::new();
    assert_eq!(world.act(1, 0, arrive(V1, 0, "ER")), ["kept"]);
    assert_eq!(world.act(1, 60, arrive(V1, 60, "MICU")), ["1a@60 admit 63 MICU", "told"]);
    assert_eq!(world.act(1, 61, result(V1, 7, 50, 104)), ["1a@50 104 Final", "told"]);
    assert_eq!(world.act(1, 90, arrive(V1, 90, "SICU")), ["1a@90 transfer SICU", "told"]);
    assert_eq!(world.act(1, 200, arrive(V1, 200, "WARD")), ["1a@200 discharge Alive", "told"]);
    // Within the grace the stay still gets what comes.
    assert_eq!(world.act(1, 230, result(V1, 8, 210, 99)), ["1a@210 99 Final", "told"]);
    assert_eq!(world.act(1, 300, leave(V1, 300)), ["kept"]);
}

#[test]
fn reports_wait_for_their_admission_and_not_for_ever() {
    let mut world = World::new();
    assert_eq!(world.act(1, 0, result(V1, 1, 0, 80)), ["kept"]);
    assert_eq!(world.act(1, 5, report(None, 2, 5, Status::Final, 81)), ["kept"]);
    assert_eq!(world.act(1, 5, result(V1, 3, -1_500, 70)), ["kept"], "too early for the stay");
    assert_eq!(
        world.act(1, 10, arrive(V1, 10, "MICU")),
        ["1a@10 admit 63 MICU", "1a@0 80 Final", "1a@5 81 Final", "told"]
    );
    assert!(world.tick(24 * 60 + 5).is_empty());
    assert_eq!(world.tick(24 * 60 + 6), ["no_admission"]);
    assert!(world.tick(24 * 60 + 7).is_empty(), "decided once");
}

#[test]
fn what_waits_is_bounded() {
    let mut world = World::new();
    for n in 0..MAX_HELD {
        let minute = i64::try_from(n / 50).unwrap();
        assert_eq!(world.act(1, 0, result(V1, n as u128, minute, 1)), ["kept"]);
    }
    assert_eq!(world.act(1, 0, result(V1, 1 << 90, 0, 1)), ["too_many_waiting"]);
}

#[test]
fn an_admission_waits_for_age_and_sex() {
    let mut world = World::new();
    let about = About { age_years: Some(63), sex: None };
    let unit = || "MICU".to_owned();
    let bare = Deed::Arrive { visit: V1, at: minute(0), unit: unit(), about };
    assert_eq!(world.act(1, 0, bare), ["kept"]);
    let sexed = About { age_years: None, sex: Some(Sex::Female) };
    let said = Deed::Describe { visit: V1, at: minute(9), unit: unit(), about: sexed };
    assert_eq!(world.act(1, 9, said.clone()), ["1a@0 admit 63 MICU", "told"]);
    assert_eq!(world.act(1, 9, said), ["known"]);
    let older = About { age_years: Some(64), sex: None };
    let said = Deed::Describe { visit: V1, at: minute(9), unit: unit(), about: older };
    assert_eq!(world.act(1, 12, said), ["1a@0 admit 64 MICU", "told"]);
    // A visit that began before we listened.
    let said = Deed::Describe { visit: V2, at: minute(20), unit: unit(), about: ABOUT };
    assert_eq!(world.act(2, 20, said), ["2a@20 admit 63 MICU", "told"]);
}

#[test]
fn versions_of_a_result_replace_each_other_and_never_backwards() {
    let mut world = World::new();
    world.act(1, 0, arrive(V1, 0, "MICU"));
    let version = |status, body| report(Some(V1), 7, 5, status, body);
    assert_eq!(
        world.act(1, 10, version(Status::Preliminary, 100)),
        ["1a@5 100 Preliminary", "told"]
    );
    assert_eq!(world.act(1, 11, version(Status::Final, 100)), ["known"], "the same value");
    assert_eq!(
        world.act(1, 12, version(Status::Final, 101)),
        ["1a@5 101 Corrected replacing", "told"]
    );
    assert_eq!(world.act(1, 11, version(Status::Final, 100)), ["outdated"]);
    assert_eq!(world.act(1, 13, version(Status::Confirmed, 0)), ["known"]);
    // A correction that moves the time still finds what it corrects.
    let moved = report(Some(V1), 7, 4, Status::Corrected, 102);
    assert_eq!(world.act(1, 20, moved), ["1a@4 102 Corrected replacing", "told"]);
    let gone = report(Some(V1), 7, 4, Status::Withdrawn, 0);
    assert_eq!(world.act(1, 30, gone.clone()), ["1a@4 withdraw 102", "told"]);
    assert_eq!(world.act(1, 31, gone), ["unknown_fact"]);
    // A correction whose original never came is the first that the stay hears.
    let only = report(Some(V1), 9, 6, Status::Corrected, 50);
    assert_eq!(world.act(1, 40, only), ["1a@6 50 Final", "told"]);
}

#[test]
fn a_result_of_the_wrong_patient_is_taken_back_and_told_to_the_right_one() {
    let mut world = World::new();
    world.act(1, 0, arrive(V1, 0, "MICU"));
    world.act(2, 0, arrive(V2, 0, "MICU"));
    assert_eq!(world.act(1, 5, result(V1, 7, 3, 400)), ["1a@3 400 Final", "told"]);
    let wrong = report(Some(V1), 7, 3, Status::Withdrawn, 0);
    assert_eq!(world.act(1, 9, wrong), ["1a@3 withdraw 400", "told"]);
    assert_eq!(world.act(2, 9, result(V2, 7, 3, 400)), ["2a@3 400 Final", "told"]);
}

#[test]
fn a_correction_of_what_waits_takes_its_place() {
    let mut world = World::new();
    assert_eq!(world.act(1, 0, result(V1, 7, 0, 100)), ["kept"]);
    let corrected = report(Some(V1), 7, 0, Status::Corrected, 101);
    assert_eq!(world.act(1, 1, corrected), ["kept"]);
    let gone = report(Some(V1), 8, 0, Status::Withdrawn, 0);
    world.act(1, 1, result(V1, 8, 0, 5));
    assert_eq!(world.act(1, 2, gone), ["kept"]);
    let admitted = world.act(1, 5, arrive(V1, 5, "MICU"));
    assert_eq!(admitted, ["1a@5 admit 63 MICU", "1a@0 101 Final", "told"]);
}

#[test]
fn a_cancelled_discharge_begins_a_stay_that_knows_what_the_first_knew() {
    let mut world = World::new();
    world.act(1, 0, arrive(V1, 0, "MICU"));
    world.act(1, 5, result(V1, 7, 3, 104));
    assert_eq!(world.act(1, 60, leave(V1, 60)), ["1a@60 discharge Alive", "told"]);
    let cancel = Deed::Cancel { visit: V1, what: Cancelled::Discharge };
    assert_eq!(world.act(1, 70, cancel.clone()), ["1b@0 admit 63 MICU", "1b@3 104 Final", "told"]);
    assert_eq!(world.act(1, 71, cancel), ["unknown_fact"]);
    // Corrections go to the stay that goes on.
    let corrected = report(Some(V1), 7, 3, Status::Corrected, 105);
    assert_eq!(world.act(1, 80, corrected), ["1b@3 105 Corrected replacing", "told"]);
    let gone = Deed::Cancel { visit: V1, what: Cancelled::Admission };
    assert_eq!(world.act(1, 90, gone), ["1b@90 discharge Alive", "told"]);
}

#[test]
fn a_transfer_that_never_was_is_undone() {
    let mut world = World::new();
    world.act(1, 0, arrive(V1, 0, "MICU"));
    world.act(1, 60, arrive(V1, 60, "SICU"));
    let cancel = Deed::Cancel { visit: V1, what: Cancelled::Transfer };
    assert_eq!(world.act(1, 70, cancel), ["1a@0 transfer MICU", "told"]);
}

#[test]
fn a_merged_number_leads_to_the_surviving_patient() {
    let mut world = World::new();
    // Unidentified in the emergency room, a report without a visit.
    assert_eq!(world.act(9, 0, report(None, 7, 0, Status::Final, 60)), ["kept"]);
    world.act(1, 5, arrive(V1, 5, "MICU"));
    let merge = Deed::Merge { prior: PersonId(9), visits: None };
    assert_eq!(world.act(1, 10, merge.clone()), ["1a@0 60 Final", "told"]);
    assert_eq!(world.act(1, 11, merge), ["known"]);
    // A delayed message still has the old number; so has a further merge.
    assert_eq!(world.act(9, 12, result(V1, 8, 6, 61)), ["1a@6 61 Final", "told"]);
    assert_eq!(world.act(5, 13, Deed::Merge { prior: PersonId(9), visits: None }), ["kept"]);
    assert_eq!(world.act(1, 14, result(V1, 9, 7, 62)), ["1a@7 62 Final", "told"]);
    assert_eq!(world.resolver.n_people(), 1);
}

#[test]
fn a_number_known_elsewhere_leads_to_its_patient_and_is_nobody_elses() {
    let mut world = World::new();
    let number = Deed::Number { number: PersonId(9) };
    assert_eq!(world.act(9, 0, report(None, 7, 0, Status::Final, 60)), ["kept"]);
    world.act(1, 5, arrive(V1, 5, "MICU"));
    assert_eq!(world.act(1, 10, number.clone()), ["1a@0 60 Final", "told"]);
    assert_eq!(world.act(1, 11, number.clone()), ["known"]);
    assert_eq!(
        world.act(9, 12, report(None, 8, 12, Status::Final, 61)),
        ["1a@12 61 Final", "told"]
    );
    // Another patient with the same number is not made the same by it.
    world.act(2, 13, arrive(V2, 13, "SICU"));
    assert_eq!(world.act(2, 14, number.clone()), ["identity_dispute"]);
    assert_eq!(
        world.act(9, 15, report(None, 8, 15, Status::Final, 62)),
        ["1a@15 62 Final", "told"]
    );
    // Unless they are said to be one.
    world.act(1, 16, Deed::Merge { prior: PersonId(2), visits: None });
    assert_eq!(world.act(2, 17, number), ["known"]);
}

#[test]
fn a_visit_of_another_patient_is_a_dispute() {
    let mut world = World::new();
    world.act(1, 0, arrive(V1, 0, "MICU"));
    assert_eq!(world.act(2, 5, result(V1, 7, 3, 400)), ["identity_dispute"]);
    assert_eq!(world.act(2, 5, leave(V1, 5)), ["identity_dispute"]);
    world.act(1, 6, Deed::Merge { prior: PersonId(2), visits: None });
    assert_eq!(world.act(2, 7, result(V1, 7, 3, 400)), ["1a@3 400 Final", "told"]);
}

#[test]
fn merged_visits_with_a_stay_each_end_as_one_stay_under_one_operation() {
    let mut world = World::new();
    world.act(1, 0, arrive(V1, 0, "MICU"));
    world.act(2, 0, arrive(V2, 0, "MICU"));
    world.act(2, 5, result(V2, 7, 3, 104));
    let merge = Deed::Merge { prior: PersonId(2), visits: Some((V2, V1)) };
    assert_eq!(
        world.act(1, 10, merge.clone()),
        ["2a@3 withdraw 104", "1a@3 104 Final", "2a@10 discharge Alive", "told"]
    );
    assert_eq!(world.act(1, 11, merge), ["known"]);
    // What still quotes the old patient and visit belongs to the surviving ones.
    assert_eq!(world.act(2, 12, result(V2, 8, 9, 105)), ["1a@9 105 Final", "told"]);
}

#[test]
fn merged_visits_of_which_one_has_a_stay_keep_it() {
    let mut world = World::new();
    world.act(2, 0, arrive(V2, 0, "MICU"));
    world.act(2, 5, result(V2, 7, 3, 104));
    world.act(1, 6, result(V1, 8, 4, 105));
    let merge = Deed::Merge { prior: PersonId(2), visits: Some((V2, V1)) };
    assert_eq!(world.act(1, 10, merge), ["2a@4 105 Final", "told"]);
    assert_eq!(world.act(1, 20, leave(V1, 20)), ["2a@20 discharge Alive", "told"]);
}

#[test]
fn state_that_was_stored_goes_on_where_it_was() {
    let mut world = World::new();
    world.act(9, 0, report(None, 7, 0, Status::Final, 60));
    world.act(1, 5, arrive(V1, 5, "MICU"));
    world.act(1, 10, Deed::Merge { prior: PersonId(9), visits: None });
    let changes = world.resolver.take_changes();
    let mut stored: Vec<_> = changes.people.into_iter().filter_map(|(_, p)| p.cloned()).collect();
    let aliases: Vec<_> =
        changes.aliases.into_iter().filter_map(|(from, to)| Some((from, to?))).collect();
    for (person, hour, reports) in changes.hours {
        let of = stored.iter_mut().find(|p| p.id == person);
        if let (Some(person), Some(reports)) = (of, reports) {
            person.restore_hour(hour, reports.clone());
        }
    }
    let mut other = World { resolver: Resolver::new(config()), operations: 100 };
    other.resolver.restore(stored, aliases);
    for world in [&mut world, &mut other] {
        world.operations = 100;
        let corrected = report(None, 7, 0, Status::Corrected, 61);
        assert_eq!(world.act(9, 20, corrected), ["1a@0 61 Corrected replacing", "told"]);
        assert_eq!(world.act(2, 20, result(V1, 8, 9, 1)), ["identity_dispute"]);
    }
}

fn deed() -> impl Strategy<Value = Deed<i64>> {
    let visit = || prop_oneof![Just(V1), Just(V2)];
    let unit = || prop_oneof![Just("MICU"), Just("WARD")];
    let what = prop_oneof![
        Just(Cancelled::Admission),
        Just(Cancelled::Transfer),
        Just(Cancelled::Discharge)
    ];
    let status = prop_oneof![
        Just(Status::Preliminary),
        Just(Status::Final),
        Just(Status::Corrected),
        Just(Status::Withdrawn)
    ];
    let moves = (visit(), 0i64..200, unit()).prop_map(|(v, at, unit)| arrive(v, at, unit));
    let reports = (prop::option::of(visit()), 0u128..3, 0i64..200, status, 0i64..3)
        .prop_map(|(v, r, at, status, body)| report(v, r, at, status, body));
    let merges = (1u128..4, prop::option::of(Just((V2, V1))))
        .prop_map(|(prior, visits)| Deed::Merge { prior: PersonId(prior), visits });
    prop_oneof![
        4 => moves,
        2 => (visit(), 0i64..200).prop_map(|(v, at)| leave(v, at)),
        1 => (visit(), what).prop_map(|(visit, what)| Deed::Cancel { visit, what }),
        6 => reports,
        1 => merges,
        1 => (1u128..4).prop_map(|number| Deed::Number { number: PersonId(number) }),
    ]
}

proptest! {
    /// What stays were told is consistent whatever comes: they begin once, replaced and withdrawn
    /// facts are facts of that stay which hold, and no id is told twice.
    #[test]
    fn stays_hear_a_consistent_story(acts in prop::collection::vec((1u128..4, deed()), 1..60)) {
        let mut resolver = Resolver::new(config());
        let mut effects = Vec::new();
        for (n, (person, deed)) in acts.into_iter().enumerate() {
            let n = n as u64;
            let known_at = minute(200 + n as i64);
            let heard = Heard { message: n, segment: 1 };
            let (person, operation) = (PersonId(person), OperationId(u128::from(n)));
            let before = effects.len();
            resolver.step(Act { heard, operation, person, known_at, deed }, &mut effects);
            let own = |effect: &&Effect<i64>| {
                matches!(effect, Effect::Decided { heard: of, .. } if *of == heard)
            };
            prop_assert_eq!(effects[before..].iter().filter(own).count(), 1);
        }
        let mut holding: Vec<(StayId, FactId)> = Vec::new();
        let mut seen: Vec<FactId> = Vec::new();
        let mut open: Vec<StayId> = Vec::new();
        for effect in &effects {
            let Effect::Tell(told) = effect else { continue };
            prop_assert!(!seen.contains(&told.id), "told twice: {:?}", told);
            seen.push(told.id);
            let mut drop_fact = |fact: FactId| {
                let at = holding.iter().position(|held| *held == (told.stay, fact));
                at.map(|at| holding.remove(at)).is_some()
            };
            match &told.word {
                Word::Admit(_) if !open.contains(&told.stay) => open.push(told.stay),
                Word::Report { replaces, .. } => {
                    prop_assert!(replaces.is_none_or(&mut drop_fact));
                    holding.push((told.stay, told.id));
                }
                Word::Withdraw { fact, .. } => prop_assert!(drop_fact(*fact)),
                _ => {}
            }
            prop_assert!(open.contains(&told.stay), "before its admission: {:?}", told);
        }
    }
}

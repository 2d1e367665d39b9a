//! Which stay a row belongs to, and how a stay ends.

use super::*;
use crate::event::Sex;

fn hours(h: i64) -> EventTime {
    EventTime::from_millis(0) + Span::hours(h)
}

fn stay(id: u64, from: i64, to: i64) -> Stay {
    Stay {
        id: StayId(id),
        subject: 1,
        hadm: 5,
        intime: hours(from),
        outtime: hours(to),
        admission: Admission { age_years: 60, sex: Sex::Female, unit: "MICU".into() },
        disposition: Disposition::Alive,
        ends_at: hours(to),
        died_in_hospital: false,
        label_at: hours(to),
        row: 2,
        chosen: true,
    }
}

fn stays(list: Vec<Stay>) -> Stays {
    Stays::new(list, Span::hours(24), Span::hours(24))
}

#[test]
fn a_row_belongs_to_the_stay_under_way_then_the_next_then_the_last() {
    let stays = stays(vec![stay(11, 100, 150), stay(10, 0, 90), stay(12, 140, 160)]);
    let link = |h| match stays.link_subject(1, hours(h)) {
        Link::Stay(index) => stays.all()[index].id.0,
        _ => 0,
    };
    assert_eq!(link(-24), 10);
    assert_eq!(link(-25), 0);
    assert_eq!(link(90), 10, "outtime belongs to the stay");
    assert_eq!(link(91), 11, "history of the next stay, though just after the last");
    assert_eq!(link(145), 12, "overlapping stays: the latest admitted");
    assert_eq!(link(184), 12);
    assert_eq!(link(185), 0);
    assert_eq!(stays.link_subject(2, hours(50)), Link::OutOfScope);
}

#[test]
fn a_named_stay_is_kept_inside_its_span_only() {
    let mut stays = stays(vec![stay(10, 0, 90), stay(11, 100, 150)]);
    assert_eq!(stays.link_id(10, hours(114)), Link::Stay(0), "the row names it");
    assert_eq!(stays.link_id(10, hours(115)), Link::OutOfScope);
    assert_eq!(stays.link_id(10, hours(24 * 365)), Link::OutOfScope, "a year off");
    assert_eq!(stays.link_id(99, hours(1)), Link::OutOfScope);
    stays.choose(|stay| stay.id.0 == 11);
    assert_eq!(stays.link_id(10, hours(1)), Link::NotInCohort);
    assert_eq!(stays.link_subject(1, hours(1)), Link::NotInCohort);
}

fn hospital(death: Option<i64>, discharged: i64, expired: bool) -> HospitalStay {
    let (admitted, discharged) = (Some(hours(-10)), Some(hours(discharged)));
    HospitalStay { admitted, discharged, death: death.map(hours), expired }
}

fn joined(hospital: HospitalStay) -> Stay {
    let patient = Patient { sex: Some(Sex::Male), age: Some(91), dod: None };
    let patients = BTreeMap::from([(1, patient)]);
    let admissions = BTreeMap::from([(5, hospital)]);
    let (intime, outtime) = (hours(0), hours(48));
    let row =
        IcuRow { subject: 1, hadm: 5, id: StayId(7), intime, outtime, unit: "SICU".into(), row: 2 };
    row.join(&patients, &admissions).unwrap()
}

#[test]
fn death_ends_the_stay_it_falls_into() {
    let died = joined(hospital(Some(40), 40, true));
    assert_eq!((died.disposition, died.ends_at), (Disposition::Died, hours(40)));
    assert!(died.died_in_hospital);
    let on_the_ward = joined(hospital(Some(72), 72, true));
    assert_eq!((on_the_ward.disposition, on_the_ward.ends_at), (Disposition::Alive, hours(48)));
    assert!(on_the_ward.died_in_hospital && on_the_ward.label_at == hours(72));
    let no_deathtime = joined(hospital(None, 48, true));
    assert_eq!(no_deathtime.disposition, Disposition::Died);
    let alive = joined(hospital(None, 100, false));
    assert!(!alive.died_in_hospital && alive.disposition == Disposition::Alive);
}

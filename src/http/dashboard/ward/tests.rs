//! What the ward keeps, what it forgets, and what a past moment shows.

use super::*;
use crate::event::risk::Triggers;
use crate::http::dashboard::feed::FeedTopic;

fn risk(stay: u64, hour: i64, revision: u32, mortality: f32) -> RiskRecord {
    let text = include_str!("../../../../schemas/examples/risk.json");
    let mut risk: RiskRecord = serde_json::from_str(text).expect("example");
    risk.stay_id = StayId(stay);
    risk.t = EventTime::from_millis(hour * 3_600_000);
    risk.known_at = risk.t.saturating_add(Span::minutes(i64::from(revision) * 90));
    risk.revision = revision;
    risk.triggers = Triggers::default();
    risk.status = RiskStatus::Scored;
    risk.stay_end = None;
    if let Some(scores) = &mut risk.scores {
        scores.mortality = mortality;
    }
    risk
}

fn place(offset: u64) -> Place {
    Place { topic: FeedTopic::Risk, partition: 0, offset }
}

fn told(ward: &mut Ward, risk: RiskRecord) {
    ward.take(place(0), News::Risk(Box::new(risk)));
}

#[test]
fn a_past_moment_shows_only_what_was_known_then() {
    let mut ward = Ward::default();
    for record in [risk(1, 10, 0, 0.2), risk(1, 10, 1, 0.4), risk(1, 11, 0, 0.3)] {
        told(&mut ward, record);
    }
    let stay = ward.stay(StayId(1)).expect("told");
    let at = |hour: i64| Some(EventTime::from_millis(hour * 3_600_000));
    let risks = |at: Option<EventTime>| {
        stay.known(at).iter().map(|m| m.mortality.unwrap_or(-1.0)).collect::<Vec<_>>()
    };
    assert!(risks(at(9)).is_empty());
    assert_eq!(risks(at(11)), [0.2, 0.3]);
    assert_eq!(risks(at(12)), [0.4, 0.3], "the correction of 11:30 is known by 12:00");
    assert_eq!(risks(None), [0.4, 0.3]);
}

#[test]
fn an_alert_is_shown_by_its_highest_revision_known_at_that_moment() {
    let text = include_str!("../../../../schemas/examples/alert.json");
    let example: crate::wire::AlertRecord = serde_json::from_str(text).expect("example");
    let alert = |revision: u32, minutes: i64| {
        let mut alert = example.clone();
        alert.stay_id = StayId(1);
        alert.revision = revision;
        alert.known_at = EventTime::from_millis(0) + Span::minutes(minutes);
        News::Alert(Box::new(alert))
    };
    for order in [vec![0, 1], vec![1, 0], vec![1, 0, 1, 0]] {
        let mut ward = Ward::default();
        for revision in order {
            ward.take(place(0), alert(revision, i64::from(revision) * 30));
        }
        let stay = ward.stay(StayId(1)).expect("told");
        let shown = |minutes: i64| -> Vec<u32> {
            let at = EventTime::from_millis(0) + Span::minutes(minutes);
            stay.alerts(Some(at)).iter().map(|note| note.revision).collect()
        };
        assert_eq!(
            (shown(-1), shown(0), shown(29), shown(30)),
            (vec![], vec![0], vec![0], vec![1])
        );
        assert_eq!(stay.alerts(None).len(), 1);
    }
}

#[test]
fn a_late_lower_revision_changes_nothing() {
    let mut ward = Ward::default();
    told(&mut ward, risk(1, 10, 1, 0.4));
    told(&mut ward, risk(1, 10, 0, 0.2));
    let known = ward.stay(StayId(1)).expect("told").known(None);
    assert_eq!(known.iter().map(|m| m.revision).collect::<Vec<_>>(), [1]);
}

#[test]
fn the_ward_is_bounded_in_stays_and_in_windows() {
    let mut ward = Ward::default();
    for hour in 0..MAX_MOMENTS as i64 + 50 {
        told(&mut ward, risk(1, hour, 0, 0.2));
    }
    assert_eq!(ward.stay(StayId(1)).expect("told").known(None).len(), MAX_MOMENTS);
    assert_eq!(ward.counts.dropped_moments, 50);
    for stay in 0..MAX_STAYS as u64 + 20 {
        told(&mut ward, risk(100 + stay, 2_000, 0, 0.2));
    }
    assert_eq!(ward.stays().count(), MAX_STAYS);
    assert_eq!(ward.counts.dropped_stays, 21);
    assert!(ward.stay(StayId(1)).is_none(), "the stay with the oldest news goes first");
}

#[test]
fn reasons_of_dead_letters_are_bounded() {
    let mut ward = Ward::default();
    for n in 0..MAX_REASONS + 30 {
        ward.dead_letter("lab".to_owned(), format!("reason {n}"));
    }
    assert_eq!(ward.counts.dead_letters.len(), MAX_REASONS + 1);
    let other = ("any".to_owned(), "other".to_owned());
    assert_eq!(ward.counts.dead_letters.get(&other), Some(&30));
}

#[test]
fn bands_are_half_open() {
    assert_eq!(
        [0.0999, 0.10, 0.2999, 0.30].map(Band::of),
        [Band::Low, Band::Raised, Band::Raised, Band::High]
    );
}

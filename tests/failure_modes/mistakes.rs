//! What was said and is taken back.

use nowcxr::ids::Topic;
use nowcxr::wire::RiskStatus;

use super::counters::Watch;
use super::hospital::{Hospital, Order, last_word, score};

fn glucose(value: u32, status: char) -> String {
    format!("NM|2345-7^Glucose^LN||{value}|mg/dL|||||{status}")
}

/// The version of one result that is reported at this minute.
fn version(hospital: &mut Hospital, reported: i64, value: u32, status: char) {
    let order = Order { drawn: 80, ..Order::new("O3", reported) };
    hospital.result(7, order, &[&glucose(value, status)]);
}

/// Patient 7 with a heart rate, and whatever else happens by half past three.
fn morning(happens: impl FnOnce(&mut Hospital)) -> Hospital {
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    let monitor = Order { section: "", ..Order::new("M1", 75) };
    hospital.result(7, monitor, &["NM|8867-4^HR^LN||88|/min|||||F"]);
    happens(&mut hospital);
    hospital.pass(210, 330);
    hospital
}

#[test]
fn f03_corrected_result() {
    let watch = Watch::start();
    let corrected = morning(|hospital| {
        version(hospital, 90, 300, 'F');
        hospital.pass(90, 180);
        version(hospital, 185, 130, 'C');
        // What is older than what is known changes nothing.
        let order = Order { drawn: 80, ..Order::new("O3", 100) };
        let text = hospital.oru(7, order, &[&glucose(310, 'F')]);
        assert_eq!(hospital.say(190, &text), "AA");
    });
    assert_eq!(corrected.letters(), ["outdated"]);
    assert_eq!(watch.rose("nowcxr_edge_rejected_total{reason=\"outdated\"}"), 1);
    let events = corrected.events();
    let later = "nowcxr_risk_events_total{revision=\"later\",status=\"scored\"}";
    assert_eq!(watch.rose(later), 1);
    let right = morning(|hospital| version(hospital, 90, 130, 'F')).events();
    // The window of three o'clock is made anew and names what it supersedes; that of two o'clock
    // stays as it was made.
    assert_eq!(last_word(&events, 120).revision, 0);
    let (first, second) = (&events[1], last_word(&events, 180));
    assert_eq!((second.revision, second.supersedes), (1, Some(first.event_id)));
    assert_ne!(score(&events, 120), score(&right, 120));
    for minute in [180, 240, 300] {
        assert_eq!(score(&events, minute), score(&right, minute), "{minute}");
    }
}

#[test]
fn f04_result_of_the_wrong_patient() {
    let watch = Watch::start();
    let wrong = morning(|hospital| {
        hospital.admit(61, 8);
        version(hospital, 90, 400, 'F');
        hospital.pass(90, 180);
        version(hospital, 185, 400, 'W');
        let order = Order { drawn: 80, ..Order::new("O3", 186) };
        hospital.result(8, order, &[&glucose(400, 'F')]);
    });
    let lab = wrong.facts(Topic::Lab);
    assert!(lab.len() == 3 && lab[1].contains("Retracted"), "{lab:?}");
    let never = morning(|_| {}).events();
    let before = watch.rose("nowcxr_risk_events_total{revision=\"later\",status=\"retracted\"}");
    let events = wrong.events();
    let retracted = "nowcxr_risk_events_total{revision=\"later\",status=\"retracted\"}";
    assert_eq!(watch.rose(retracted) - before, 1);
    let stay = never[0].stay_id;
    let of_7: Vec<_> = events.iter().filter(|event| event.stay_id == stay).cloned().collect();
    let (others, _): (Vec<_>, Vec<_>) = events.into_iter().partition(|e| e.stay_id != stay);
    // The older window is taken back, the newest made anew; then all is as if it never came.
    assert_eq!(last_word(&of_7, 120).status, RiskStatus::Retracted);
    assert_eq!(last_word(&of_7, 180).revision, 1);
    for minute in [180, 240, 300] {
        assert_eq!(score(&of_7, minute), score(&never, minute), "{minute}");
    }
    assert_eq!(last_word(&others, 241).series.n_facts, 1, "it is the other patient's");
}

//! What is said twice.

use nowcxr::ids::Topic;
use nowcxr::wire::RiskRecord;

use super::counters::Watch;
use super::hospital::{Hospital, Order, last_word, score};

const GLUCOSE: &str = "NM|2345-7^Glucose^LN||104|mg/dL|||||F";

#[test]
fn f01_exact_duplicate_message() {
    let watch = Watch::start();
    let morning = |times: usize| {
        let mut hospital = Hospital::new(&[]);
        hospital.admit(60, 7);
        let text = hospital.oru(7, Order::new("O1", 90), &[GLUCOSE]);
        for _ in 0..times {
            assert_eq!(hospital.say(90, &text), "AA");
        }
        (hospital, text)
    };
    let (mut once, _) = morning(1);
    let (mut often, text) = morning(20);
    assert_eq!(watch.rose("nowcxr_edge_messages_total{verdict=\"known\"}"), 19);
    // The same result in another message.
    assert_eq!(often.say(91, &text.replace("|C2|", "|X2|")), "AA");
    assert_eq!(watch.rose("nowcxr_edge_said_total{fate=\"known\"}"), 1);
    assert_eq!(often.facts(Topic::Lab).len(), 1);
    // The same record in its topic, as a crash between the topic and the answer leaves it.
    let partition = often.log.partition(Topic::Lab.name(), 0).unwrap();
    let mut reader = partition.reader(partition.start()).unwrap();
    let record = reader.read().unwrap().unwrap();
    often.append(Topic::Lab, record.key.as_deref(), &record.value, 92);
    once.pass(90, 300);
    often.pass(90, 300);
    let (expected, said) = (once.events(), often.events());
    assert_eq!(watch.rose("nowcxr_facts_duplicate_total{topic=\"lab\"}"), 1);
    assert!(expected.len() > 2 && said == expected);
}

#[test]
fn f02_semantic_duplicate() {
    let watch = Watch::start();
    // The laboratory's result, and copies of it at the bedside: when each was observed and told.
    let hospital = |more: &[&str], reported: Option<(i64, i64)>, copies: &[(i64, i64)]| {
        let mut hospital = Hospital::new(more);
        hospital.admit(60, 7);
        let mut told: Vec<(i64, i64, &str)> =
            copies.iter().map(|(drawn, at)| (*at, *drawn, "NRS")).collect();
        told.extend(reported.map(|(drawn, at)| (at, drawn, "LAB")));
        told.sort_unstable();
        for (reported, drawn, section) in told {
            let number = format!("{section}{drawn}");
            let order = Order { number: &number, drawn, reported, section };
            hospital.result(7, order, &[GLUCOSE]);
        }
        hospital.pass(210, 330);
        (hospital.facts(Topic::Vital).len(), hospital.letters().len(), hospital.events())
    };
    let lab = Some((80, 130));
    let (_, _, alone) = hospital(&[], lab, &[]);
    // One is charted before the laboratory reports, one behind it, and one is a value of its own.
    let (charted, letters, both) = hospital(&[], lab, &[(90, 91), (140, 141), (146, 147)]);
    assert_eq!((charted, letters), (3, 0));
    assert_eq!(watch.rose("nowcxr_facts_shadow_total{topic=\"vital\"}"), 1);
    assert_eq!(watch.rose("nowcxr_facts_overshadowed_total"), 1);
    assert_eq!(watch.rose("nowcxr_facts_used_total{topic=\"vital\"}"), 2);
    let n = |events: &[RiskRecord]| [120, 180, 240].map(|m| last_word(events, m).series.n_facts);
    assert_eq!((n(&alone), n(&both)), ([0, 1, 1], [1, 2, 2]));
    // Whichever comes first, the series is that of the laboratory's result and the last value.
    let (_, _, last_first) = hospital(&[], Some((80, 200)), &[(146, 147), (90, 91), (140, 141)]);
    let (_, _, without) = hospital(&[], lab, &[(146, 147)]);
    for minute in [240, 300] {
        assert_eq!(score(&both, minute), score(&without, minute));
        assert_eq!(score(&last_first, minute), score(&without, minute));
    }
    // Only from the laboratory is a result known to be one; and the rule can be turned off.
    let (_, _, bedside) = hospital(&[], None, &[(90, 91), (140, 141)]);
    let (_, _, off) = hospital(&["engine.shadow=0m"], lab, &[(90, 91), (140, 141)]);
    let (_, _, reference) = hospital(&["engine.profile=reference"], lab, &[(90, 91), (140, 141)]);
    assert_eq!((n(&bedside)[1], n(&off)[1], n(&reference)[1]), (2, 3, 3));
}

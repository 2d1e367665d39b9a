//! What is said twice.

use nowcxr::ids::Topic;

use super::counters::Watch;
use super::hospital::{Hospital, Order};

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

//! Another configuration on the same topics: refused, gone on with, or computed anew; reset and
//! rescored. None of it fires an alert for what was computed before.

use std::process::Output;
use std::time::{Duration, Instant};

use super::place::{LONG, Place, Reader, place, succeed};

/// So low that a small ward has alerts.
const ALERTING: [&str; 4] = ["--set", "alerts.tau_on=0.01", "--set", "engine.every=6h"];
/// The same but for what changes the digest.
const OTHER: [&str; 4] = ["--set", "alerts.tau_on=0.02", "--set", "engine.every=6h"];
const THIRD: [&str; 4] = ["--set", "alerts.tau_on=0.03", "--set", "engine.every=6h"];
const TO_IDLE: [&str; 2] = ["--until-idle", "3"];

fn run(place: &Place, node: &str, args: &[&str]) -> Output {
    place.nowcxr("run", node).args(TO_IDLE).args(args).output().unwrap()
}

/// Every record of an output topic.
fn told(place: &Place, topic: &str) -> Vec<Vec<u8>> {
    Reader::of(&place.broker, &format!("{}{topic}", place.prefix)).all()
}

fn alerts(place: &Place) -> usize {
    told(place, "alert").len()
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Tells the ward to Kafka or to a directory, at its own dates or from now on.
fn replay(place: &Place, to: &[&str], more: &[&str]) {
    let mut replay = place.nowcxr("replay", "unused");
    replay.args(["--mimic-iv", "ward/mimiciv", "--mimic-cxr", "ward/mimic-cxr-jpg"]);
    succeed(replay.args(to).args(more).output().unwrap());
}

#[test]
fn another_configuration_is_refused_gone_on_with_or_computed_anew_and_fires_no_alert() {
    let Some(place) = place("changeover", 3) else { return };
    replay(&place, &["--to", "kafka", "--anchor", "now"], &ALERTING);
    succeed(run(&place, "a", &ALERTING));
    let (n_alerts, n_risks) = (alerts(&place), told(&place, "risk").len());
    assert!(n_alerts > 0 && n_risks > 20, "{n_alerts} alerts, {n_risks} risk events");

    let refused = error_of(&run(&place, "a", &OTHER));
    assert!(refused.contains("--from-now") && refused.contains("--reprocess"), "{refused}");
    let went_on = run(&place, "a", &[&OTHER[..], &["--from-now"]].concat());
    let log = String::from_utf8_lossy(&went_on.stderr).into_owned();
    succeed(went_on);
    assert!(log.contains("goes on with the state of another"), "{log}");
    // Nothing was sealed since, and from here on the flag is not needed, on any node.
    assert_eq!((alerts(&place), told(&place, "risk").len()), (n_alerts, n_risks));
    succeed(run(&place, "b", &OTHER));
    assert_eq!((alerts(&place), told(&place, "risk").len()), (n_alerts, n_risks));

    // Everything anew, on a node with a copy of the state and on one without.
    succeed(run(&place, "a", &[&THIRD[..], &["--reprocess"]].concat()));
    assert_eq!(alerts(&place), n_alerts, "an alert of the past was fired");
    let anew = told(&place, "risk").len();
    assert_eq!(anew, 2 * n_risks, "the inputs were not all computed anew");
    succeed(run(&place, "b", &[&THIRD[..], &["--reprocess"]].concat()));
    assert_eq!(told(&place, "risk").len(), anew, "what is this configuration's is gone on with");

    // What comes later is alerted of again.
    replay(&place, &["--to", "kafka"], &THIRD);
    succeed(run(&place, "a", &THIRD));
    assert!(alerts(&place) > n_alerts, "alerts are still withheld");
}

#[test]
fn a_reset_refuses_members_and_ends_in_the_same_events_without_an_alert() {
    let Some(place) = place("reset", 2) else { return };
    replay(&place, &["--to", "kafka"], &ALERTING);
    let mut service = place.nowcxr("run", "a").args(ALERTING).spawn().unwrap();
    let started = Instant::now();
    let reset = |args: &[&str]| place.nowcxr("reset", "unused").args(args).output().unwrap();
    loop {
        let said = error_of(&reset(&[]));
        if said.contains("members") {
            break;
        }
        assert!(started.elapsed() < LONG, "{said}");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(super::stop(&mut service).success());
    succeed(run(&place, "a", &ALERTING));
    let (n_alerts, mut before) = (alerts(&place), told(&place, "risk"));
    assert!(n_alerts > 0);

    let unasked = error_of(&reset(&[]));
    assert!(unasked.contains("--yes"), "{unasked}");
    let emptied = succeed(reset(&["--yes", "--json"]));
    let values = |line: &str| -> u64 {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["emptied"].as_u64().unwrap()
    };
    assert!(emptied.lines().map(values).sum::<u64>() > 10, "{emptied}");
    assert_eq!(told(&place, "risk").len(), before.len());
    // Also under another configuration, and on a node whose copy knows nothing of it.
    succeed(run(&place, "a", &ALERTING));
    assert_eq!(alerts(&place), n_alerts, "an alert of the past was fired");
    let mut after = told(&place, "risk");
    assert_eq!(after.len(), 2 * before.len());
    before.extend(before.clone());
    before.sort();
    after.sort();
    assert!(before == after, "what was computed anew differs");
    succeed(reset(&["--yes"]));
    succeed(run(&place, "b", &OTHER));
    assert_eq!(alerts(&place), n_alerts, "an alert of the past was fired");
}

#[test]
fn rescoring_answers_the_same_windows_beside_everything_else() {
    let Some(place) = place("rescore", 2) else { return };
    replay(&place, &["--to", "kafka"], &ALERTING);
    replay(&place, &["--out", "local"], &ALERTING);
    succeed(run(&place, "a", &ALERTING));
    let (n_alerts, mut risks) = (alerts(&place), told(&place, "risk"));

    let model = place.model().display().to_string();
    let rescore = |args: &[&str]| {
        let mut rescore = place.nowcxr("rescore", "unused");
        let output = rescore.args(ALERTING).args(["--model", &model, "--json"]).args(args).output();
        serde_json::from_str::<serde_json::Value>(&succeed(output.unwrap())).unwrap()
    };
    // The same model under the same configuration says the same to the byte.
    let beside = format!("{}rescored", place.prefix);
    let summary = rescore(&["--topic", &beside, "--out", "all.jsonl"]);
    assert_eq!(summary["events"].as_u64(), Some(risks.len() as u64));
    let mut again = told(&place, "rescored");
    again.sort();
    risks.sort();
    assert!(again == risks, "{} rescored, {} risk events", again.len(), risks.len());
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // So it does from a local log, and of a stretch it says a part.
    rescore(&["--run", "local", "--out", "local.jsonl"]);
    let all = sorted(read("all.jsonl"));
    assert_eq!(sorted(read("local.jsonl")), all);
    let t = |line: &String| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["t"].as_str().unwrap().to_owned()
    };
    let mut times: Vec<String> = all.iter().map(t).collect();
    times.sort();
    let middle = times[times.len() / 2].get(..16).unwrap().to_owned();
    let later = rescore(&["--run", "local", "--from", &middle, "--out", "later.jsonl"]);
    let expected: Vec<String> =
        all.iter().filter(|line| t(line).as_str() >= middle.as_str()).cloned().collect();
    assert_eq!(sorted(read("later.jsonl")), expected);
    assert!(later["events"].as_u64().unwrap() < summary["events"].as_u64().unwrap());
    assert_eq!((alerts(&place), told(&place, "risk").len()), (n_alerts, risks.len()));
    let mut own = place.nowcxr("rescore", "unused");
    own.args(["--model", &model, "--topic", &format!("{}alert", place.prefix)]);
    let refused = error_of(&own.output().unwrap());
    assert!(refused.contains("name another"), "{refused}");
}

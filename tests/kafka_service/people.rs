//! People over a real broker: an act that is written by `nowcxr alerts` reaches the alert that it
//! names, and `nowcxr alerts follow` shows what holds, once.

use std::process::Command;

use nowcxr::config::EngineConfig;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::ports::OutputKind;
use nowcxr::time::Span;
use nowcxr::transport::local::{LocalLog, outputs};
use nowcxr::wire::{AlertRecord, Codec};
use serde_json::Value;

use crate::place::{Place, place, succeed};

/// The binary with a policy under which a small ward has alerts.
pub fn nowcxr(place: &Place, command: &str) -> Command {
    let mut nowcxr = place.nowcxr(command, "a");
    for setting in [
        "alerts.mode=interruptive",
        "alerts.tau_on=0.02",
        "alerts.persist=1",
        "alerts.min_hold=0m",
        "alerts.not_before=0m",
        "notify.group=ward",
    ] {
        nowcxr.args(["--set", setting]);
    }
    nowcxr
}

pub fn replay(place: &Place, to: &str) {
    let mut replay = nowcxr(place, "replay");
    replay.args(["--mimic-iv", "ward/mimiciv", "--mimic-cxr", "ward/mimic-cxr-jpg"]);
    succeed(replay.args(["--to", to, "--out", "local"]).output().unwrap());
}

pub fn local_alerts(place: &Place) -> Vec<AlertRecord> {
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    let codec = Codec::new(&EngineConfig::default().feeds, dictionary).unwrap();
    let log = LocalLog::open_read_only(place.path("local/log")).unwrap();
    let stored = outputs(&log, OutputKind::Alert, 0).unwrap();
    stored.map(|output| codec.decode(&output.unwrap().payload).unwrap()).collect()
}

/// What a consumer shows until nothing comes any more.
fn followed(place: &Place) -> Vec<Value> {
    let mut follow = nowcxr(place, "alerts");
    let shown = succeed(follow.args(["follow", "--json", "--until-idle", "8"]).output().unwrap());
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_a_person_does_reaches_the_alert_and_the_consumer_shows_what_holds_once() {
    let Some(place) = place("people", 4) else { return };
    replay(&place, "local");
    // Without people the alert stands for an hour at least: there is time to answer it.
    let alerts = local_alerts(&place);
    let lasting = |first: &&AlertRecord| {
        let ends = |other: &AlertRecord| {
            other.alert_id == first.alert_id && other.revision > 0 && !other.is_standing()
        };
        let end = alerts.iter().filter(|other| ends(other)).map(|other| other.known_at).min();
        let until = first.known_at + Span::HOUR;
        first.revision == 0 && first.mortality.is_some() && end.is_none_or(|end| end > until)
    };
    let alert = alerts.iter().find(lasting).expect("an alert that stands for an hour");
    let at = (alert.known_at + Span::minutes(7)).to_string();
    let stay = alert.stay_id.to_string();

    // The act lies in its topic before anything else does; it takes effect in its time.
    succeed(nowcxr(&place, "topics").arg("create").output().unwrap());
    let mut ack = nowcxr(&place, "alerts");
    ack.args(["ack", &stay, "--alert", &alert.alert_id.to_string()]);
    let written = succeed(ack.args(["--role", "physician", "--at", &at]).output().unwrap());
    assert!(written.contains(r#""deed":"acknowledge""#), "{written}");
    replay(&place, "kafka");
    succeed(nowcxr(&place, "run").args(["--until-idle", "3"]).output().unwrap());

    let shown = followed(&place);
    let of_alert = |line: &&Value| line["alert"]["alert_id"] == alert.alert_id.to_string();
    let ours: Vec<&Value> = shown.iter().filter(of_alert).collect();
    let acknowledged = ours.iter().find(|line| line["alert"]["state"] == "acknowledged");
    let acknowledged = acknowledged.unwrap_or_else(|| panic!("never acknowledged: {ours:?}"));
    assert_eq!(acknowledged["alert"]["known_at"], at);
    assert_eq!(acknowledged["alert"]["response_role"], "physician");
    let revisions: Vec<u64> =
        ours.iter().map(|line| line["alert"]["revision"].as_u64().unwrap()).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    assert!(followed(&place).is_empty(), "the positions were not kept");
}

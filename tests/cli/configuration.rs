//! What is wrong with a configuration is said at once, with its place, before anything is made.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use super::support::{Ran, Ward, ended, nowcxr, run};

fn demo(dir: &std::path::Path, more: &[&str]) -> Ran {
    let args: Vec<&str> =
        ["demo", "--patients", "1", "--out", "out"].iter().chain(more).copied().collect();
    run(dir, &args)
}

#[test]
fn a_typo_is_answered_with_the_key_that_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let said = demo(dir.path(), &["--set", "engine.evry=1h"]).expect(1).err;
    assert!(said.contains("engine.evry (--set) is unknown; did you mean engine.every?"), "{said}");
    let said = demo(dir.path(), &["--set", "colour.red=1"]).expect(1).err;
    assert!(said.contains("colour.red") && said.contains("the sections are"), "{said}");
    assert!(!dir.path().join("out").exists(), "the demo began under a wrong configuration");
}

#[test]
fn every_error_is_said_at_once_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = "[engine]\nevery = \"soon\"\nlate = \"maybe\"\n[store]\ncache_bytes = \"1 cup\"\n";
    std::fs::write(dir.path().join("nowcxr.toml"), wrong).unwrap();
    let args = ["demo", "--out", "out", "--set", "predict.batch=0"];
    let mut command = nowcxr(dir.path(), &args);
    command.env("NOWCXR_ENGINE__GRACE", "-3h");
    let said = super::support::ended(command).expect(1).err;
    assert!(said.contains("the configuration has 5 error(s)"), "{said}");
    for (key, place) in [
        ("engine.every", "nowcxr.toml"),
        ("engine.late", "nowcxr.toml"),
        ("store.cache_bytes", "nowcxr.toml"),
        ("engine.grace", "NOWCXR_ENGINE__GRACE"),
        ("predict.batch", "--set"),
    ] {
        let line = said.lines().find(|line| line.trim_start().starts_with(key));
        assert!(line.is_some_and(|line| line.contains(place)), "{key} in {place}:\n{said}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let said = demo(dir.path(), &["--config", "nowhere.toml"]).expect(1).err;
    assert!(said.contains("nowhere.toml") && said.contains("--config"), "{said}");
    std::fs::write(dir.path().join("broken.toml"), "[engine\n").unwrap();
    let said = demo(dir.path(), &["--config", "broken.toml"]).expect(1).err;
    assert!(said.contains("broken.toml") && said.contains("is not TOML"), "{said}");
}

#[test]
fn check_says_what_would_not_work_and_prints_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let reference = run(dir.path(), &["check", "--reference"]).expect(0).out;
    std::fs::write(dir.path().join("nowcxr.toml"), &reference).unwrap();
    let again = run(dir.path(), &["check", "--reference"]).expect(0).out;
    assert_eq!(again, reference);
    let said = run(dir.path(), &["check", "--set", "engine.evry=1h"]).expect(1).out;
    assert!(said.contains("engine.evry  (--set) is unknown; did you mean"), "{said}");
    let report = run(dir.path(), &["check", "--json", "--set", "predict.model=nowhere"]).expect(1);
    let report = report.json();
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().unwrap();
    let failed = |row: &&serde_json::Value| row["verdict"] == "fail";
    let failed: Vec<_> = checks.iter().filter(failed).collect();
    assert!(failed.iter().any(|row| row["found"].to_string().contains("nowhere")), "{failed:?}");
    assert!(failed.iter().all(|row| row["advice"] != ""), "{failed:?}");
}

#[test]
fn check_asks_the_archive_that_films_are_fetched_from() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("edge.wado=http://{}/rs", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (stream, status) in listener.incoming().flatten().zip(["404 Not Found", "403 No"]) {
            let mut head = String::new();
            let mut lines = BufReader::new(&stream);
            while lines.read_line(&mut head).unwrap() > 2 {}
            assert!(head.starts_with("GET /rs/studies/2.25.0/series/"), "{head}");
            let close = "Content-Length: 0\r\nConnection: close";
            write!(&stream, "HTTP/1.1 {status}\r\n{close}\r\n\r\n").unwrap();
        }
    });
    let found = |set: &[&str]| {
        let report = run(dir.path(), &[&["check", "--json", "--set"], set].concat()).json();
        let checks = report["checks"].as_array().unwrap();
        let row = checks.iter().find(|row| row["check"] == "edge.wado").unwrap();
        (row["verdict"].as_str().unwrap().to_owned(), row["found"].as_str().unwrap().to_owned())
    };
    assert_eq!(found(&[&base]).0, "ok");
    let (verdict, said) = found(&[&base]);
    assert!(
        verdict == "fail" && said.contains("403") && said.contains("edge.wado_token"),
        "{said}"
    );
    let (verdict, said) = found(&[&base, "--set", "edge.wado_token=@nowhere"]);
    assert!(verdict == "fail" && said.contains("cannot be read"), "{said}");
    assert_eq!(found(&["edge.wado=http://127.0.0.1:1"]).0, "fail");
}

/// A row that the engine would take is told, and one that it would not is not.
#[test]
fn the_span_of_a_stay_is_the_same_for_replay_and_engine() {
    let Some(ward) = Ward::new(1) else { return };
    let books = |out: &str, lookback: &str| -> serde_json::Value {
        ended(ward.replay(out, &["--set", lookback])).expect(0);
        let path = ward.path().join(out).join("reconciliation.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let (day, none) = (books("day", "engine.lookback=24h"), books("none", "engine.lookback=0s"));
    let outside = |books: &serde_json::Value| {
        let of = |table: &str| books["tables"][table]["out_of_scope"].as_u64().unwrap();
        of("lab_events") + of("chart_events")
    };
    assert!(outside(&none) > outside(&day), "{none}, {day}");
    for topic in ["lab", "vital"] {
        assert!(none["engine"][topic]["rejected"]["before_lookback"].is_null(), "{none}");
    }
}

#[test]
fn the_least_rights_are_printed_without_a_broker_and_only_the_feeder_may_touch_labels() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["topics", "acls", "--service", "User:svc", "--set", "kafka.prefix=icu."];
    let said = run(dir.path(), &args).expect(0).out;
    let of_labels: Vec<&str> = said.lines().filter(|l| l.contains("--topic icu.label")).collect();
    assert!(matches!(of_labels[..], [line] if line.contains("User:nowcxr-feeder")), "{said}");
    assert!(said.lines().all(|line| line.starts_with("--add --allow-principal User:")), "{said}");
    let task = "--transactional-id nowcxr- --resource-pattern-type prefixed";
    assert!(said.lines().any(|line| line.contains("User:svc") && line.ends_with(task)), "{said}");
    let json = run(dir.path(), &[&args[..], &["--json"]].concat()).expect(0).out;
    assert_eq!(json.lines().count(), said.lines().count());
}

/// Windows of a day, so that the runs are quick.
const DAILY: [&str; 2] = ["--set", "engine.every=24h"];

#[test]
fn availability_is_chosen_by_flag_file_and_environment_alike() {
    let Some(ward) = Ward::new(1) else { return };
    let told = |out: &str, more: &[&str], environment: &[(&str, &str)]| {
        let mut command = ward.replay(out, &[&DAILY[..], more].concat());
        command.envs(environment.iter().copied());
        ended(command)
    };
    let digest = |ran: Ran| ran.expect(0).json()["digest"].clone();
    let plain = digest(told("plain", &[], &[]));
    let flag = digest(told("flag", &["--cxr-lag", "3h", "--charts", "validated"], &[]));
    let keys = [("NOWCXR_REPLAY__CXR_LAG", "3h"), ("NOWCXR_REPLAY__CHARTS", "validated")];
    assert_eq!(digest(told("environment", &[], &keys)), flag);
    let file = "[replay]\ncxr_lag = \"3h\"\ncharts = \"validated\"\n";
    std::fs::write(ward.path().join("told.toml"), file).unwrap();
    assert_eq!(digest(told("file", &["--config", "told.toml"], &[])), flag);
    assert_ne!(plain, flag);
    let other = told("flag", &["--cxr-lag", "3h"], &[]).expect(1).err;
    assert!(other.contains("other flags or another [replay]"), "{other}");
    let early = told("early", &["--clock", "charttime"], &[]).expect(0).json();
    assert_ne!(early["digest"], plain);
    let says = early["provenance"].to_string();
    assert!(says.contains("would not have known them so early"), "{says}");
    let wrong = told("wrong", &["--lab-lag", "soon"], &[]).expect(1).err;
    assert!(wrong.contains("replay.lab_lag") && wrong.contains("is not a time"), "{wrong}");
    assert!(told("wrong", &["--clock", "sundial"], &[]).expect(2).err.contains("charttime"));
}

#[test]
fn an_anchored_replay_keeps_its_now_and_a_care_unit_chooses_stays() {
    let Some(ward) = Ward::new(1) else { return };
    let told = |out: &str, more: &[&str]| ended(ward.replay(out, &[&DAILY[..], more].concat()));
    let last = |summary: &serde_json::Value| summary["highest_risk"][0]["as_of"].to_string();
    let now = told("now", &["--anchor", "now"]).expect(0).json();
    assert!(last(&now).starts_with("\"20"), "{now}");
    assert_eq!(told("now", &["--anchor", "now"]).expect(0).json()["digest"], now["digest"]);
    let other = told("now", &["--anchor", "each"]).expect(1).err;
    assert!(other.contains("other flags"), "{other}");
    let each = told("each", &["--anchor", "each"]).expect(0).json();
    assert!(last(&each).starts_with("\"20"), "{each}");
    let original = told("original", &["--anchor", "original"]).expect(0).json();
    assert!(last(&original).starts_with("\"21"), "{original}");
    let none = told("none", &["--care-unit", "no such unit"]).expect(0).json();
    assert_eq!(none["stays"], 0, "{none}");
}

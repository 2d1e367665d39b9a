//! `demo` and `inspect`: the summary has every part, the files read back, the digest repeats.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nowcxr::event::alert::Subject;
use nowcxr::event::risk::{Mode, RiskEvent};
use nowcxr::wire::{AlertRecord, RiskRecord, risk_to_json};
use serde_json::Value;

use super::evaluate::the_evaluation_judges_films_and_samplers;
use super::support::{kill, model, nowcxr, run, start, wait};

const QUICK: &str = "engine.every=2h";
/// So low that even a ward of two has alerts.
const ALERTING: &str = "alerts.tau_on=0.01";

#[test]
fn the_demo_says_the_same_twice_and_its_files_read_back() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let two = ["demo", "--patients", "2", "--out", "out"];
    let set = ["--set", &model, "--set", QUICK, "--set", ALERTING];
    let args = [&two[..], &set[..]].concat();
    let page = run(dir.path(), &args).expect(0).out;
    let first = std::fs::read(dir.path().join("out/risk.jsonl")).unwrap();
    let alerts = std::fs::read(dir.path().join("out/alerts.jsonl")).unwrap();
    let summary = run(dir.path(), &[&args[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(std::fs::read(dir.path().join("out/risk.jsonl")).unwrap(), first);
    assert_eq!(std::fs::read(dir.path().join("out/alerts.jsonl")).unwrap(), alerts);
    let digest = summary["digest"].as_str().unwrap();
    assert!(digest.len() == 64 && page.contains(digest), "{digest} in\n{page}");
    has_every_part(&page, &summary, dir.path());
    files_read_back(&summary, &dir.path().join("out"));
    the_policy_sweep_agrees_with_the_run(&summary, dir.path(), &set);
    the_evaluation_judges_films_and_samplers(dir.path(), &set);
}

/// The run's own policy, judged over its stored scores, gives the run's own count of alerts.
fn the_policy_sweep_agrees_with_the_run(summary: &Value, dir: &Path, set: &[&str]) {
    let args = ["policy", "--run", "out", "--out", "swept", "--tau-on", "0.01,0.99"];
    let own = ["--persist", "2", "--refractory", "8", "--burden", "24"];
    let page = run(dir, &[&args[..], &own[..], set].concat()).expect(0).out;
    let text = |name: &str| std::fs::read_to_string(dir.join("swept").join(name)).unwrap();
    let whole: Value = serde_json::from_str(&text("policy.json")).unwrap();
    assert_eq!(whole["policies"][0]["alerts"], summary["alerts"]["risk"], "{whole}");
    assert_eq!(whole["policies"][1]["alerts"], 0, "{whole}");
    for said in [page, text("policy.csv"), text("policy.svg"), text("policy.toml")] {
        assert!(said.contains("SYNTHETIC"), "does not say what the scores are:\n{said}");
    }
    let chosen = dir.join("swept/policy.toml");
    let check = ["check", "--json", "--config", chosen.to_str().unwrap()];
    let report = run(dir, &[&check[..], &set[..2]].concat());
    assert!(report.out.contains("verdict"), "the chosen policy is no configuration: {report:?}");
    let said = run(dir, &["policy", "--run", "nowhere"]).expect(1).err;
    assert!(said.contains("--run"), "{said}");
}

/// The parts that the README promises, on the page and in the JSON.
fn has_every_part(page: &str, summary: &Value, dir: &Path) {
    for part in [
        "stays",
        "films",
        "windows",
        "risk events",
        "used",
        "late",
        "duplicate",
        "rejected",
        "alerts       silent mode: ",
        "highest risk",
        "events/s",
        "p50",
        "p99",
        "peak memory",
        "digest of risk events",
        "out/risk.jsonl",
        "out/risk.avro",
        "out/envelope.jsonl",
        "out/alerts.jsonl",
        "out/films",
        "Synthetic",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    let number = |path: &str| summary.pointer(path).and_then(Value::as_f64).unwrap_or(-1.0);
    assert_eq!(number("/stays"), 2.0);
    for path in ["/films", "/windows", "/events_per_second", "/wall_s", "/peak_rss_bytes"] {
        assert!(number(path) > 0.0, "{path} in {summary}");
    }
    assert!(number("/latency_p50_ms") >= 0.0);
    assert!(number("/latency_p99_ms") >= number("/latency_p50_ms"));
    for topic in ["stay", "imaging", "lab", "vital"] {
        assert!(number(&format!("/events/{topic}/used")) > 0.0, "{topic} in {summary}");
    }
    assert_eq!(number("/predictions/scored"), number("/windows"));
    let top = summary["highest_risk"].as_array().unwrap();
    assert_eq!(top.len(), 2);
    assert!(top.iter().all(|row| row["mortality"].is_number() && row["ended"].is_string()));
    for output in summary["outputs"].as_array().unwrap() {
        assert!(dir.join(output.as_str().unwrap()).exists(), "{output} does not exist");
    }
}

fn files_read_back(summary: &Value, out: &Path) {
    let text = std::fs::read_to_string(out.join("risk.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let events = summary["predictions"].as_object().unwrap().values();
    assert_eq!(lines.len() as u64, events.map(|n| n.as_u64().unwrap()).sum::<u64>());
    let avro = BufReader::new(File::open(out.join("risk.avro")).unwrap());
    let records = apache_avro::Reader::builder(avro).human_readable(false).build().unwrap();
    let from_avro: Vec<String> = records
        .into_deser_iter::<RiskRecord>()
        .map(|record| risk_to_json(&RiskEvent::try_from(record.unwrap()).unwrap()).unwrap())
        .collect();
    assert_eq!(from_avro, lines);
    for letter in std::fs::read_to_string(out.join("dead_letters.jsonl")).unwrap().lines() {
        let letter: Value = serde_json::from_str(letter).unwrap();
        assert!(letter["reason"].is_string() && letter["offset"].is_u64(), "{letter}");
    }
    envelopes_read_back(&lines, out);
    alerts_read_back(summary, out);
    let pictures: Vec<_> = super::support::files(&out.join("films"));
    let named = |what: &str| pictures.iter().filter(|p| p.to_string_lossy().contains(what)).count();
    assert!(named("last-film.png") > 0, "no film was drawn: {pictures:?}");
    assert_eq!(named("last-film.png"), named("generated.png"));
    for path in pictures {
        assert!(std::fs::read(path).unwrap().starts_with(b"\x89PNG\r\n"));
    }
}

/// One envelope a risk event, in the same order; what leaves by one commit shares a trace.
fn envelopes_read_back(risks: &[&str], out: &Path) {
    let text = std::fs::read_to_string(out.join("envelope.jsonl")).unwrap();
    let envelopes: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(envelopes.len(), risks.len());
    let mut commits = std::collections::BTreeMap::new();
    for (envelope, risk) in envelopes.iter().zip(risks) {
        let risk: Value = serde_json::from_str(risk).unwrap();
        assert_eq!(envelope["event_id"], risk["event_id"]);
        let seed = risk.pointer("/scores/generation/seed");
        assert!(seed.is_none_or(|seed| seed.as_str().unwrap().parse::<u64>().is_ok()), "{risk}");
        let trace = envelope["trace_id"].as_str().unwrap();
        assert!(trace.len() == 32 && trace.chars().all(|c| c.is_ascii_hexdigit()), "{envelope}");
        let commit = envelope["commit"].as_u64().unwrap();
        assert_eq!(commits.entry(commit).or_insert(trace), &trace, "{envelope}");
        assert!(!envelope["node"].as_str().unwrap().is_empty(), "{envelope}");
        assert!(envelope["program"].as_str().unwrap().starts_with("nowcxr "), "{envelope}");
        assert!(envelope["computed_at"].is_string() && envelope["positions"]["lab-0"].is_u64());
    }
    let traces: std::collections::BTreeSet<_> = commits.values().collect();
    assert!(commits.len() > 1 && traces.len() == commits.len(), "{commits:?}");
    assert!(envelopes.iter().any(|envelope| envelope["latency_ms"].is_f64()));
}

/// Alerts are written in silent mode too, marked so, and rest on events that left.
fn alerts_read_back(summary: &Value, out: &Path) {
    let risk = std::fs::read_to_string(out.join("risk.jsonl")).unwrap();
    let text = std::fs::read_to_string(out.join("alerts.jsonl")).unwrap();
    let records: Vec<AlertRecord> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let raised = |subject: Subject| {
        records.iter().filter(|r| r.revision == 0 && r.subject == subject).count() as u64
    };
    let counted = |key: &str| summary["alerts"][key].as_u64().unwrap();
    let risks = raised(Subject::InHospitalDeath);
    assert!(risks > 0, "no alert was raised");
    assert_eq!(counted("risk") + counted("technical") + counted("entered_in_error"), {
        risks + raised(Subject::DataQuality)
    });
    for record in &records {
        assert_eq!((record.mode, record.delivery), (Mode::Silent, Mode::Silent));
        assert!(!record.basis.is_empty() && record.summary.chars().count() <= 140);
        for basis in &record.basis {
            assert!(risk.contains(&basis.0.to_string()), "{basis:?} never left");
        }
    }
    assert!(records.iter().all(|record| record.t <= record.known_at));
}

#[test]
fn the_demo_clears_only_what_a_demo_made() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("thesis.tex");
    std::fs::write(&own, "mine").unwrap();
    let said = run(dir.path(), &["demo", "--patients", "1", "--out", "."]).expect(1).err;
    assert!(said.contains("is not empty") && said.contains("--out"), "{said}");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "mine");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let said = run(dir.path(), &["demo", "--patients", "1", "--out", "file"]).expect(1).err;
    assert!(said.contains("file") && said.contains("cannot make"), "{said}");
}

/// The body of a page, once the server answers.
fn page(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.0 200").then_some(answer)
}

#[test]
fn metrics_and_health_are_served_while_it_runs() {
    let Some(model) = model() else { return };
    let parent = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut demo = nowcxr(parent.path(), &["demo", "--patients", "1", "--out", "served"]);
    demo.args(["--set", &format!("http.listen={free}"), "--set", &model]);
    let mut child = start(&mut demo, parent.path());
    let until = Instant::now() + Duration::from_secs(60);
    let (mut ready, mut metrics) = (None, None);
    while Instant::now() < until && child.try_wait().unwrap().is_none() && metrics.is_none() {
        ready = ready.or_else(|| page(free, "/readyz"));
        metrics = ready.as_ref().and_then(|_| page(free, "/metrics"));
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = wait(child, parent.path());
    ended.expect(0);
    assert!(ready.is_some() && metrics.is_some_and(|metrics| metrics.contains("nowcxr_")));
    serving_is_ready(parent.path(), free);
}

/// `serve` over what the demo left has neither model nor task, and says that it is ready.
fn serving_is_ready(dir: &Path, free: SocketAddr) {
    let listen = free.to_string();
    let mut serve = nowcxr(dir, &["serve", "--out", "served", "--listen", &listen]);
    let mut child = start(&mut serve, dir);
    let until = Instant::now() + Duration::from_secs(60);
    let mut ready = None;
    while Instant::now() < until && child.try_wait().unwrap().is_none() && ready.is_none() {
        ready = page(free, "/readyz");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(kill("-TERM", child.id()));
    let ended = wait(child, dir).expect(0);
    assert!(ready.is_some(), "{}", ended.err);
    assert!(!ended.err.contains("commit"), "{}", ended.err);
}

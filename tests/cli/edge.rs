//! `nowcxr edge` from outside: it listens, answers, ends when told to, and refuses to start without
//! a secret.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::support::{Ran, nowcxr, run, start, wait};

const ARGS: [&str; 7] = ["edge", "--to", "local", "--out", "edge", "--hl7", "127.0.0.1:0"];

/// A started edge and where it listens.
fn listening(dir: &Path) -> (Child, String) {
    let mut command = nowcxr(dir, &[&ARGS[..], &["--json"]].concat());
    command.env("NOWCXR_EDGE__SECRET", "a secret of the tests");
    (start(&mut command, dir), announced(dir, "hl7"))
}

/// The address that a starting edge prints.
fn announced(dir: &Path, language: &str) -> String {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let said = std::fs::read_to_string(dir.join("out.txt")).unwrap();
        if let Some(line) = said.lines().next() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            return line[language].as_str().unwrap().to_owned();
        }
        let why = std::fs::read_to_string(dir.join("err.txt")).unwrap();
        assert!(Instant::now() < until, "it does not listen: {why}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(child: Child, dir: &Path) -> Ran {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    wait(child, dir)
}

/// Sends an admission; what is answered.
fn admit(address: &str, who: u32) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let gap = "|".repeat(16);
    let text = format!(
        "\x0bMSH|^~\\&|ADT|H|NCX|H|20260301075900||ADT^A01|{who}|P|2.4\r\
         PID|||{who}^^^H^MR||DOE^J||19570301|F\rPV1||I|MICU{gap}V{who}\r\x1c\r"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while byte != [0x1c] {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn it_listens_answers_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (child, address) = listening(dir.path());
    assert!(admit(&address, 1).contains("MSA|AA|1"));
    let ran = terminate(child, dir.path()).expect(0);
    assert!(ran.out.contains(r#"{"messages":1,"records":1}"#), "{}", ran.out);
    for word in ["DOE", "V1", "1957"] {
        assert!(!ran.err.contains(word), "{}", ran.err);
    }
    let (child, address) = listening(dir.path());
    assert!(admit(&address, 1).contains("MSA|AA|1"), "known, and acknowledged");
    assert!(admit(&address, 2).contains("MSA|AA|2"));
    let ran = terminate(child, dir.path()).expect(0);
    assert!(ran.out.contains(r#"{"messages":3,"records":2}"#), "{}", ran.out);
}

#[test]
fn without_a_secret_or_with_a_wrong_code_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let said = run(dir.path(), &ARGS).expect(1).err;
    assert!(said.contains("NOWCXR_EDGE__SECRET") && said.contains("openssl rand"), "{said}");
    let mut command = nowcxr(dir.path(), &ARGS);
    command.env("NOWCXR_EDGE__SECRET", "a secret of the tests");
    command.env("NOWCXR_EDGE__CODES", r#"{ GLU = "gluecose" }"#);
    let said = super::support::ended(command).expect(1).err;
    assert!(said.contains("gluecose") && said.contains("variables.toml"), "{said}");
}

/// Status of what is answered to a resource.
fn put(address: &str, path: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    let request = format!(
        "PUT /fhir/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/fhir+json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap()
}

#[test]
fn fhir_is_taken_and_what_was_taken_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["edge", "--to", "local", "--out", "edge", "--fhir", "127.0.0.1:0"];
    let listening = || {
        let mut command = nowcxr(dir.path(), &[&args[..], &["--json"]].concat());
        command.env("NOWCXR_EDGE__SECRET", "a secret of the tests");
        let child = start(&mut command, dir.path());
        let base = announced(dir.path(), "fhir");
        let address = base.trim_start_matches("http://").trim_end_matches("/fhir").to_owned();
        (child, address)
    };
    let patient = r#"{"resourceType":"Patient","id":"p7","gender":"male","birthDate":"1957-03-01",
        "name":[{"family":"MUSTER"}]}"#;
    let encounter = r#"{"resourceType":"Encounter","id":"e7","status":"in-progress",
        "subject":{"reference":"Patient/p7"},"period":{"start":"2026-03-01T08:00:00Z"},
        "location":[{"location":{"display":"MICU"}}]}"#;
    let (child, address) = listening();
    assert_eq!(put(&address, "Patient/p7", patient), 200);
    assert_eq!(put(&address, "Encounter/e7", encounter), 200);
    assert_eq!(put(&address, "Encounter/e7", "{"), 400);
    let ran = terminate(child, dir.path()).expect(0);
    assert!(ran.out.contains(r#"{"messages":3,"records":2}"#), "{}", ran.out);
    for word in ["MUSTER", "p7", "e7", "1957"] {
        assert!(!ran.err.contains(word), "{}", ran.err);
    }
    let (child, address) = listening();
    assert_eq!(put(&address, "Encounter/e7", encounter), 200);
    let ran = terminate(child, dir.path()).expect(0);
    assert!(ran.out.contains(r#"{"messages":4,"records":2}"#), "{}", ran.out);
    let mut elsewhere = nowcxr(dir.path(), &[&args[..6], &["0.0.0.0:0"]].concat());
    elsewhere.env("NOWCXR_EDGE__SECRET", "a secret of the tests");
    let said = super::support::ended(elsewhere).expect(1).err;
    assert!(said.contains("http.tokens"), "{said}");
}

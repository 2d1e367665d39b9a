//! The dashboard over a real broker: it shows the ward that the local log shows, and says when the
//! broker has gone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nowcxr::config::EngineConfig;
use nowcxr::event::alert::Deed;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::ids::{Digest, Topic};
use nowcxr::transport::kafka::KafkaSettings;
use nowcxr::wire::{AcknowledgementRecord, Codec};

use super::people::{self, local_alerts};
use super::place::{LONG, Reader, place, succeed};

const LOOK: Duration = Duration::from_millis(200);
/// A dashboard whose broker has gone says so within this time.
const TOLD: Duration = Duration::from_secs(15);

/// A running dashboard, which does not outlive its test.
struct Site {
    process: Child,
    address: String,
}

impl Site {
    fn start(mut serve: Command) -> Self {
        let serve = serve.args(["--open", "--listen", "127.0.0.1:0"]);
        let mut process = serve.stderr(std::process::Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        Site { process, address: address.expect(&line).to_owned() }
    }

    /// The status line and the body.
    fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.ask(&format!("GET {path}"), "", "")
    }

    fn ask(&self, what: &str, headers: &str, body: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{what} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[..head]).lines().next().unwrap().to_owned();
        (status, answer.split_off(head + 4))
    }

    fn page(&self, path: &str) -> String {
        String::from_utf8(self.get(path).1).unwrap()
    }

    /// What the ward page says of the stays.
    fn ward(&self) -> String {
        let page = self.page("/ward?view=table&show=all");
        let table = page.find("<table").map_or("", |at| &page[at..]);
        table.split("</table>").next().unwrap().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn await_that(what: &str, within: Duration, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < within, "{what} within {within:?}");
        std::thread::sleep(LOOK);
    }
}

/// The addresses on a page that begin with `path`.
fn links(page: &str, path: &str) -> Vec<String> {
    let starts = page.match_indices(path).map(|(at, _)| &page[at..]);
    starts.map(|rest| rest[..rest.find('"').unwrap()].replace("&amp;", "&")).collect()
}

#[test]
fn the_dashboard_over_kafka_shows_the_ward_of_the_local_log() {
    let Some(place) = place("pages", 4) else { return };
    place.replay("local");
    place.replay("kafka");
    place.run_to_idle("a");
    let told = [place.kafka_risks().len(), place.local_risks().len()];
    assert_eq!(told[0], told[1], "the service ended before it had said all");
    let mut over_log = place.nowcxr("serve", "unused");
    over_log.args(["--out", "local"]);
    let over_log = Site::start(over_log);
    let mut over_kafka = place.nowcxr("serve", "unused");
    // Each process writes a log of looks of its own.
    over_kafka.args(["--kafka", "--set", "http.audit=looks.jsonl"]);
    let over_kafka = Site::start(over_kafka);

    await_that("the log is read", LONG, || over_log.ward().contains("/stay/"));
    let start = Instant::now();
    while over_kafka.ward() != over_log.ward() {
        let wards = [over_kafka.ward(), over_log.ward()];
        assert!(start.elapsed() < LONG, "{} unlike {}", wards[0], wards[1]);
        std::thread::sleep(LOOK);
    }
    let films = |site: &Site| -> Vec<String> {
        let stays = links(&over_log.ward(), "/stay/").into_iter();
        let shown = stays.flat_map(|stay| links(&site.page(&stay), "/stay/"));
        shown.filter(|link| link.contains("/film/")).collect()
    };
    let films = [films(&over_log), films(&over_kafka)];
    assert!(!films[0].is_empty() && films[0] == films[1], "{films:?}");
    for film in &films[0] {
        let (status, picture) = over_kafka.get(film);
        assert!(status.contains(" 200 "), "{film}: {status}");
        assert!(picture.starts_with(b"\x89PNG") && picture == over_log.get(film).1, "{film}");
    }
}

#[test]
fn a_dashboard_whose_broker_has_gone_freezes_and_says_so() {
    let Some(place) = place("frozen", 2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = |command: &str| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/kafka");
        let done = Command::new(script).arg(command).arg(dir.path()).output().unwrap();
        succeed(done).trim().to_owned()
    };
    let place = place.named("frozen", &node("start"));
    place.replay("kafka");
    place.run_to_idle("a");
    let mut serve = place.nowcxr("serve", "unused");
    serve.arg("--kafka");
    let site = Site::start(serve);
    let is_frozen = || site.page("/ward").contains("Data frozen at");
    await_that("the ward is read", LONG, || site.ward().contains("/stay/"));
    assert!(!is_frozen());
    node("stop");
    await_that("frozen", TOLD, is_frozen);
    // It stays so, and shows what it had.
    for _ in 0..10 {
        std::thread::sleep(LOOK);
        assert!(is_frozen() && site.ward().contains("/stay/"));
    }
    node("start");
    await_that("live again", LONG, || !is_frozen());
    node("stop");
}

/// Of a test only; a real one is drawn by `nowcxr token`.
const TOKEN: &str = "a-token-that-only-this-test-knows-0123456789";

#[test]
fn an_answer_on_the_page_is_written_as_an_act_on_the_alert() {
    let Some(place) = place("answer", 4) else { return };
    people::replay(&place, "local");
    people::replay(&place, "kafka");
    let mut run = people::nowcxr(&place, "run");
    succeed(run.args(["--until-idle", "3"]).output().unwrap());
    let alert = local_alerts(&place).remove(0);
    let line = format!("ward-1 clinician {}\n", Digest::of(TOKEN.as_bytes()));
    std::fs::write(place.path("tokens"), line).unwrap();
    let mut serve = people::nowcxr(&place, "serve");
    serve.args(["--kafka", "--set", "http.tokens=tokens"]);
    let site = Site::start(serve);

    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let form = format!("{bearer}Content-Type: application/x-www-form-urlencoded\r\n");
    let stay = alert.stay_id;
    let shows = |text: String| {
        let (_, page) = site.ask(&format!("GET /stay/{stay}"), &bearer, "");
        String::from_utf8_lossy(&page).contains(&text)
    };
    let row = format!("data-alert=\"{}\"", alert.alert_id);
    await_that("the alert is shown", LONG, || shows(row.clone()));
    let post = format!("POST /stay/{stay}/alert/{}", alert.alert_id);
    let (status, _) = site.ask(&post, &form, "deed=acknowledge");
    assert!(status.contains(" 303 "), "{status}");

    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    let codec = Codec::new(&EngineConfig::default().feeds, dictionary).unwrap();
    let settings = KafkaSettings { prefix: place.prefix.clone(), ..KafkaSettings::new("unused:1") };
    let written = Reader::of(&place.broker, &settings.input(Topic::Acknowledgement)).all();
    // Marks stand there as well.
    let acts: Vec<AcknowledgementRecord> =
        written.iter().filter_map(|record| codec.decode(record).ok()).collect();
    let [act] = acts.as_slice() else { panic!("one act, not {acts:?}") };
    let act = nowcxr::event::alert::Act::try_from(act.clone()).unwrap();
    assert_eq!((act.stay, act.deed), (stay, Deed::Acknowledge(alert.alert_id)));
    assert_eq!(act.by.role.unwrap().as_str(), "clinician");
}

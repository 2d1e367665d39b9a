//! The MLLP server on a loopback port: answers, order, bounds and marks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nowcxr::edge::Hatch;
use nowcxr::edge::fhir::parcel::Target;
use nowcxr::edge::fhir::{Kind, Parcel};
use nowcxr::edge::hl7::server::{MAX_CONNECTIONS, bind};
use nowcxr::ids::Topic;
use nowcxr::time::WallTime;
use nowcxr::transport::local::LocalLog;
use tempfile::TempDir;

use super::world::{config, desk, facts, log};

const NOW: i64 = 1_772_352_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// An edge that listens.
struct Edge {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    log: Arc<LocalLog>,
    now: Arc<AtomicI64>,
    _dir: TempDir,
}

impl Edge {
    fn start() -> Self {
        // The other languages are not listened to.
        Edge::hearing().0
    }

    /// One that hears FHIR as well.
    fn hearing() -> (Self, Hatch<Parcel>) {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path());
        let config = config(&["edge.lateness=200ms"]);
        let mut desk = desk(&config, dir.path(), &log);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (hatches, counter) = nowcxr::edge::counter();
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = runtime.block_on(bind(any, hatches.hl7)).unwrap();
        let address = listener.address().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let now = Arc::new(AtomicI64::new(NOW));
        let (stops, clock) = (Arc::clone(&stop), Arc::clone(&now));
        let desk_thread = thread::spawn(move || {
            let clock = || WallTime::from_millis(clock.fetch_add(1, Ordering::AcqRel));
            counter.run(&mut desk, clock, &stops).unwrap();
        });
        let stops = Arc::clone(&stop);
        let listening = thread::spawn(move || runtime.block_on(listener.serve(&stops)));
        let threads = vec![listening, desk_thread];
        (Edge { address, stop, threads, log, now, _dir: dir }, hatches.fhir)
    }

    /// Lets time pass until a mark is promised, or for as long as ten would take.
    fn is_promising(&self, meanwhile: impl Fn()) -> bool {
        let before = marks(&self.log);
        (0..40).any(|_| {
            meanwhile();
            self.now.fetch_add(1_000, Ordering::AcqRel);
            thread::sleep(Duration::from_millis(50));
            marks(&self.log) > before
        })
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn end(self) -> Arc<LocalLog> {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.log
    }
}

pub fn admission(who: u32, control: u32, mode: &str) -> String {
    let gap = "|".repeat(16);
    format!(
        "MSH|^~\\&|ADT|H|NCX|H|20260301075900||ADT^A01|{control}|P|2.4|||{mode}\r\
         EVN||20260301075900\rPID|||{who}^^^H^MR||||19570301|F\rPV1||I|MICU{gap}V{who}\r"
    )
}

pub fn send(stream: &mut impl Write, text: &str) {
    stream.write_all(&[b"\x0b", text.as_bytes(), b"\x1c\r"].concat()).unwrap();
}

/// The codes of the next `n` answers.
pub fn answers(stream: &mut impl Read, n: usize) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut one = [0];
    while bytes.iter().filter(|byte| **byte == 0x1c).count() < n {
        stream.read_exact(&mut one).unwrap();
        bytes.push(one[0]);
    }
    let text = String::from_utf8(bytes).unwrap();
    text.lines()
        .flat_map(|line| line.split('\r'))
        .filter_map(|s| s.strip_prefix("MSA|"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn messages_are_answered_in_order_once_they_are_durable() {
    let edge = Edge::start();
    let mut stream = edge.connect();
    send(&mut stream, &admission(1, 1, ""));
    assert_eq!(answers(&mut stream, 1), ["AA|1"]);
    // It is in the log before the answer.
    assert_eq!(facts(&config(&[]), &edge.log, Topic::Stay).len(), 1);
    // Three at once, one of them known and one no message; then the enhanced mode.
    send(&mut stream, &admission(1, 1, ""));
    send(&mut stream, "nonsense");
    send(&mut stream, &admission(2, 2, "AL|AL"));
    assert_eq!(answers(&mut stream, 4), ["AA|1", "AR|", "CA|2", "AA|2"]);
    // Bytes outside of a block end the connection, and only it.
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert_eq!(rest, b"\r", "the end of the answer before, and no further one");
    let mut other = edge.connect();
    send(&mut other, &admission(3, 3, ""));
    assert_eq!(answers(&mut other, 1), ["AA|3"]);
    let log = edge.end();
    assert_eq!(facts(&config(&[]), &log, Topic::Stay).len(), 3);
}

#[test]
fn connections_are_bounded_and_one_too_many_waits() {
    let edge = Edge::start();
    let mut held: Vec<TcpStream> = (0..MAX_CONNECTIONS).map(|_| edge.connect()).collect();
    for (n, stream) in (0u32..).zip(&mut held) {
        send(stream, &admission(n, n + 1, ""));
    }
    for stream in &mut held {
        assert_eq!(answers(stream, 1).len(), 1);
    }
    let mut further = edge.connect();
    send(&mut further, &admission(99, 99, ""));
    further.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    assert!(further.read(&mut [0]).is_err(), "no place is free");
    held.pop();
    further.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(answers(&mut further, 1), ["AA|99"]);
    edge.end();
}

/// Marks are the records without a key.
fn marks(log: &LocalLog) -> usize {
    let partition = log.partition(Topic::Lab.name(), 0).unwrap();
    let mut reader = partition.reader(partition.start()).unwrap();
    let mut n = 0;
    while let Some(record) = reader.read().unwrap() {
        n += usize::from(record.key.is_none());
    }
    n
}

#[test]
fn marks_are_promised_only_while_a_sender_is_there() {
    let edge = Edge::start();
    thread::sleep(Duration::from_millis(700));
    assert_eq!(marks(&edge.log), 0, "nobody has ever been there");
    let stream = edge.connect();
    let until = Instant::now() + PATIENCE;
    while marks(&edge.log) == 0 {
        assert!(Instant::now() < until, "no mark came");
        edge.now.fetch_add(1_000, Ordering::AcqRel);
        thread::sleep(Duration::from_millis(50));
    }
    drop(stream);
    thread::sleep(Duration::from_millis(800));
    let before = marks(&edge.log);
    edge.now.fetch_add(60_000, Ordering::AcqRel);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(marks(&edge.log), before, "the sender is gone");
    edge.end();
}

#[test]
fn a_language_that_was_spoken_is_waited_for() {
    let (edge, fhir) = Edge::hearing();
    let _stream = edge.connect();
    thread::sleep(Duration::from_millis(300));
    assert!(edge.is_promising(|| {}), "nobody has ever spoken FHIR here");
    let speak = || {
        let body = br#"{"resourceType":"Patient","id":"p1","gender":"female"}"#;
        let target = Target::Update(Kind::Patient, "p1");
        let parcel = Parcel::open(target, body, "ehr".into(), String::new());
        fhir.hand_in(parcel).unwrap().blocking_recv().unwrap();
    };
    speak();
    thread::sleep(Duration::from_millis(400));
    assert!(!edge.is_promising(|| {}), "who spoke FHIR may bring something yet");
    // What is said is known, but somebody is there.
    assert!(edge.is_promising(speak));
    // The desk ends once no listener is left.
    drop(fhir);
    edge.end();
}

//! The consumer against a feed in memory, and its channels against small servers on loopback.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::*;
use crate::config::EngineConfig;
use crate::event::alert::{AlertEvent, By, Claim, Priority, Response, RiskClaim, State, Subject};
use crate::event::dictionary::{Dictionary, Profile};
use crate::event::risk::{Mode, ModelName, Probability};
use crate::ids::{AlertId, Digest, EventId, StayId};
use crate::time::{EventTime, Span, WallTime};
use crate::wire::{AlertRecord, Codec};

pub(super) const QUICK: Backoff =
    Backoff { first: Duration::from_millis(10), most: Duration::from_millis(20) };

fn codec() -> Codec {
    let dictionary = Dictionary::builtin(Profile::Clinical).expect("dictionary");
    Codec::new(&EngineConfig::default().feeds, dictionary).expect("codec")
}

pub(super) fn minute(n: i64) -> EventTime {
    EventTime::from_millis(0) + Span::minutes(n)
}

/// Revision `revision` of alert number `alert`, told at minute `at`.
pub(super) fn event(alert: u128, revision: u32, at: i64, delivery: Mode) -> AlertEvent {
    let digest = Digest::of(b"test");
    let mortality = Probability::new(0.42).expect("a probability");
    let response = match revision {
        0 => Response::Open,
        _ => Response::Acknowledged(By { role: None, at: minute(at) }),
    };
    AlertEvent {
        id: EventId(Uuid::from_u128(alert << 32 | u128::from(revision))),
        alert: AlertId(Uuid::from_u128(alert)),
        stay: StayId(37),
        revision,
        supersedes: None,
        claim: Claim::Risk(RiskClaim {
            mortality,
            interval: None,
            threshold: 0.3,
            ehr_only: None,
            trend: None,
            film_acquired_at: None,
            changed: Vec::new(),
            contributors: Vec::new(),
        }),
        state: State::Standing(response),
        priority: Priority::Medium,
        raised_at: minute(0),
        known_at: minute(at),
        basis: Vec::new(),
        validity: Vec::new(),
        delivery,
        within_budget: true,
        escalation: 0,
        snoozed_until: None,
        model: ModelName { name: "m".into(), version: "0".into(), digest },
        config_digest: digest,
        mode: delivery,
    }
}

pub(super) fn value(event: &AlertEvent) -> Vec<u8> {
    codec().encode_alert(event).expect("encodes")
}

pub(super) fn desk(per_day: f64) -> Desk {
    Desk::new(codec(), UnitBudget::new(1, per_day))
}

pub(super) fn notice(event: &AlertEvent) -> Notice {
    desk(24.0).take(&value(event)).expect("an alert").expect("something new")
}

#[test]
fn the_highest_revision_holds_whatever_the_order_and_whatever_is_missing() {
    let revision = |n| value(&event(1, n, 10 * i64::from(n), Mode::Passive));
    for (order, shown) in [
        (vec![0, 1], vec![0, 1]),
        (vec![1, 0], vec![1]),
        (vec![1], vec![1]),
        (vec![0, 0, 1, 0, 1, 1], vec![0, 1]),
        (vec![2, 1, 0, 3], vec![2, 3]),
    ] {
        let mut desk = desk(24.0);
        let told = order.iter().filter_map(|&n| desk.take(&revision(n)).expect("an alert"));
        let revisions: Vec<u32> = told.map(|notice| notice.record.revision).collect();
        assert_eq!(revisions, shown, "{order:?}");
    }
    let other = value(&event(2, 0, 0, Mode::Passive));
    let mut desk = desk(24.0);
    assert_eq!(desk.take(&revision(1)).expect("an alert").map(|n| n.seen), Some(Seen::First));
    assert_eq!(desk.take(&other).expect("an alert").map(|n| n.seen), Some(Seen::First));
    assert!(desk.take(b"no record").is_err());
}

#[test]
fn a_silent_alert_says_that_it_would_have_been_one_and_leaves_by_no_channel() {
    let silent = notice(&event(1, 0, 0, Mode::Silent));
    assert_eq!(silent.held_back, Some(HeldBack::Silent));
    assert!(!silent.is_shown() && !silent.disturbs());
    assert!(silent.line().contains("would have alerted"), "{}", silent.line());
    assert_eq!(silent.json()["held_back"], "silent");
    let webhook = Webhook::new("http://127.0.0.1:9/", "", wall);
    let syslog = Syslog::new("udp://127.0.0.1:9", wall).expect("a target");
    assert!(!webhook.wants(&silent) && !syslog.wants(&silent));
    let loud = notice(&event(1, 0, 0, Mode::Interruptive));
    assert!(loud.disturbs() && webhook.wants(&loud) && syslog.wants(&loud));
    assert!(loud.line().contains("Research use only"), "{}", loud.line());
}

#[test]
fn what_is_over_the_units_budget_is_shown_only_in_all_its_revisions() {
    let mut desk = desk(2.0);
    let mut take = |alert, revision, at| {
        let event = event(alert, revision, at, Mode::Interruptive);
        desk.take(&value(&event)).expect("an alert").expect("something new")
    };
    let within = [take(1, 0, 0), take(2, 0, 60)];
    assert!(within.iter().all(|notice| notice.held_back.is_none()));
    let over = [take(3, 0, 120), take(3, 1, 130)];
    assert!(over.iter().all(|n| n.held_back == Some(HeldBack::UnitBudget) && n.is_shown()));
    assert_eq!(take(1, 1, 140).held_back, None, "it was counted once");
    assert_eq!(take(4, 0, 24 * 60 + 1).held_back, None, "a day later there is room again");
    let mut fault = event(5, 0, 130, Mode::Interruptive);
    fault.claim = Claim::Fault(crate::event::alert::Fault::StaleEhr);
    let fault = desk.take(&value(&fault)).expect("an alert").expect("something new");
    assert_eq!((fault.record.subject, fault.held_back), (Subject::DataQuality, None));
}

/// As after an outage: the engine works off hours of history, and nobody is woken for it.
#[test]
fn what_was_told_hours_ago_is_shown_and_disturbs_nobody() {
    let now = || WallTime::from_millis(Span::hours(100).as_millis());
    let told = |minutes_ago: i64, age| {
        let mut desk = desk(1.0).fresh(age, now);
        let take = |desk: &mut Desk, n, ago: i64| {
            let event = event(n, 0, 100 * 60 - ago, Mode::Interruptive);
            desk.take(&value(&event)).expect("an alert").expect("something new")
        };
        let notice = take(&mut desk, 1, minutes_ago);
        // What disturbs nobody is not of the unit's budget.
        let next = take(&mut desk, 2, 0);
        assert!(notice.disturbs() || next.disturbs());
        notice
    };
    let hours = |n| Some(Span::hours(n));
    assert!(told(8 * 60, hours(8)).disturbs());
    let past = told(8 * 60 + 1, hours(8));
    assert!(past.is_shown() && !past.disturbs() && past.held_back == Some(HeldBack::Past));
    assert!(past.line().contains("of hours ago"), "{}", past.line());
    assert!(told(90 * 60, None).disturbs());
    assert!(told(-60, hours(8)).disturbs(), "a replay's patients may live in years to come");
}

#[test]
fn a_position_is_given_up_when_everything_before_it_is_delivered() {
    let place = |partition, offset| AlertPlace { partition, offset };
    let mut ledger = Ledger::default();
    for offset in 3..6 {
        ledger.open(place(0, offset), 2);
    }
    ledger.open(place(1, 8), 0);
    assert_eq!(ledger.take_next(), [place(1, 9)]);
    ledger.close(place(0, 4));
    ledger.done(place(0, 3));
    assert!(ledger.take_next().is_empty() && !ledger.is_empty());
    ledger.done(place(0, 3));
    assert_eq!(ledger.take_next(), [place(0, 5)]);
    ledger.done(place(0, 5));
    ledger.done(place(0, 5));
    assert_eq!((ledger.take_next(), ledger.is_empty()), (vec![place(0, 6)], true));
}

/// The expected values are of Python's `hmac` module.
#[test]
fn the_signature_is_hmac_sha256_over_time_and_body() {
    let signed = signature(b"Jefe", WallTime::from_millis(5), b"{}");
    assert_eq!(signed, "t=5,v1=b4d260012891e69632418faef11993d18e79691312e7128ec1449004841e8835");
    let long = [b'k'; 100];
    let signed = signature(&long, WallTime::from_millis(1_700_000_000_000), b"body");
    assert_eq!(
        signed,
        "t=1700000000000,v1=3f7dbfa2c9990a3e2c9591963baf84e0e5a8fb456151d12dced4f5bebaadacdd"
    );
}

pub(super) fn wall() -> WallTime {
    WallTime::from_millis(1_000)
}

/// An HTTP server that answers with these codes one after the other, and tells each request.
fn server(codes: &[u16]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (tell, told) = channel();
    let codes = codes.to_vec();
    std::thread::spawn(move || {
        for code in codes {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let request = read_request(&mut stream);
            let answer =
                format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).ok();
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (url, told)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).unwrap_or(0);
        text.extend_from_slice(&chunk[..n]);
        let seen = String::from_utf8_lossy(&text).into_owned();
        let length = seen
            .to_ascii_lowercase()
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split("\r\n").next()?.trim().parse::<usize>().ok());
        let body = seen.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        if n == 0 || length.is_some_and(|length| body >= length) {
            return seen;
        }
    }
}

#[test]
fn a_webhook_is_signed_and_says_what_may_be_tried_again() {
    let (url, told) = server(&[200, 503, 404]);
    let mut webhook = Webhook::new(&url, "a secret", wall);
    let event = event(7, 0, 0, Mode::Interruptive);
    let notice = notice(&event);
    assert_eq!(webhook.deliver(&notice), Ok(()));
    assert!(matches!(webhook.deliver(&notice), Err(DeliveryError::Retry(_))));
    assert!(matches!(webhook.deliver(&notice), Err(DeliveryError::Refused(_))));
    let request = told.recv_timeout(Duration::from_secs(5)).expect("a request");
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /hook http/1.1"), "{head}");
    let signed = signature(b"a secret", wall(), body.as_bytes()).to_ascii_lowercase();
    assert!(head.contains(&format!("nowcxr-signature: {signed}")), "{head}");
    assert!(head.contains(&format!("nowcxr-event-id: {}", event.id)), "{head}");
    assert!(!request.contains("a secret"));
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["alert"]["stay_id"], 37);
    assert_eq!((&body["disturbs"], &body["research_use_only"]), (&true.into(), &true.into()));
    drop(told);
    let gone = Webhook::new("http://127.0.0.1:1/", "", wall).deliver(&notice);
    assert!(matches!(gone, Err(DeliveryError::Retry(_))), "{gone:?}");
}

#[test]
fn syslog_is_rfc_5424_over_udp_and_counted_over_tcp() {
    let notice = notice(&event(7, 0, 0, Mode::Interruptive));
    let collector = UdpSocket::bind("127.0.0.1:0").expect("a port");
    collector.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let target = format!("udp://{}", collector.local_addr().expect("an address"));
    Syslog::new(&target, wall).expect("a target").deliver(&notice).expect("sent");
    let mut bytes = [0; 2048];
    let n = collector.recv(&mut bytes).expect("a datagram");
    let line = String::from_utf8_lossy(&bytes[..n]).into_owned();
    // local0 and warning: 16 * 8 + 4.
    let head = "<132>1 1970-01-01T00:00:01.000Z - nowcxr - alert [nowcxr@32473 event=\"";
    assert!(line.starts_with(head), "{line}");
    assert!(
        line.contains(" stay=\"37\" state=\"open\"") && line.contains("] Risk of in-"),
        "{line}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("tcp://{}", listener.local_addr().expect("an address"));
    let mut syslog = Syslog::new(&target, wall).expect("a target");
    for _ in 0..2 {
        syslog.deliver(&notice).expect("sent");
    }
    drop(syslog);
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    assert_eq!(text, format!("{} {line}", line.len()).repeat(2));
    assert!(Syslog::new("http://x:1", wall).is_none());
}

/// Alerts in memory, and the positions that were given up.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) values: VecDeque<Vec<u8>>,
    pub(super) read: u64,
    pub(super) committed: Arc<Mutex<Vec<u64>>>,
}

impl AlertFeed for Memory {
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<AlertStored>,
    ) -> Result<(), PortError> {
        let n = max.min(self.values.len());
        for value in self.values.drain(..n) {
            let place = AlertPlace { partition: 0, offset: self.read };
            self.read += 1;
            into.push(AlertStored { place, value: value.into() });
        }
        if n == 0 {
            std::thread::sleep(wait.min(Duration::from_millis(5)));
        }
        Ok(())
    }

    fn commit(&mut self, next: &[AlertPlace]) -> Result<(), PortError> {
        let mut committed = self.committed.lock().expect("not poisoned");
        committed.extend(next.iter().map(|place| place.offset));
        Ok(())
    }
}

/// A channel that fails so often, then works; and what it was given.
struct Stubborn {
    failures: usize,
    committed: Arc<Mutex<Vec<u64>>>,
    delivered: Arc<Mutex<Vec<EventId>>>,
}

impl Channel for Stubborn {
    fn name(&self) -> &'static str {
        "stubborn"
    }

    fn wants(&self, notice: &Notice) -> bool {
        notice.is_shown()
    }

    fn deliver(&mut self, notice: &Notice) -> Result<(), DeliveryError> {
        if self.failures > 0 {
            self.failures -= 1;
            assert!(self.committed.lock().expect("not poisoned").is_empty(), "given up too early");
            return Err(DeliveryError::Retry("not yet".to_owned()));
        }
        self.delivered.lock().expect("not poisoned").push(notice.record.event_id);
        Ok(())
    }
}

#[test]
fn nothing_is_given_up_before_it_is_delivered_and_records_that_say_nothing_new_go_by() {
    let events = [
        event(1, 0, 0, Mode::Interruptive),
        event(1, 0, 0, Mode::Interruptive),
        event(2, 0, 1, Mode::Silent),
        event(1, 1, 2, Mode::Interruptive),
    ];
    let values = events.iter().map(value).chain([b"junk".to_vec()]).collect();
    let mut memory = Memory { values, ..Memory::default() };
    let (committed, delivered) = (Arc::clone(&memory.committed), Arc::default());
    let stubborn = Stubborn {
        failures: 3,
        committed: Arc::clone(&committed),
        delivered: Arc::clone(&delivered),
    };
    let mut dispatch = Dispatch::start(vec![Box::new(stubborn)], QUICK).expect("threads");
    let mut lines = Vec::new();
    let mut show = |notice: &Notice| {
        lines.push(notice.line());
        Ok(())
    };
    let (until, stop) = (Until::Idle(Duration::from_millis(20)), AtomicBool::new(false));
    let tally = follow(&mut memory, &mut desk(24.0), &mut dispatch, &mut show, until, &stop)
        .expect("followed");
    let expected = Tally { shown: 3, passed: 1, unreadable: 1, delivered: 2, refused: 0 };
    assert_eq!((tally, lines.len()), (expected, 3));
    assert_eq!(*delivered.lock().expect("not poisoned"), [events[0].id, events[3].id]);
    assert_eq!(committed.lock().expect("not poisoned").last(), Some(&5));
}

#[test]
fn what_was_under_way_at_the_end_is_not_given_up() {
    let values = VecDeque::from([value(&event(1, 0, 0, Mode::Interruptive))]);
    let mut memory = Memory { values, ..Memory::default() };
    let committed = Arc::clone(&memory.committed);
    let stubborn = Stubborn {
        failures: usize::MAX,
        committed: Arc::clone(&committed),
        delivered: Arc::default(),
    };
    let mut dispatch = Dispatch::start(vec![Box::new(stubborn)], QUICK).expect("threads");
    let stop = AtomicBool::new(false);
    let mut show = |_: &Notice| {
        stop.store(true, Ordering::Release);
        Ok(())
    };
    let ended =
        follow(&mut memory, &mut desk(24.0), &mut dispatch, &mut show, Until::Stopped, &stop);
    assert_eq!(ended.expect("ended").shown, 1);
    drop(dispatch);
    assert!(committed.lock().expect("not poisoned").is_empty());
}

#[test]
fn the_budget_of_a_unit_is_whole_alerts_in_any_day() {
    assert_eq!(UnitBudget::new(20, 0.5).per_day(), 10);
    assert_eq!(UnitBudget::new(1, 0.5).per_day(), 1);
    assert!(!UnitBudget::new(20, 0.0).spend(minute(0)));
    let mut budget = UnitBudget::new(2, 1.0);
    // Partitions are read in any order.
    assert!(budget.spend(minute(600)) && budget.spend(minute(0)));
    assert!(!budget.spend(minute(300)) && !budget.spend(minute(1_000)));
    assert!(budget.spend(minute(24 * 60)), "the first is a day ago");
}

#[test]
fn records_survive_their_way_through_json() {
    let record: AlertRecord =
        codec().decode(&value(&event(1, 0, 0, Mode::Passive))).expect("an alert");
    let notice = notice(&event(1, 0, 0, Mode::Passive));
    let again: AlertRecord =
        serde_json::from_value(notice.json()["alert"].clone()).expect("a record");
    assert_eq!(again, record);
}

//! What senders are told while the log cannot be written, and what is there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nowcxr::edge::{self, Desk, Language, LocalSink, Outgoing, Sink};
use nowcxr::http::access::Access;
use nowcxr::ids::Topic;
use nowcxr::ports::PortError;
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::time::{EventTime, WallTime};

use super::fhir_site::{Site, encounter, observation, patient};
use super::world::{config, facts, log, secret};

/// A sink that takes nothing while it is told to.
struct Full {
    sink: LocalSink,
    is_full: Arc<AtomicBool>,
}

impl Sink for Full {
    fn send(&mut self, records: &[Outgoing], now: WallTime) -> Result<(), PortError> {
        match self.is_full.load(Ordering::Acquire) {
            true => Err(PortError::Retry("the test's disk is full".into())),
            false => self.sink.send(records, now),
        }
    }

    fn mark(
        &mut self,
        time: EventTime,
        marks: &[(Topic, Vec<u8>)],
        now: WallTime,
    ) -> Result<(), PortError> {
        self.sink.mark(time, marks, now)
    }
}

#[test]
fn a_sender_is_told_to_come_again_and_nothing_is_taken_twice() {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let is_full = Arc::new(AtomicBool::new(false));
    let sink = LocalSink::open(&log, None).unwrap();
    let sink = Full { sink, is_full: Arc::clone(&is_full) };
    let (store, _) = SledStore::open(dir.path().join("edge"), &StoreOptions::default()).unwrap();
    let desk: Desk<SledStore, Full> =
        edge::open(&[Language::Fhir], &config, secret(&config), store, sink).unwrap();
    let site = Site::start(desk, Access::Open);
    assert_eq!(site.put("/fhir/Patient/p1", &patient()).status, 200);
    assert_eq!(site.put("/fhir/Encounter/e1", &encounter("MICU")).status, 200);
    is_full.store(true, Ordering::Release);
    let heart = observation("h", 0, "8867-4", 88.0, "/min");
    let refused = site.put("/fhir/Observation/h", &heart);
    assert_eq!((refused.status, refused.issues()), (503, vec!["error transient".to_owned()]));
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
    assert!(facts(&config, &log, Topic::Vital).is_empty());
    is_full.store(false, Ordering::Release);
    let until = Instant::now() + Duration::from_secs(20);
    while facts(&config, &log, Topic::Vital).is_empty() {
        assert!(Instant::now() < until, "what was durable never went out");
        thread::sleep(Duration::from_millis(50));
    }
    let again = site.put("/fhir/Observation/h", &heart);
    assert_eq!((again.status, again.issues()), (200, vec!["information duplicate".to_owned()]));
    assert_eq!(facts(&config, &log, Topic::Vital).len(), 1);
    site.end();
}

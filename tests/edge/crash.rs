//! What is answered is there, and what is there is there once, whatever fails in between.

use std::cell::Cell;
use std::rc::Rc;

use nowcxr::config::HashKey;
use nowcxr::edge::{self, Desk, EdgeError, Language, LocalSink, Outgoing, Sink};
use nowcxr::ids::Topic;
use nowcxr::ports::PortError;
use nowcxr::store::memory::MemoryStore;
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::time::{EventTime, WallTime};

use super::world::{config, desk, facts, log, secret};

const NOW: WallTime = WallTime::from_millis(1_772_352_000_000);

/// A sink that refuses while it is told to, after it has taken what it was given or before.
struct Shaky {
    sink: LocalSink,
    refuses: Rc<Cell<Option<bool>>>,
}

impl Sink for Shaky {
    fn send(&mut self, records: &[Outgoing], now: WallTime) -> Result<(), PortError> {
        let refusal = || Err(PortError::Retry("the test's sink refuses".into()));
        match self.refuses.get() {
            Some(false) => refusal(),
            Some(true) => self.sink.send(records, now).and_then(|()| refusal()),
            None => self.sink.send(records, now),
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

fn admission(control: u32) -> Vec<u8> {
    let gap = "|".repeat(16);
    format!(
        "MSH|^~\\&|ADT|H|NCX|H|20260301075900||ADT^A01|{control}|P|2.4\rEVN||20260301075900\r\
         PID|||{control}^^^H^MR||||19570301|F\rPV1||I|MICU{gap}V{control}\r"
    )
    .into_bytes()
}

#[test]
fn a_crash_between_commit_and_topic_sends_once_more_and_says_once() {
    for has_taken in [false, true] {
        let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
        let log = log(dir.path());
        let refuses = Rc::new(Cell::new(None));
        let open = |store| {
            let sink = LocalSink::open(&log, None).unwrap();
            let sink = Shaky { sink, refuses: Rc::clone(&refuses) };
            edge::open(&[Language::Hl7], &config, secret(&config), store, sink).unwrap()
        };
        let mut desk: Desk<MemoryStore, Shaky> = open(MemoryStore::crashable());
        desk.take(&[admission(1)], NOW).unwrap();
        desk.settle(NOW).unwrap();
        refuses.set(Some(has_taken));
        desk.take(&[admission(2)], NOW).unwrap();
        assert!(matches!(desk.settle(NOW), Err(PortError::Retry(_))));
        // Nobody was answered; a further message is not taken before this one is settled.
        let further = desk.take(&[admission(3)], NOW);
        assert!(matches!(further, Err(EdgeError::Port(PortError::Retry(_)))));
        let store = desk.into_parts().store;
        refuses.set(None);
        let mut desk = open(store.crash().unwrap());
        desk.settle(NOW).unwrap();
        let again = desk.take(&[admission(2), admission(3)], NOW).unwrap();
        desk.settle(NOW).unwrap();
        assert!(again.iter().all(|answers| answers[0].contains("MSA|AA|")));
        let told = facts(&config, &log, Topic::Stay);
        assert_eq!(told.len(), 3, "{told:?}");
    }
}

#[test]
fn a_restart_remembers_who_is_who_and_what_was_taken() {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let mut first = desk(&config, dir.path(), &log);
    first.take(&[admission(1)], NOW).unwrap();
    first.settle(NOW).unwrap();
    let messages = first.counts().messages;
    drop(first);
    let mut second = desk(&config, dir.path(), &log);
    assert_eq!(second.counts().messages, messages);
    let gap = "|".repeat(16);
    let result = |control: &str, value: &str| {
        format!(
            "MSH|^~\\&|LIS|H|NCX|H|20260301075930||ORU^R01|{control}|P|2.4\rPID|||1^^^H^MR\r\
             PV1||I|MICU{gap}V1\rOBR|1||F1|X|||20260301075000\r\
             OBX|1|NM|GLU||{value}|mg/dL|||||F\r"
        )
        .into_bytes()
    };
    // The admission once more, a result, and another that has its control id by mistake.
    let batch = [admission(1), result("7", "97"), result("7", "97"), result("7", "98")];
    second.take(&batch, NOW).unwrap();
    second.settle(NOW).unwrap();
    assert_eq!(facts(&config, &log, Topic::Stay).len(), 1);
    let lab = facts(&config, &log, Topic::Lab);
    assert_eq!(lab.len(), 2, "{lab:?}");
    assert!(lab[1].contains("Corrected"), "the same result with another value: {}", lab[1]);
}

#[test]
fn another_secret_does_not_go_with_the_state() {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let mut first = desk(&config, dir.path(), &log);
    first.take(&[admission(1)], NOW).unwrap();
    first.settle(NOW).unwrap();
    drop(first);
    let (store, _) = SledStore::open(dir.path().join("edge"), &StoreOptions::default()).unwrap();
    let sink = LocalSink::open(&log, None).unwrap();
    let other = HashKey::new("another secret of the tests").unwrap();
    let refused = edge::open(&[Language::Hl7], &config, &other, store, sink).err().unwrap();
    assert!(refused.to_string().contains("edge.secret"), "{refused}");
}

#[test]
fn an_edge_needs_feeds_and_known_codes() {
    let refused = |more: &[&str]| {
        let config = config(more);
        let dir = tempfile::tempdir().unwrap();
        let sink = LocalSink::open(&log(dir.path()), None).unwrap();
        let opened =
            edge::open(&[Language::Hl7], &config, secret(&config), MemoryStore::new(), sink);
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused(&["edge.codes={ X = \"nonsense\" }"]).contains("nonsense"));
    assert!(refused(&[r#"feeds.list=[{name="stay",topic="stay"}]"#]).contains("feeds.list"));
    assert_eq!(refused(&[]), "");
}

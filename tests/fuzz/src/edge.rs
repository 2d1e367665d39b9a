//! An edge in memory: what a sender of messages is answered, and which records go out.

use std::cell::RefCell;
use std::sync::LazyLock;

use nowcxr::config::Config;
use nowcxr::edge::{self, Channel, Desk, Language, Message, Outgoing, Parts, Sink};
use nowcxr::engine::resolve::{ResolveConfig, Resolver, Units};
use nowcxr::event::Reason;
use nowcxr::event::dictionary::Dictionary;
use nowcxr::ids::Topic;
use nowcxr::ports::PortError;
use nowcxr::store::memory::MemoryStore;
use nowcxr::time::{EventTime, WallTime};
use nowcxr::wire::records::{ImagingEvent, LabEvent, StayEventRecord, VitalEvent};
use nowcxr::wire::{Codec, DeadLetter, Decoded, Record};

use crate::fhir::resources::MORNING;

const MINUTE: i64 = 60_000;
/// When an edge looks for what waited too long, in minutes behind the last message: within what
/// waits, and when nothing waits any more.
const LATER: [i64; 3] = [60, 30 * 60, 3 * 24 * 60];
/// Characters of a dead letter's detail. Words of the sender's are quoted in part only.
const MAX_DETAIL: usize = 500;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let flags = [
        "edge.secret=a secret of the fuzz targets",
        "edge.units=[\"MICU\", \"SICU\"]",
        "edge.codes={ GLU = \"glucose\", CRT = \"capillary_refill\" }",
        "edge.time_zone=Europe/Berlin",
    ];
    Config::load(None, [], &flags.map(str::to_owned)).expect("the configuration is sound")
});

thread_local! {
    /// What every desk works with: the schemas take longer to read than most inputs.
    static PARTS: RefCell<Option<Parts<MemoryStore, Topics>>> = const { RefCell::new(None) };
    static CODEC: Codec = codec();
}

/// Reads what the edge writes.
fn codec() -> Codec {
    let dictionary = Dictionary::builtin(CONFIG.profile).expect("the dictionary is sound");
    Codec::new(&CONFIG.engine.feeds, dictionary).expect("the schemas are sound")
}

/// Topics in memory.
#[derive(Default)]
struct Topics(Vec<Outgoing>);

impl Sink for Topics {
    /// As every way out, this one has no record twice: one that begins anew sends again.
    fn send(&mut self, records: &[Outgoing], _: WallTime) -> Result<(), PortError> {
        let last = self.0.last().map_or(0, |record| record.number);
        self.0.extend(records.iter().filter(|record| record.number > last).cloned());
        Ok(())
    }

    fn mark(&mut self, _: EventTime, _: &[(Topic, Vec<u8>)], _: WallTime) -> Result<(), PortError> {
        Ok(())
    }
}

/// A desk that has heard nothing yet, and its clock.
pub struct Edge {
    desk: Desk<MemoryStore, Topics>,
    now: i64,
}

impl Edge {
    /// # Panics
    /// If the edge cannot be opened: that is a finding.
    pub fn open() -> Self {
        let parts = PARTS.take().unwrap_or_else(|| {
            let languages = [Language::Hl7, Language::Fhir, Language::Dicom];
            let secret = CONFIG.edge.secret.as_ref().expect("it is configured");
            let (store, topics) = (MemoryStore::new(), Topics::default());
            edge::open(&languages, &CONFIG, secret, store, topics).expect("it opens").into_parts()
        });
        let parts = Parts { store: MemoryStore::new(), sink: Topics::default(), ..parts };
        Edge { desk: opened(parts), now: MORNING }
    }

    /// What a message is answered. The next one comes a minute later.
    pub fn take<M: Message>(&mut self, message: &M) -> M::Answer {
        let now = WallTime::from_millis(self.now);
        let message = std::slice::from_ref(message);
        let answer = self.desk.take(message, now).expect("memory takes it").remove(0);
        self.desk.settle(now).expect("memory takes it");
        self.now += MINUTE;
        answer
    }

    /// Stops, and begins again from its store.
    pub fn restart(self) -> Self {
        let parts = self.desk.into_parts();
        let store = parts.store.restart().expect("a store of whole commits");
        Edge { desk: opened(Parts { store, ..parts }), now: self.now }
    }

    /// Lets time pass, until nothing waits any more.
    pub fn wait(&mut self) {
        for minutes in LATER {
            let now = WallTime::from_millis(self.now + minutes * MINUTE);
            self.desk.tick(now).expect("memory takes it");
        }
    }

    /// Records that went out so far.
    pub fn count(&self) -> usize {
        self.desk.parts().sink.0.len()
    }

    /// What went out.
    pub fn end(self) -> Vec<Outgoing> {
        let mut parts = self.desk.into_parts();
        let sent = std::mem::take(&mut parts.sink.0);
        PARTS.set(Some(parts));
        sent
    }
}

fn opened(parts: Parts<MemoryStore, Topics>) -> Desk<MemoryStore, Topics> {
    let engine = &CONFIG.engine;
    let resolver = Resolver::new(ResolveConfig {
        units: Units(CONFIG.edge.units.clone()),
        lookback: engine.lookback,
        grace: engine.grace,
        keep: engine.keep,
    });
    Desk::open(Parts { resolver, ..parts }).expect("the state can be read")
}

/// What messages are answered, and which records go out, checked: a fresh edge says the same again,
/// also one that begins anew after each message, and messages that come again change nothing.
pub fn heard<M: Message>(messages: &[M]) -> (Vec<M::Answer>, Vec<Outgoing>)
where
    M::Answer: PartialEq + std::fmt::Debug,
{
    let mut edge = Edge::open();
    let answers: Vec<M::Answer> = messages.iter().map(|message| edge.take(message)).collect();
    edge.wait();
    let n = edge.count();
    messages.iter().for_each(|message| drop(edge.take(message)));
    assert_eq!(edge.count(), n, "messages that were known led to records");
    let sent = edge.end();
    let mut again = Edge::open();
    for (message, answer) in messages.iter().zip(&answers) {
        assert_eq!(again.take(message), *answer, "another answer after a restart");
        again = again.restart();
    }
    again.wait();
    // A refusal is remembered until the edge stops, so there may be more dead letters.
    assert_eq!(facts(&sent), facts(&again.end()), "other records after a restart");
    sent.iter().for_each(readable);
    (answers, sent)
}

/// Topic, key and value of records that are no dead letters.
fn facts(sent: &[Outgoing]) -> Vec<(Topic, &Option<String>, &[u8])> {
    let fact = |record: &'_ Outgoing| match record.channel {
        Channel::Input(topic) => Some(topic),
        Channel::DeadLetter => None,
    };
    sent.iter().filter_map(|one| Some((fact(one)?, &one.key, one.value.as_slice()))).collect()
}

/// Whoever reads a record of the edge can: it may refuse a value, and nothing else.
pub fn readable(record: &Outgoing) {
    let topic = match record.channel {
        Channel::Input(topic) => topic,
        Channel::DeadLetter => {
            let letter: DeadLetter = same(&record.value);
            let detail = letter.detail.chars().count();
            assert!(detail <= MAX_DETAIL, "a detail of {detail} characters: {}", letter.detail);
            return;
        }
    };
    match topic {
        Topic::Lab => drop(same::<LabEvent>(&record.value)),
        Topic::Vital => drop(same::<VitalEvent>(&record.value)),
        Topic::Imaging => drop(same::<ImagingEvent>(&record.value)),
        Topic::Stay => drop(same::<StayEventRecord>(&record.value)),
        Topic::Acknowledgement => panic!("no edge writes these"),
    }
    let key = record.key.as_deref().expect("a fact has its stay as key");
    match decoded(topic, record) {
        Ok(Decoded::Fact(fact)) => assert_eq!(Codec::key(fact.stay), key),
        Ok(Decoded::Film { meta, .. }) => assert_eq!(Codec::key(meta.stay), key),
        Ok(Decoded::Mark(mark)) => panic!("{mark:?} where a fact belongs"),
        Err(rejection) => {
            let ours = [Reason::Undecodable, Reason::MissingKey, Reason::UnknownFeed];
            assert!(!ours.contains(&rejection.reason), "{rejection}");
        }
    }
}

/// A record of the edge, as its reader decodes it.
pub fn decoded(topic: Topic, record: &Outgoing) -> Result<Decoded, nowcxr::event::Rejection> {
    let key = record.key.as_deref().map(str::as_bytes);
    CODEC.with(|codec| codec.decode_input(topic, key, &record.value))
}

/// A record whose bytes are those that it is written as.
fn same<R: Record>(bytes: &[u8]) -> R {
    CODEC.with(|codec| {
        let record: R = codec.decode(bytes).expect("the edge writes whole records");
        assert_eq!(codec.encode(&record).expect("it was written before"), bytes);
        record
    })
}

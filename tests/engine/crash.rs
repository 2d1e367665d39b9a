//! A crash at any call to the outside, then a resume, equals no crash: the loop is run over the
//! memory twin of the store, and every port can fail before or after it has done its work.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nowcxr::config::{EngineConfig, ErrorHandlers};
use nowcxr::drive::{Drive, DriveError, DriveOptions, Outbox, Ports};
use nowcxr::engine::Task;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::event::risk::Probability;
use nowcxr::event::{Disposition, FactBody, Sex, StayEvent};
use nowcxr::ids::{Digest, FactId, Origin, Position, Topic};
use nowcxr::ports::{
    Answer, Commit, Held, Journal, JournalRecord, Opened, Outcome, Outlet, Output, OutputKind,
    PortError, PredictionRequest, Predictor, Source, SourceRecord, StateStore,
};
use nowcxr::store::memory::MemoryStore;
use nowcxr::time::{EventTime, Span, WallTime};
use nowcxr::wire::records::{
    Admit, CodeSystem, Discharge, MarkRecord, ObservationStatus, RecordedValue, StayChange,
    StayEventRecord, VitalEvent,
};
use nowcxr::wire::{Codec, JournalInput};

mod handlers;
mod unmarked;

use crate::support::{Record, identity, scores};
use crate::workload::{Faults, ward};

const WARDS: u64 = 12;
const CRASHES_PER_WARD: u64 = 40;

/// Counts down the calls to the outside; at zero the call fails, before or after its work.
#[derive(Clone, Default)]
struct Fuse(Rc<RefCell<Option<u64>>>);

impl Fuse {
    fn burn(&self) -> Result<(), PortError> {
        match self.0.borrow_mut().as_mut() {
            None => Ok(()),
            Some(0) => Err(PortError::Reopen("the test's crash".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// What survives a crash.
#[derive(Clone, Default)]
struct World {
    fuse: Fuse,
    records: Rc<Vec<SourceRecord>>,
    store: Rc<RefCell<Option<MemoryStore>>>,
    outputs: Rc<RefCell<Vec<Output>>>,
    journal: Rc<RefCell<Vec<JournalRecord>>>,
    /// Deadline and feed timeout; so short that it depends on the machine when they pass.
    haste: Option<Duration>,
    config: EngineConfig,
    errors: ErrorHandlers,
    /// Questions that were put to the model.
    n_asked: Rc<Cell<u64>>,
}

struct Log {
    records: Rc<Vec<SourceRecord>>,
    next: usize,
}

impl Source for Log {
    fn fetch(
        &mut self,
        _max: usize,
        _wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError> {
        // Small batches, so that commits fall between the records.
        let to = (self.next + 7).min(self.records.len());
        into.extend_from_slice(&self.records[self.next..to]);
        self.next = to;
        Ok(())
    }

    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError> {
        let read = |record: &&SourceRecord| {
            let origin = record.origin;
            positions.iter().any(|p| p.topic == origin.topic && origin.offset < p.next)
        };
        self.next = self.records.iter().take_while(read).count();
        Ok(())
    }
}

struct Store {
    inner: Option<MemoryStore>,
    opened: Opened,
    world: World,
}

impl Store {
    fn inner(&mut self) -> &mut MemoryStore {
        self.inner.as_mut().unwrap()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        *self.world.store.borrow_mut() = self.inner.take();
    }
}

impl StateStore for Store {
    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), PortError> {
        self.inner.as_ref().unwrap().scan(prefix, visit)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, PortError> {
        self.inner.as_ref().unwrap().get(key)
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), PortError> {
        self.world.fuse.burn()?;
        self.inner().commit(commit)?;
        self.world.fuse.burn()
    }

    fn restore(&mut self, piece: &Commit) -> Result<(), PortError> {
        self.inner().restore(piece)
    }

    fn flush(&mut self) -> Result<(), PortError> {
        self.world.fuse.burn()?;
        self.inner().flush()?;
        self.world.fuse.burn()
    }

    fn sent(&mut self, number: u64) {
        self.inner().sent(number);
    }
}

struct Out(World);

impl Outlet for Out {
    fn last_number(&self) -> u64 {
        self.0.outputs.borrow().last().map_or(0, |output| output.number)
    }

    fn held(&self) -> Result<Held, PortError> {
        let outputs = self.0.outputs.borrow();
        Ok(Held {
            payloads: outputs.iter().map(|output| Digest::of(&output.payload)).collect(),
            newest_envelope: outputs.last().map(|output| output.envelope.clone()),
        })
    }

    fn send(&mut self, outputs: &[Output]) -> Result<(), PortError> {
        for output in outputs {
            self.0.fuse.burn()?;
            if output.number > self.last_number() {
                self.0.outputs.borrow_mut().push(output.clone());
            }
        }
        self.0.fuse.burn()
    }
}

struct Diary(World);

impl Journal for Diary {
    fn append(&mut self, records: &[JournalRecord]) -> Result<(), PortError> {
        self.0.fuse.burn()?;
        self.0.journal.borrow_mut().extend_from_slice(records);
        self.0.fuse.burn()
    }

    fn read(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), PortError> {
        self.0.journal.borrow().iter().cloned().for_each(visit);
        Ok(())
    }
}

/// Answers from the request alone, newest question first, two at a time.
struct Oracle(VecDeque<PredictionRequest>, Rc<Cell<u64>>);

impl Predictor for Oracle {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        if self.0.len() >= 2 {
            return Err(Box::new(request));
        }
        self.0.push_front(request);
        self.1.set(self.1.get() + 1);
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Option<Answer> {
        let request = self.0.pop_front()?;
        let sum: f64 = request.rows.iter().map(|row| row.value).sum();
        let mortality = Probability::new((sum.abs() % 97.0 / 97.0) as f32).unwrap();
        let outcome = Outcome::Scored(scores(mortality));
        Some(Answer { ticket: request.ticket, epoch: request.epoch, outcome })
    }

    fn pending(&self) -> usize {
        self.0.len()
    }
}

type TestDrive = Drive<Log, Store, Outbox<Out, Diary>, Oracle>;

impl World {
    fn of(seed: u64) -> Self {
        let codec = codec();
        let mut offset = 0;
        let mut records = Vec::new();
        let ward = ward(seed, &Faults::ALL);
        // Everything is appended as soon as it is available, and behind what was appended before.
        let mut appended = WallTime::from_millis(0);
        let n_segments = ward.feeds.iter().map(|(_, segments)| segments.len()).max().unwrap();
        for index in 0..n_segments {
            for (topic, segments) in &ward.feeds {
                let mut push = |key: Option<String>, value: Vec<u8>, at: EventTime| {
                    let origin = Origin { topic: *topic, partition: 0, offset };
                    offset += 1;
                    if at < EventTime::MAX {
                        appended = appended.max(WallTime::from_millis(at.as_millis()));
                    }
                    let (key, value) = (key.map(Bytes::from), Bytes::from(value));
                    records.push(SourceRecord { origin, key, value, appended_at: Some(appended) });
                };
                for record in &segments[index].records {
                    if let Some(value) = encode(&codec, record) {
                        let at = shifted(record.fact.available_at);
                        push(Some(Codec::key(record.fact.stay)), value, at);
                    }
                }
                let time = shifted(segments[index].mark);
                let mark = MarkRecord { feed: topic.name().into(), time };
                push(None, codec.encode(&mark).unwrap(), time);
            }
        }
        let store = Rc::new(RefCell::new(Some(MemoryStore::crashable())));
        World { records: Rc::new(records), store, ..World::default() }
    }

    fn open(&self) -> Result<TestDrive, DriveError> {
        let store = self.store.borrow_mut().take().unwrap().crash().unwrap();
        let opened = store.opened().clone();
        let store = Store { inner: Some(store), opened, world: self.clone() };
        let ports = Ports {
            source: Log { records: Rc::clone(&self.records), next: 0 },
            store,
            committer: Outbox { outlet: Out(self.clone()), journal: Diary(self.clone()) },
            predictor: Oracle(VecDeque::new(), Rc::clone(&self.n_asked)),
        };
        let options = DriveOptions {
            commit_every: Duration::ZERO,
            idle_wait: Duration::ZERO,
            deadline: self.haste,
            feed_timeout: self.haste,
            errors: self.errors,
            ..DriveOptions::default()
        };
        let task = Task::new(self.config.clone(), identity());
        Drive::open(ports, task, codec(), options, || WallTime::from_millis(0))
    }

    /// Runs to the end of the input; a crash ends it early.
    fn run(&self) -> Result<(), DriveError> {
        let mut drive = self.open()?;
        while !drive.turn()?.idle() {}
        drive.finish()
    }

    fn payloads(&self) -> Vec<(OutputKind, Vec<u8>)> {
        let outputs = self.outputs.borrow();
        let mut payloads: Vec<_> =
            outputs.iter().map(|output| (output.kind, output.payload.clone())).collect();
        payloads.sort();
        payloads
    }
}

/// The wire takes no times of 1970, where the workload begins.
fn shifted(at: EventTime) -> EventTime {
    at + Span::hours(24 * 365 * 40)
}

fn codec() -> Codec {
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    Codec::new(&EngineConfig::default().feeds, dictionary).unwrap()
}

/// Observations and stay events as records; films are left out.
fn encode(codec: &Codec, record: &Record) -> Option<Vec<u8>> {
    let fact = &record.fact;
    let feed = record.topic.name().to_owned();
    let (observed_at, available_at) = (shifted(fact.observed_at), shifted(fact.available_at));
    let measured = |value, status, replaces: Option<FactId>| VitalEvent {
        event_id: fact.id,
        stay_id: fact.stay,
        feed: feed.clone(),
        // Heart rate: the workload's numbers from 1 to 200 are plausible for it.
        code_system: CodeSystem::Loinc,
        code: "8867-4".into(),
        value,
        unit: Some("/min".into()),
        observed_at,
        available_at,
        status,
        replaces,
    };
    let event = match &fact.body {
        FactBody::Observed(o) => {
            measured(RecordedValue::Number(o.value()), ObservationStatus::Final, None)
        }
        FactBody::Corrected { replaces, observation } => {
            let value = RecordedValue::Number(observation.value());
            measured(value, ObservationStatus::Corrected, Some(*replaces))
        }
        FactBody::Retracted { fact } => {
            measured(RecordedValue::Missing, ObservationStatus::EnteredInError, Some(*fact))
        }
        FactBody::Filmed(_) | FactBody::FilmCorrected { .. } | FactBody::Acted(_) => return None,
        FactBody::Stay(change) => {
            let change = match change {
                StayEvent::Admitted(a) => StayChange::Admit(Admit {
                    age_years: i32::from(a.age_years),
                    sex: Sex::Female,
                    unit: a.unit.clone(),
                }),
                _ => StayChange::Discharge(Discharge { disposition: Disposition::Alive }),
            };
            let record = StayEventRecord {
                event_id: fact.id,
                stay_id: fact.stay,
                feed,
                observed_at,
                available_at,
                change,
                status: ObservationStatus::Final,
                replaces: None,
            };
            return Some(codec.encode(&record).unwrap());
        }
    };
    if record.topic == Topic::Vital {
        return Some(codec.encode(&event).unwrap());
    }
    Some(codec.encode(&lab(event)).unwrap())
}

fn lab(event: VitalEvent) -> nowcxr::wire::records::LabEvent {
    nowcxr::wire::records::LabEvent {
        event_id: event.event_id,
        stay_id: event.stay_id,
        feed: event.feed,
        code_system: event.code_system,
        code: event.code,
        value: event.value,
        unit: event.unit,
        observed_at: event.observed_at,
        available_at: event.available_at,
        status: event.status,
        replaces: event.replaces,
        specimen: None,
    }
}

#[test]
fn a_crash_at_any_call_then_a_resume_equals_no_crash() {
    println!("wards 0..{WARDS}, crashes at {CRASHES_PER_WARD} calls of each");
    let (mut n_crashes, mut n_events) = (0, 0);
    for seed in 0..WARDS {
        let calm = World::of(seed);
        calm.run().unwrap();
        let expected = calm.payloads();
        n_events += expected.len();
        for crash in 0..CRASHES_PER_WARD {
            let world = World::of(seed);
            // Spread over the run, and twice: the resume may crash too.
            for fuse in [crash * 13 + seed, crash * 7 + 3] {
                *world.fuse.0.borrow_mut() = Some(fuse);
                n_crashes += u64::from(world.run().is_err());
            }
            *world.fuse.0.borrow_mut() = None;
            world.run().unwrap();
            assert_eq!(world.payloads(), expected, "ward {seed}, crash {crash}");
        }
    }
    assert!(n_crashes > 300, "only {n_crashes} runs crashed");
    assert!(n_events > 200, "only {n_events} outputs were compared");
}

#[test]
fn derived_marks_and_deadlines_are_rebuilt_as_they_fell() {
    let haste = Duration::from_micros(300);
    println!("wards 0..{WARDS}, deadline and feed timeout {haste:?}");
    let (mut n_events, mut n_derived, mut n_overdue) = (0, 0, 0);
    for seed in 0..WARDS {
        let world = World { haste: Some(haste), ..World::of(seed) };
        // One feed never speaks of its progress, and some answers come too late.
        let marks = |r: &SourceRecord| r.key.is_none() && r.origin.topic == Topic::Lab;
        let spoken: Vec<SourceRecord> =
            world.records.iter().filter(|r| !marks(r)).cloned().collect();
        let world = World { records: Rc::new(spoken), ..world };
        world.run().unwrap();
        let expected = world.payloads();
        let codec = codec();
        for record in world.journal.borrow().iter() {
            match codec.decode_journal(&record.input).unwrap().1 {
                JournalInput::DerivedMark(_) => n_derived += 1,
                JournalInput::Deadline(_) => n_overdue += 1,
                _ => {}
            }
        }
        n_events += expected.len();

        // The same inputs and journal, another machine: no state, no haste, nobody to ask.
        let journal = world.journal.borrow().clone();
        let rebuilt = World {
            records: Rc::clone(&world.records),
            store: Rc::new(RefCell::new(Some(MemoryStore::crashable()))),
            journal: Rc::new(RefCell::new(journal)),
            ..World::default()
        };
        rebuilt.run().unwrap();
        let payloads = rebuilt.payloads();
        let n_new = payloads.iter().filter(|payload| !expected.contains(payload)).count();
        assert!(payloads == expected, "ward {seed}: {n_new} of {} differ", payloads.len());
        assert_eq!(rebuilt.n_asked.get(), 0, "ward {seed}: a window was predicted twice");
        assert_eq!(rebuilt.journal.borrow().len(), world.journal.borrow().len());
    }
    println!("{n_events} outputs, {n_derived} derived marks, {n_overdue} deadlines");
    assert!(n_events > 100 && n_derived > 20, "{n_events} outputs, {n_derived} derived marks");
}

#[test]
fn a_lost_store_is_rebuilt_from_input_and_journal_without_a_second_event_or_prediction() {
    let mut n_rebuilt = 0;
    for seed in 0..WARDS {
        let calm = World::of(seed);
        calm.run().unwrap();
        let expected = calm.payloads();
        for crash in [17 + seed, 60, 150 + 3 * seed, u64::MAX] {
            let world = World::of(seed);
            *world.fuse.0.borrow_mut() = Some(crash);
            let crashed = world.run().is_err();
            *world.fuse.0.borrow_mut() = None;
            *world.store.borrow_mut() = Some(MemoryStore::crashable());
            let n_answers = world.journal.borrow().len();
            world.run().unwrap();
            assert_eq!(world.payloads(), expected, "ward {seed}, crash {crash}");
            if !crashed {
                assert_eq!(world.journal.borrow().len(), n_answers, "ward {seed} asked again");
            }
            n_rebuilt += 1;
        }
    }
    assert_eq!(n_rebuilt, 4 * WARDS);
}

//! The judge: from a task's input and journal alone it counts out what must have left, by the
//! rules of the design and without the engine. Of the engine's module it uses data types, and the
//! alert policy of one stay, of which `tests/alerts` is the judge: here it is judged that it hears
//! of everything, at the right moment and in the right order.
//!
//! Between two journalled inputs the topics may be read in any order; the judge reads them one
//! after the other, which no run does, so it also judges that the order cannot be seen.

mod stay;
mod verdict;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use nowcxr::config::EngineConfig;
use nowcxr::engine::{Identity, PredictionRequest, View};
use nowcxr::event::alert::AlertEvent;
use nowcxr::event::risk::RiskEvent;
use nowcxr::event::{Mark, Reason};
use nowcxr::ids::{Digest, FeedId, Origin, Position, StayId, Ticket, Topic};
use nowcxr::time::EventTime;
use nowcxr::wire::JournalInput;

use crate::ward::{Logged, Truth};
use stay::{Desk, Pending, Stay};
pub use verdict::{Found, judge};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Used,
    Late,
    Duplicate,
    Shadow,
    Rejected(Reason),
}

/// One thing that must leave.
#[derive(Clone, Debug)]
pub enum Said {
    Risk(Box<RiskEvent>),
    View(Box<View>),
    Alert(Box<AlertEvent>),
    Letter { origin: Origin, stay: Option<StayId>, reason: Reason, raw: Option<Rc<Logged>> },
}

impl Said {
    fn letter(o: Origin, stay: Option<StayId>, reason: Reason, raw: Option<Rc<Logged>>) -> Self {
        Said::Letter { origin: o, stay, reason, raw }
    }
}

/// What a task has read and what it has noted: all that the judge is given.
pub struct Evidence<'a> {
    pub config: &'a EngineConfig,
    pub identity: &'a Identity,
    pub partition: u32,
    /// Of each topic the records that count, by offset.
    pub input: BTreeMap<Topic, Vec<(u64, Rc<Logged>)>>,
    pub journal: Vec<(Vec<Position>, JournalInput)>,
}

/// What must have come of it.
#[derive(Default)]
pub struct Expected {
    pub said: Vec<Said>,
    pub fates: Vec<(Origin, Fate)>,
    pub questions: BTreeMap<Ticket, PredictionRequest>,
    pub ended: u64,
    pub expired: u64,
    /// The film that each question must be asked with.
    pub films: BTreeMap<Ticket, Digest>,
}

/// One raise of a feed's mark: up to when, and whether the driver made it.
type Raise = (EventTime, bool);

struct Court<'a> {
    evidence: &'a Evidence<'a>,
    raises: Vec<Vec<Raise>>,
    stays: BTreeMap<StayId, Stay>,
    expected: Expected,
    /// Records taken of each topic.
    taken: BTreeMap<Topic, usize>,
}

impl Evidence<'_> {
    pub fn expected(&self) -> Expected {
        let mut court = Court {
            evidence: self,
            raises: vec![Vec::new(); self.config.feeds.len()],
            stays: BTreeMap::new(),
            expected: Expected::default(),
            taken: BTreeMap::new(),
        };
        for (after, input) in &self.journal {
            for topic in Topic::ALL {
                let at = after.iter().find(|p| p.topic == topic).map_or(0, |p| p.next);
                court.read(topic, at);
            }
            court.take_journalled(input);
        }
        for topic in Topic::ALL {
            court.read(topic, u64::MAX);
        }
        court.expected
    }
}

impl Court<'_> {
    /// Takes the records of a topic that stand before offset `until`.
    fn read(&mut self, topic: Topic, until: u64) {
        let records = self.evidence.input.get(&topic).map_or(&[][..], Vec::as_slice);
        let mut taken = self.taken.get(&topic).copied().unwrap_or_default();
        while let Some((offset, logged)) = records.get(taken).filter(|(o, _)| *o < until) {
            let origin = Origin { topic, partition: self.evidence.partition, offset: *offset };
            self.take(origin, logged);
            taken += 1;
        }
        self.taken.insert(topic, taken);
    }

    fn take(&mut self, origin: Origin, logged: &Rc<Logged>) {
        let speaks_of = match &logged.truth {
            Truth::Mark(mark) if mark.time != EventTime::MAX => Some(mark.time),
            Truth::Fact(fact) => Some(fact.available_at),
            _ => None,
        };
        let latest = logged.appended_at.as_millis() + self.evidence.config.max_future.as_millis();
        if speaks_of.is_some_and(|time| time.as_millis() > latest) {
            return self.broken(origin, Reason::Future, logged);
        }
        match &logged.truth {
            Truth::Mark(mark) => self.raise(*mark, false),
            Truth::Broken(reason) => self.broken(origin, *reason, logged),
            Truth::Fact(fact) => {
                let mark = self.mark_of(fact.feed);
                let passed_by = (mark >= fact.available_at).then_some(mark);
                let after = |mark: EventTime| mark + nowcxr::time::Span::from_millis(1);
                let effective = passed_by.map_or(fact.available_at, after);
                let pending = Pending { effective, fact: fact.clone(), origin, passed_by };
                let stay = self.stays.entry(fact.stay).or_insert_with(|| Stay::new(fact.stay));
                stay.pending.push(pending);
                self.advance();
            }
        }
    }

    fn broken(&mut self, origin: Origin, reason: Reason, logged: &Rc<Logged>) {
        self.expected.fates.push((origin, Fate::Rejected(reason)));
        self.expected.said.push(Said::letter(origin, None, reason, Some(Rc::clone(logged))));
    }

    fn mark_of(&self, feed: FeedId) -> EventTime {
        let raises = &self.raises[usize::from(feed.0)];
        raises.last().map_or(EventTime::MIN, |(time, _)| *time)
    }

    fn raise(&mut self, mark: Mark, derived: bool) {
        if mark.time > self.mark_of(mark.feed) {
            self.raises[usize::from(mark.feed.0)].push((mark.time, derived));
            self.advance();
        }
    }

    fn take_journalled(&mut self, input: &JournalInput) {
        match input {
            JournalInput::DerivedMark(mark) => {
                // No window holds what people did, so it is not missing without it.
                let feed = &self.evidence.config.feeds[usize::from(mark.feed.0)];
                self.raise(*mark, !feed.topic.is_of_people());
            }
            JournalInput::Mark(mark) => {
                assert!(self.evidence.config.feeds[usize::from(mark.feed.0)].lateness.is_some());
                self.raise(*mark, false);
            }
            JournalInput::Answer(answer) if answer.epoch == self.evidence.identity.epoch => {
                self.on(answer.ticket.stay, |stay, desk| stay.answer(answer, desk));
            }
            JournalInput::Answer(_) => {}
            JournalInput::Deadline(ticket) => {
                self.on(ticket.stay, |stay, desk| stay.deadline(*ticket, desk));
            }
            other => panic!("nobody journals {other:?} here"),
        }
        self.advance();
    }

    fn advance(&mut self) {
        let ids: Vec<StayId> = self.stays.keys().copied().collect();
        for id in ids {
            let mut lives = true;
            self.on(id, |stay, desk| lives = stay.advance(desk));
            if !lives {
                self.stays.remove(&id);
            }
        }
    }

    fn on(&mut self, id: StayId, act: impl FnOnce(&mut Stay, &mut Desk<'_>)) {
        let Some(stay) = self.stays.get_mut(&id) else { return };
        let (raises, config) = (&self.raises, self.evidence.config);
        let watermark = raises.iter().map(|raises| raises.last().map_or(EventTime::MIN, |r| r.0));
        let missing = |at: EventTime| missing(raises, config, at);
        act(
            stay,
            &mut Desk {
                config,
                identity: self.evidence.identity,
                watermark: watermark.min().unwrap_or(EventTime::MIN),
                missing: &missing,
                said: &mut self.expected.said,
                fates: &mut self.expected.fates,
                questions: &mut self.expected.questions,
                films: &mut self.expected.films,
                ended: &mut self.expected.ended,
                expired: &mut self.expected.expired,
            },
        );
    }
}

/// A feed is missing at a moment if what first promised that moment was not the feed itself.
fn missing(raises: &[Vec<Raise>], config: &EngineConfig, at: EventTime) -> Vec<String> {
    let is_missing = |raises: &&Vec<Raise>| {
        raises.iter().find(|(time, _)| *time >= at).is_some_and(|(_, derived)| *derived)
    };
    let feeds = raises.iter().zip(&config.feeds).filter(|(raises, _)| is_missing(raises));
    feeds.map(|(_, feed)| feed.name.clone()).collect()
}

/// The fates as they are counted.
pub fn counted(fates: &[(Origin, Fate)]) -> BTreeMap<(Topic, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for (origin, fate) in fates {
        let name = match fate {
            Fate::Used => "used",
            Fate::Late => "late",
            Fate::Duplicate => "duplicate",
            Fate::Shadow => "shadow",
            Fate::Rejected(_) => "rejected",
        };
        *counts.entry((origin.topic, name)).or_default() += 1;
    }
    counts
}

/// Whether every record has exactly one fate.
pub fn each_once(fates: &[(Origin, Fate)]) -> bool {
    fates.iter().map(|(origin, _)| origin).collect::<BTreeSet<_>>().len() == fates.len()
}

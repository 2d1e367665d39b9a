//! A hospital that speaks HL7 v2 to an edge over a local log, minute by minute.

use std::sync::Arc;

use nowcxr::config::Config;
use nowcxr::drive::DriveOptions;
use nowcxr::ids::Topic;
use nowcxr::predict::Worker;
use nowcxr::store::memory::MemoryStore;
use nowcxr::time::{EventTime, Span};
use nowcxr::transport::local::{LocalLog, NewRecord};
use nowcxr::wire::{RiskRecord, RiskStatus};

use super::world::{self, LocalDesk, LocalDrive, wall};

/// 2026-03-01, in minutes after midnight UTC.
pub fn at(minute: i64) -> EventTime {
    EventTime::from_millis(1_772_323_200_000) + Span::minutes(minute)
}

/// The same as HL7 writes it.
pub fn stamp(minute: i64) -> String {
    let digits: String = at(minute).to_string().chars().filter(char::is_ascii_digit).collect();
    format!("{}+0000", &digits[..14])
}

/// An order with its results: when it was drawn, when it was reported, and the section that
/// reports it.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub number: &'a str,
    pub drawn: i64,
    pub reported: i64,
    pub section: &'a str,
}

impl<'a> Order<'a> {
    /// Drawn ten minutes before it was reported, by a laboratory.
    pub fn new(number: &'a str, reported: i64) -> Self {
        Order { number, drawn: reported - 10, reported, section: "LAB" }
    }
}

pub struct Hospital {
    pub config: Config,
    pub log: Arc<LocalLog>,
    pub desk: LocalDesk,
    dir: tempfile::TempDir,
    sent: u32,
}

impl Hospital {
    pub fn new(more: &[&str]) -> Self {
        Hospital::with(more, world::desk)
    }

    /// One whose edge is put together by `open`.
    pub fn with(
        more: &[&str],
        open: impl FnOnce(&Config, &std::path::Path, &LocalLog) -> LocalDesk,
    ) -> Self {
        let (config, dir) = (world::config(more), tempfile::tempdir().unwrap());
        let log = world::log(dir.path());
        let desk = open(&config, dir.path(), &log);
        Hospital { config, log, desk, dir, sent: 0 }
    }

    /// The edge ends and begins again under another configuration, with what it knows.
    pub fn reopened(self, more: &[&str]) -> Self {
        let Hospital { log, dir, sent, desk, .. } = self;
        drop(desk);
        let config = world::config(more);
        let desk = world::desk(&config, dir.path(), &log);
        Hospital { config, log, desk, dir, sent }
    }

    /// Sends a message at this minute; the code of its answer.
    pub fn say(&mut self, minute: i64, text: &str) -> String {
        let message = text.as_bytes().to_vec();
        let answers = self.desk.take(&[message], wall(at(minute))).unwrap().remove(0);
        self.desk.settle(wall(at(minute))).unwrap();
        let code = answers[0].split("MSA|").nth(1).and_then(|rest| rest.split('|').next());
        code.unwrap_or("none").to_owned()
    }

    /// The head of a message, with a control id of its own.
    fn head(&mut self, minute: i64, kind: &str) -> String {
        self.sent += 1;
        format!("MSH|^~\\&|SYS|H|NCX|H|{}||{kind}|C{}|P|2.5\r", stamp(minute), self.sent)
    }

    /// An ADT message of patient `who` and visit `visit`.
    pub fn adt(&mut self, minute: i64, trigger: &str, who: u32, visit: &str, unit: &str) {
        let head = self.head(minute, &format!("ADT^{trigger}"));
        let evn = format!("EVN|{trigger}|{}\r", stamp(minute));
        let text = head + &evn + &patient(who, visit, unit);
        assert_eq!(self.say(minute, &text), "AA", "{text}");
    }

    pub fn admit(&mut self, minute: i64, who: u32) {
        self.adt(minute, "A01", who, &format!("V{who}"), "MICU");
    }

    pub fn discharge(&mut self, minute: i64, who: u32) {
        self.adt(minute, "A03", who, &format!("V{who}"), "MICU");
    }

    /// `prior` is patient `who`; where visits are named, the first goes on as the second.
    pub fn merge(&mut self, minute: i64, prior: u32, who: u32, visits: Option<(&str, &str)>) {
        let head = self.head(minute, "ADT^A40");
        let evn = format!("EVN|A40|{}\r", stamp(minute));
        let (ended, goes_on) = visits.unwrap_or_default();
        let mrg = format!("MRG|{prior}^^^H^MR||||{ended}\r");
        let text = head + &evn + &patient(who, goes_on, "MICU") + &mrg;
        assert_eq!(self.say(minute, &text), "AA", "{text}");
    }

    /// The text of a message with results of patient `who` in visit `V` + `who`.
    pub fn oru(&mut self, who: u32, order: Order<'_>, obx: &[&str]) -> String {
        let head = self.head(order.reported, "ORU^R01");
        let (drawn, reported) = (stamp(order.drawn), stamp(order.reported));
        let obr = format!(
            "OBR|1||{}|X|||{drawn}{}{reported}||{}\r",
            order.number,
            "|".repeat(15),
            order.section
        );
        let obx: String = (1..).zip(obx).map(|(n, obx)| format!("OBX|{n}|{obx}\r")).collect();
        head + &patient(who, &format!("V{who}"), "MICU") + &obr + &obx
    }

    /// Results that come when they are reported, and are acknowledged.
    pub fn result(&mut self, who: u32, order: Order<'_>, obx: &[&str]) {
        let text = self.oru(who, order, obx);
        assert_eq!(self.say(order.reported, &text), "AA", "{text}");
    }

    /// Time passes up to this minute, in steps of half an hour, with senders that are there.
    pub fn pass(&mut self, from: i64, to: i64) {
        for minute in (from..=to).step_by(30) {
            world::pass(&mut self.desk, wall(at(minute)));
        }
    }

    /// The edge promises the topics of a language complete at this minute.
    pub fn promise(&mut self, topics: &[Topic], minute: i64) {
        self.desk.mark(topics, wall(at(minute))).unwrap();
    }

    /// The facts in the log, or why they are none, a line each.
    pub fn facts(&self, topic: Topic) -> Vec<String> {
        world::facts(&self.config, &self.log, topic)
    }

    /// The reasons of the edge's dead letters.
    pub fn letters(&self) -> Vec<String> {
        let letters = world::letters(&self.config, &self.log);
        letters.into_iter().map(|(reason, _)| reason).collect()
    }

    /// What the pipeline says of all that was sent; ask once.
    pub fn events(&self) -> Vec<RiskRecord> {
        world::risk_events(&self.config, &self.log)
    }

    /// The pipeline over all that was sent, to be driven by hand.
    pub fn drive(&self, store: MemoryStore, options: DriveOptions) -> LocalDrive<Worker> {
        world::drive(&self.config, &self.log, (store, world::summing()), options)
    }

    /// A record straight into a topic, behind the edge's back.
    pub fn append(&self, topic: Topic, key: Option<&[u8]>, value: &[u8], minute: i64) {
        self.append_all(topic, key, &[value.to_vec()], minute);
    }

    /// As [`Hospital::append`], many at once.
    pub fn append_all(&self, topic: Topic, key: Option<&[u8]>, values: &[Vec<u8>], minute: i64) {
        let partition = self.log.partition(topic.name(), 0).unwrap();
        let record = |(sequence, value)| NewRecord {
            writer: 9,
            sequence,
            key,
            headers: &[],
            value: Vec::as_slice(value),
        };
        let records: Vec<_> = (partition.end() + 1..).zip(values).map(record).collect();
        partition.append_durable(&records, wall(at(minute))).unwrap();
    }
}

fn patient(who: u32, visit: &str, unit: &str) -> String {
    let (gap, pid) = ("|".repeat(16), format!("PID|1||{who}^^^H^MR||DOE^J||19570301|F"));
    format!("{pid}\rPV1||I|{unit}^1^A{gap}{visit}\r")
}

/// The window at this minute in its last revision.
pub fn last_word(events: &[RiskRecord], minute: i64) -> &RiskRecord {
    let of_it = events.iter().filter(|event| event.t == at(minute));
    of_it.max_by_key(|event| event.revision).expect("a window at that minute")
}

/// The mortality at this minute, by its last revision: a function of the rows alone.
pub fn score(events: &[RiskRecord], minute: i64) -> f32 {
    let event = last_word(events, minute);
    assert_eq!(event.status, RiskStatus::Scored);
    event.scores.as_ref().expect("scores").mortality
}

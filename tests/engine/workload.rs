//! Random wards, made from a seed: a few stays with vitals, labs, films, duplicates, late facts,
//! corrections and retractions, as each feed would send them.

use nowcxr::engine::Input;
use nowcxr::event::{Disposition, FactBody};
use nowcxr::ids::Topic;
use nowcxr::time::EventTime;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Record, mark, minute};

/// Minutes between two marks of a feed.
const MARK_EVERY: i64 = 30;
/// The variable whose results are charted, too.
const GLUCOSE: u8 = 7;
/// Minutes that a ward is watched.
const LENGTH: i64 = 30 * 60;

/// One feed's records between two of its marks, and the mark that ends them.
#[derive(Clone, Debug)]
pub struct Segment {
    pub records: Vec<Record>,
    pub mark: EventTime,
}

/// What every feed sends, in order.
#[derive(Clone, Debug)]
pub struct Ward {
    pub feeds: Vec<(Topic, Vec<Segment>)>,
}

pub struct Faults {
    pub duplicates: bool,
    pub late: bool,
    pub corrections: bool,
    /// Whether results of the laboratory are charted, too.
    pub copies: bool,
}

impl Faults {
    pub const NONE: Faults =
        Faults { duplicates: false, late: false, corrections: false, copies: false };
    /// Nothing is late, so that every record counts from when it was available.
    pub const PROMPT: Faults =
        Faults { duplicates: true, late: false, corrections: true, copies: false };
    pub const ALL: Faults =
        Faults { duplicates: true, late: true, corrections: true, copies: true };
}

/// A ward that is the same for the same seed.
pub fn ward(seed: u64, faults: &Faults) -> Ward {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut records: Vec<(i64, Record)> = Vec::new();
    for stay in 1..=rng.random_range(1..=3u64) {
        course(stay, &mut rng, faults, &mut records);
    }
    if faults.duplicates {
        let copies: Vec<_> = records.iter().filter(|_| rng.random_bool(0.1)).cloned().collect();
        for (at, record) in copies {
            records.push((at + rng.random_range(0..120), record));
        }
    }
    Ward { feeds: Topic::ALL.map(|topic| (topic, segments(topic, &records))).into() }
}

/// One stay: (minute at which the feed sends it, record).
fn course(stay: u64, rng: &mut ChaCha8Rng, faults: &Faults, out: &mut Vec<(i64, Record)>) {
    let admitted = rng.random_range(0..6 * 60);
    let ended = admitted + rng.random_range(2 * 60..18 * 60);
    let new =
        |topic, id: String, observed, available| Record::of(topic, &id, stay, observed, available);
    let known = admitted + rng.random_range(0..20);
    out.push((known, new(Topic::Stay, format!("in{stay}"), admitted, known).admits()));
    let end = new(Topic::Stay, format!("out{stay}"), ended, ended + 5);
    out.push((ended + 5, end.discharges(Disposition::Alive)));
    for n in 0..rng.random_range(5..60) {
        let observed = rng.random_range(admitted - 120..ended);
        let film = rng.random_bool(0.08);
        let vital = rng.random_bool(0.6);
        let lag = if vital { 1 } else { rng.random_range(5..180) };
        let available = observed + lag;
        let late = if faults.late && rng.random_bool(0.1) { rng.random_range(1..240) } else { 0 };
        let id = format!("{stay}/{n}");
        let topic = match (film, vital) {
            (true, _) => Topic::Imaging,
            (_, true) => Topic::Vital,
            _ => Topic::Lab,
        };
        let fact = new(topic, id.clone(), observed, available);
        let is_copied = faults.copies && topic == Topic::Lab && rng.random_bool(0.4);
        let variable = if is_copied { GLUCOSE } else { rng.random_range(0..17) };
        let value = f64::from(rng.random_range(1..200));
        if is_copied {
            let at = observed + rng.random_range(-10..80);
            let known = at + rng.random_range(1..120);
            let copy = new(Topic::Vital, format!("{id}/charted"), at, known);
            out.push((known, copy.value(variable, value)));
        }
        let record = if film { fact.film(&id) } else { fact.value(variable, value) };
        out.push((available + late, record));
        if faults.corrections && rng.random_bool(0.08) {
            let at = available + rng.random_range(1..200);
            let name = format!("{id}/again");
            let fact = new(Topic::Lab, name, if film { at } else { observed }, at);
            let record = if film || rng.random_bool(0.4) {
                fact.retracts(&id)
            } else {
                fact.corrects(&id, 3, 7.0)
            };
            out.push((at, record));
        }
    }
}

/// Cuts what a feed sends at its marks. A record sent after the mark that covers it is late.
fn segments(topic: Topic, records: &[(i64, Record)]) -> Vec<Segment> {
    let mut own: Vec<_> = records.iter().filter(|(_, record)| record.topic == topic).collect();
    own.sort_by_key(|(at, record)| (*at, record.fact.id));
    let mut segments = Vec::new();
    let mut from = 0;
    for end in (MARK_EVERY..=LENGTH + 26 * 60).step_by(MARK_EVERY as usize) {
        let to = from + own[from..].iter().take_while(|(at, _)| *at <= end).count();
        let records = own[from..to].iter().map(|(_, record)| record.clone()).collect();
        segments.push(Segment { records, mark: minute(end) });
        from = to;
    }
    segments
}

impl Ward {
    /// Everything in the order of time: feeds in turn, segment by segment.
    pub fn in_order(&self) -> Vec<Input> {
        let n = self.feeds.iter().map(|(_, segments)| segments.len()).max().unwrap_or(0);
        let mut inputs = Inputs::default();
        for index in 0..n {
            for (topic, segments) in &self.feeds {
                if let Some(segment) = segments.get(index) {
                    inputs.segment(*topic, segment, &segment.records);
                }
            }
        }
        inputs.list
    }

    /// The same records, feeds interleaved at random and each segment shuffled.
    pub fn interleaved(&self, seed: u64) -> Vec<Input> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut next = vec![0; self.feeds.len()];
        let mut inputs = Inputs::default();
        loop {
            let open: Vec<usize> =
                (0..next.len()).filter(|&feed| next[feed] < self.feeds[feed].1.len()).collect();
            if open.is_empty() {
                return inputs.list;
            }
            let feed = open[rng.random_range(0..open.len())];
            let (topic, segments) = &self.feeds[feed];
            let segment = &segments[next[feed]];
            let mut records = segment.records.clone();
            records.shuffle(&mut rng);
            inputs.segment(*topic, segment, &records);
            next[feed] += 1;
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.feeds.iter().flat_map(|(_, segments)| segments).flat_map(|s| &s.records)
    }

    pub fn n_records(&self) -> usize {
        self.records().count()
    }

    /// The observations, as the naive oracle of the tests sees them.
    pub fn observations(&self) -> impl Iterator<Item = (&Record, f64)> {
        self.records().filter_map(|record| match record.fact.body {
            FactBody::Observed(observation) => Some((record, observation.value())),
            _ => None,
        })
    }
}

#[derive(Default)]
struct Inputs {
    list: Vec<Input>,
    offset: u64,
}

impl Inputs {
    fn segment(&mut self, topic: Topic, segment: &Segment, records: &[Record]) {
        for record in records {
            self.list.push(record.input(self.offset));
            self.offset += 1;
        }
        self.list.push(mark(topic, segment.mark));
    }
}

//! A ward from a seed: what each feed sends, and what is true of every record, said by the one who
//! made it and not by the code under test.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use nowcxr::config::{EngineConfig, Feed, LatePolicy};
use nowcxr::event::alert::{Deed, Suppression};
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::event::{Fact, FactBody, Film, Mark, RawValue, Reason, ViewPosition};
use nowcxr::film;
use nowcxr::ids::{AlertId, FactId, FeedId, StayId, Topic};
use nowcxr::time::{EventTime, Span, WallTime};
use nowcxr::wire::Codec;

use crate::dice::Dice;
use crate::records::{self, Sheet};

/// Minutes between two marks of a feed while the stays run.
const MARK_EVERY: i64 = 30;
/// Minutes of the part that is marked densely.
const LENGTH: i64 = 18 * 60;
/// Minutes between two marks afterwards, and how long these go on: past every stay's expiry.
const REST_EVERY: i64 = 8 * 60;
const REST: i64 = 8 * 24 * 60;

/// What a record is, by its maker's word.
#[derive(Clone, Debug)]
pub enum Truth {
    Mark(Mark),
    Fact(Fact),
    /// A record that cannot become a fact.
    Broken(Reason),
}

/// One record as it is sent.
#[derive(Clone, Debug)]
pub struct Logged {
    pub truth: Truth,
    pub key: Option<Bytes>,
    pub value: Bytes,
    pub appended_at: WallTime,
}

/// How much of a seed's ward is made; a smaller one shows a fault more plainly.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub stays: usize,
    pub facts: usize,
    pub faults: bool,
}

impl Size {
    pub const FULL: Size = Size { stays: usize::MAX, facts: usize::MAX, faults: true };
}

/// Shares of records that something is wrong with.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    duplicate: f64,
    late: f64,
    very_late: f64,
    corrected: f64,
    broken: f64,
    future: f64,
}

#[derive(Clone, Debug)]
pub struct Ward {
    pub config: EngineConfig,
    /// What is sent, in order, cut at the marks.
    pub feeds: BTreeMap<(Topic, u32), Vec<Vec<Logged>>>,
}

/// Minutes after 2030-01-01.
pub fn minute(n: i64) -> EventTime {
    EventTime::from_millis(1_893_456_000_000) + Span::minutes(n)
}

pub fn dictionary() -> &'static Dictionary {
    static DICTIONARY: OnceLock<Dictionary> = OnceLock::new();
    DICTIONARY.get_or_init(|| Dictionary::builtin(Profile::Clinical).unwrap())
}

/// Films that pass the gates: their files, and what the engine is to know of each.
pub fn films() -> &'static [(Bytes, Film)] {
    static FILMS: OnceLock<Vec<(Bytes, Film)>> = OnceLock::new();
    FILMS.get_or_init(|| {
        (0..4u8)
            .map(|n| {
                let png = film::png::encode(&phantom(n), SIDE as u32, SIDE as u32).unwrap();
                let declared =
                    film::Declared { view: Some(ViewPosition::Ap), ..film::Declared::default() };
                let prepared = film::prepare(&png, declared).unwrap();
                let film = Film { digest: prepared.film.digest(), view: ViewPosition::Ap };
                (Bytes::from(png), film)
            })
            .collect()
    })
}

const SIDE: usize = 160;

/// A chest of three ellipses.
fn phantom(n: u8) -> Vec<u8> {
    let inside = |x: f64, y: f64, cx: f64, cy: f64, rx: f64, ry: f64| {
        1.0 - ((x - cx) / rx).powi(2) - ((y - cy) / ry).powi(2)
    };
    let grey = |i: usize| {
        let (x, y) = ((i % SIDE) as f64 / SIDE as f64, (i / SIDE) as f64 / SIDE as f64);
        let body = inside(x, y, 0.5, 0.8, 0.48, 0.78).clamp(0.0, 0.2) * 5.0;
        let lungs = inside(x, y, 0.28, 0.5, 0.17, 0.33).max(inside(x, y, 0.72, 0.5, 0.17, 0.33));
        let grey = 100.0 + 3000.0 * body - 2000.0 * lungs.clamp(0.0, 0.3) / 0.3 * body;
        // Grain, which every film has.
        let grain = f64::from((i as u32).wrapping_mul(2_654_435_761) >> 26);
        ((grey + (500.0 + 20.0 * f64::from(n)) * y + grain) / 4095.0 * 255.0) as u8
    };
    (0..SIDE * SIDE).map(grey).collect()
}

fn config(dice: &mut Dice) -> EngineConfig {
    let mut config = EngineConfig {
        every: Some(Span::minutes(dice.pick(&[60, 60, 90, 180]))),
        landmarks: vec![Span::hours(dice.pick(&[3, 7, 48]))],
        on_film: dice.chance(0.8),
        lookback: Span::hours(dice.pick(&[6, 24])),
        grace: Span::hours(dice.pick(&[2, 24])),
        max_stay: Span::hours(dice.pick(&[9, 24 * 90])),
        silent_after: Span::hours(dice.pick(&[3, 24])),
        revise_windows: dice.pick(&[0, 1, 1, 3]),
        late: if dice.chance(0.2) { LatePolicy::Drop } else { LatePolicy::Keep },
        keep: Span::hours(dice.pick(&[6, 24, 96])),
        ..EngineConfig::default()
    };
    if dice.chance(0.3) {
        config.feeds.push(Feed { name: "lab-b".into(), ..Feed::of(Topic::Lab) });
    }
    config
}

/// Lets some feeds be of third parties, whose producers send no marks.
fn without_marks(config: &mut EngineConfig, dice: &mut Dice) {
    for feed in config.feeds.iter_mut().filter(|feed| !feed.topic.is_of_people()) {
        let lateness = Span::minutes(dice.pick(&[0, MARK_EVERY, 3 * MARK_EVERY]));
        feed.lateness = dice.chance(0.12).then_some(lateness);
    }
}

impl Ward {
    /// Some feeds may be of third parties.
    pub fn new(seed: u64, size: Size, partitions: u32) -> Self {
        let mut dice = Dice::new(seed, 1);
        let mut config = config(&mut dice);
        without_marks(&mut config, &mut Dice::new(seed, 5));
        Ward::drawn(config, dice, size, partitions)
    }

    /// All feeds send marks, so that the order of what lies between two of them cannot be seen.
    pub fn with_marks(seed: u64, size: Size, partitions: u32) -> Self {
        let mut dice = Dice::new(seed, 1);
        Ward::drawn(config(&mut dice), dice, size, partitions)
    }

    fn drawn(config: EngineConfig, mut dice: Dice, size: Size, partitions: u32) -> Self {
        let wrong = wrong(&mut dice, size.faults);
        let mut sheets: Vec<Sheet> = Vec::new();
        let stays: Vec<StayId> =
            (1..=dice.between(1, 5) as usize).take(size.stays).map(|n| StayId(n as u64)).collect();
        for &stay in &stays {
            course(stay, &config, wrong, size.facts, &mut dice, &mut sheets);
        }
        spoil(wrong, &mut dice, &mut sheets);
        Ward::of(config, &sheets, partitions, &mut dice)
    }

    /// A ward in which these are sent.
    pub fn of(config: EngineConfig, sheets: &[Sheet], partitions: u32, dice: &mut Dice) -> Self {
        let codec = Codec::new(&config.feeds, dictionary().clone()).unwrap();
        let ends = dice.chance(0.5);
        let mut feeds = BTreeMap::new();
        for topic in Topic::ALL {
            for partition in 0..partitions {
                let own = |sheet: &&Sheet| {
                    sheet.topic == topic && partition_of(sheet.stay, partitions) == partition
                };
                let mut own: Vec<&Sheet> = sheets.iter().filter(own).collect();
                own.sort_by_key(|sheet| sheet.sent);
                let segments = segments(topic, &config, &own, ends, &codec, dice);
                feeds.insert((topic, partition), segments);
            }
        }
        Ward { config, feeds }
    }

    pub fn n_records(&self) -> usize {
        self.feeds.values().flatten().map(Vec::len).sum()
    }
}

pub fn partition_of(stay: StayId, partitions: u32) -> u32 {
    (stay.0 % u64::from(partitions)) as u32
}

fn wrong(dice: &mut Dice, faults: bool) -> Wrong {
    if !faults || dice.chance(0.15) {
        return Wrong::default();
    }
    Wrong {
        duplicate: dice.pick(&[0.0, 0.05, 0.2]),
        late: dice.pick(&[0.0, 0.1, 0.3]),
        very_late: dice.pick(&[0.0, 0.0, 0.05]),
        corrected: dice.pick(&[0.0, 0.1, 0.3]),
        broken: dice.pick(&[0.0, 0.03]),
        future: dice.pick(&[0.0, 0.0, 0.03]),
    }
}

/// Everything that is sent of one stay.
fn course(
    stay: StayId,
    config: &EngineConfig,
    wrong: Wrong,
    most: usize,
    dice: &mut Dice,
    out: &mut Vec<Sheet>,
) {
    let admitted = dice.between(0, 4 * 60);
    let ended = admitted + dice.between(60, 11 * 60);
    let known = admitted + dice.between(0, 40);
    let new = |topic, name: String| Sheet::new(topic, stay, format!("{stay}/{name}"));
    if !dice.chance(0.04) {
        let age = dice.between(18, 90);
        out.push(new(Topic::Stay, "in".into()).at(admitted, known).admits(age));
    }
    if dice.chance(0.1) {
        let at = known + dice.between(1, 120);
        out.push(new(Topic::Stay, "in2".into()).at(admitted - 30, at).admits(50));
    }
    if dice.chance(0.75) {
        let at = ended + dice.between(0, 30);
        let died = dice.chance(0.3);
        out.push(new(Topic::Stay, "out".into()).at(ended, at).discharges(died));
    }
    // What people do about alerts that they were told of is added as it happens (`edge`).
    if dice.chance(0.3) {
        let at = dice.between(admitted - 90, ended + 30);
        let why = dice.pick(&[Suppression::ComfortCare, Suppression::SiteDecision]);
        out.push(new(Topic::Acknowledgement, "quiet".into()).at(at, at).did(Deed::Suppress(why)));
        let at = at + dice.between(0, 300);
        out.push(new(Topic::Acknowledgement, "loud".into()).at(at, at).did(Deed::Release));
    }
    if dice.chance(0.1) {
        let at = dice.between(admitted, ended);
        let nobody = Deed::Acknowledge(AlertId(fact_id("no alert").0));
        out.push(new(Topic::Acknowledgement, "astray".into()).at(at, at).did(nobody));
    }
    let n = dice.between(3, 22) as usize;
    for i in 0..n.min(most) {
        let topic =
            dice.pick(&[Topic::Vital, Topic::Vital, Topic::Lab, Topic::Lab, Topic::Imaging]);
        // Films are dear to decode.
        let topic = if topic == Topic::Imaging && dice.chance(0.5) { Topic::Vital } else { topic };
        let observed = dice.between(admitted - 90, ended + 30);
        let lag = if topic == Topic::Vital { 1 } else { dice.between(0, 180) };
        let sheet = new(topic, i.to_string()).at(observed, observed + lag);
        let labs = config.feeds.len() > Topic::ALL.len() && dice.chance(0.4);
        let sheet = match topic {
            Topic::Imaging => sheet.film(dice.below(films().len())),
            Topic::Lab if labs => sheet.value(dice.below(2), dice.between(60, 200)).by_b(),
            _ => sheet.value(dice.below(2), dice.between(60, 200)),
        };
        if topic == Topic::Lab && dice.chance(0.3) {
            let (at, name) = (observed + dice.between(-10, 80), format!("{i}/charted"));
            let (_, value) = sheet.says_value().unwrap_or_default();
            let copy = new(Topic::Vital, name).at(at, at + dice.between(1, 120));
            out.push(copy.value(COPIED, value + dice.between(0, 1)));
        }
        if dice.chance(wrong.corrected) {
            let again = replacement(&sheet, dice);
            if dice.chance(0.4) {
                out.push(replacement(&again, dice));
            }
            out.push(again);
        }
        out.push(sheet);
    }
}

/// A correction or a retraction, soon or days afterwards.
fn replacement(of: &Sheet, dice: &mut Dice) -> Sheet {
    let days = dice.chance(0.15);
    let at = of.available + dice.between(0, if days { 5_600 } else { 300 });
    let sheet = Sheet::new(of.topic, of.stay, format!("{}/again", of.name));
    if dice.chance(0.5) {
        return sheet.at(at, at).retracts(&of.name);
    }
    match of.topic {
        Topic::Imaging => sheet.at(of.observed, at).film(dice.below(4)).replacing(&of.name),
        _ => sheet.at(of.observed, at).value(dice.below(2), 77).replacing(&of.name),
    }
}

/// Sends some later than promised, some twice, some damaged.
fn spoil(wrong: Wrong, dice: &mut Dice, sheets: &mut Vec<Sheet>) {
    let mut more = Vec::new();
    for sheet in sheets.iter_mut() {
        if dice.chance(wrong.late) {
            sheet.sent += dice.between(1, 240);
        }
        if dice.chance(wrong.very_late) {
            sheet.sent += dice.between(240, 8_000);
        }
        if dice.chance(wrong.future) {
            sheet.future = dice.between(10, 200);
        }
        if dice.chance(wrong.duplicate) {
            let later = if dice.chance(0.1) { 8_000 } else { 300 };
            let mut copy = sheet.clone();
            copy.sent += dice.between(0, later);
            more.push(copy);
        }
        if dice.chance(wrong.broken) {
            let mut copy = sheet.clone();
            copy.name.push_str("/broken");
            copy.broken = Some(dice.below(records::KINDS_OF_DAMAGE));
            more.push(copy);
        }
    }
    sheets.append(&mut more);
}

/// Cuts what a topic sends in one partition at its marks. Within a segment the order is free.
fn segments(
    topic: Topic,
    config: &EngineConfig,
    own: &[&Sheet],
    ends: bool,
    codec: &Codec,
    dice: &mut Dice,
) -> Vec<Vec<Logged>> {
    let dense = (MARK_EVERY..=LENGTH).step_by(MARK_EVERY as usize);
    let rest = (LENGTH + REST_EVERY..=LENGTH + REST).step_by(REST_EVERY as usize);
    let times: Vec<i64> = dense.chain(rest).collect();
    let mut from = 0;
    let mut segments = Vec::new();
    for (index, &end) in times.iter().enumerate() {
        let is_last = index + 1 == times.len();
        let n = own[from..].iter().take_while(|s| s.sent <= end || is_last).count();
        let sent = &own[from..from + n];
        from += n;
        let mut records: Vec<Logged> =
            sent.iter().map(|sheet| records::logged(sheet, config, codec, end)).collect();
        dice.shuffle(&mut records);
        let time = if is_last && ends { EventTime::MAX } else { minute(end) };
        for (feed, Feed { name, topic: of, lateness }) in (0u8..).map(FeedId).zip(&config.feeds) {
            // Nobody but a feed itself can say that it has ended.
            if *of == topic && (lateness.is_none() || is_last) {
                records.push(records::mark(Mark { feed, time }, name, codec, end));
            }
        }
        segments.push(records);
    }
    segments
}

/// Which of a monitor's variables is the laboratory's, charted.
const COPIED: usize = 2;

/// A measured value of one of the variables that a topic's sheets speak of.
pub fn measured(topic: Topic, which: usize, value: i64) -> (&'static str, &'static str, FactBody) {
    let (code, unit) = match (topic, which) {
        (Topic::Lab, 0) => ("2345-7", "mg/dL"),
        (Topic::Lab, _) => ("2339-0", "mg/dL"),
        (_, 0) => ("8867-4", "/min"),
        (_, COPIED) => ("2345-7", "mg/dL"),
        _ => ("8480-6", "mm[Hg]"),
    };
    let variable = dictionary().by_loinc(code).unwrap();
    let raw = RawValue::Number(value as f64);
    let observation = dictionary().observe(variable, &raw, Some(unit)).unwrap();
    (code, unit, FactBody::Observed(observation))
}

pub fn fact_id(name: &str) -> FactId {
    FactId::from_name(name)
}

//! A made-up ward as its feeds would tell it: stays admitted evenly over an hour, one film each,
//! and vital signs at an even rate. Values differ by seed; nothing is late, wrong or twice. And
//! what answers its windows: no model, but answers of a model's shape.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::config::{EngineConfig, Feed};
use crate::engine::Identity;
use crate::event::dictionary::{Dictionary, Profile};
use crate::event::risk::Probability;
use crate::event::risk::{Contribution, Generation, Mode, ModelName, N_PHENOTYPES, Scores};
use crate::event::{Sex, ViewPosition};
use crate::film::{self, Declared, png};
use crate::ids::{Digest, FactId, Origin, Position, StayId, Topic};
use crate::ports::{
    Answer, Outcome, PortError, PredictionRequest, Predictor, Source, SourceRecord,
};
use crate::synth;
use crate::time::{EventTime, Span, WallTime};
use crate::wire::records::{
    Admit, CodeSystem, ImagingEvent, InlinePicture, MarkRecord, ObservationStatus, PictureField,
    RecordedValue, StayChange, StayEventRecord, VitalEvent,
};
use crate::wire::{Codec, Record};

/// 2150-01-01T00:00:00Z, when the last stay is admitted and the first vital sign is measured.
const ADMITTED: EventTime = EventTime::from_millis(5_680_281_600_000);
/// The number of the first stay.
const FIRST_STAY: u64 = 40_000_000;
/// Vital signs: code, unit, and the range of the made-up values.
const SIGNS: [(&str, &str, f64, f64); 6] = [
    ("heart_rate", "/min", 60.0, 120.0),
    ("sbp", "mm[Hg]", 95.0, 160.0),
    ("dbp", "mm[Hg]", 45.0, 90.0),
    ("mbp", "mm[Hg]", 60.0, 110.0),
    ("respiratory_rate", "/min", 10.0, 30.0),
    ("spo2", "%", 90.0, 100.0),
];
/// Grey levels by which the films of two stays differ at most in a pixel, so that no two compress
/// into one.
const NOISE: u8 = 8;
/// Height of the drawn film in pixels.
const FILM_ROWS: usize = 224;

/// How large the ward is.
#[derive(Clone, Copy, Debug)]
pub struct Ward {
    pub stays: u64,
    pub hours: u64,
    /// Vital signs of a stay in an hour.
    pub per_hour: u64,
    pub seed: u64,
}

/// One record on its way to an input topic; marks have no key and are of every partition.
pub struct Told<'a> {
    pub topic: Topic,
    pub key: Option<&'a str>,
    pub value: &'a [u8],
    pub at: WallTime,
}

/// Where what is told goes.
pub type Hearer<'a> = &'a mut dyn FnMut(Told<'_>) -> Result<(), PortError>;

/// Tells the ward, or a share of it, in the order of time.
pub struct Teller {
    ward: Ward,
    stays: Vec<u64>,
    codec: Codec,
    feeds: Vec<Feed>,
    dice: ChaCha8Rng,
    /// Pixels of the film that all films are like.
    film: Vec<u8>,
    is_admitted: bool,
    slot: u64,
    bytes: Vec<u8>,
}

impl Ward {
    pub fn events(self) -> u64 {
        self.stays * self.hours * self.per_hour
    }
}

/// The engine of the benchmarks: the defaults.
pub fn config() -> EngineConfig {
    EngineConfig::default()
}

pub fn codec() -> Result<Codec> {
    Ok(Codec::new(&config().feeds, Dictionary::builtin(Profile::Clinical)?)?)
}

/// Who makes the state and the events: nobody who could be taken for a model.
pub fn identity() -> Result<Identity> {
    let dictionary = Dictionary::builtin(Profile::Clinical)?;
    let digest = Digest::of(b"the benchmark's answers");
    Ok(Identity {
        model: ModelName { name: "made-up".to_owned(), version: "0".to_owned(), digest },
        config_digest: Digest::of(b"the benchmark's configuration"),
        mode: Mode::Silent,
        doubts: Vec::new(),
        variables: dictionary.variables().iter().map(|v| v.code.clone()).collect(),
        epoch: 1,
    })
}

impl Teller {
    /// Tells share `share` of `shares` of the ward.
    pub fn new(ward: Ward, share: u32, shares: u32) -> Result<Self> {
        let stays = (0..ward.stays).filter(|n| n % u64::from(shares) == u64::from(share));
        Ok(Teller {
            stays: stays.collect(),
            codec: codec()?,
            feeds: config().feeds,
            dice: ChaCha8Rng::seed_from_u64(ward.seed ^ u64::from(share) << 32),
            film: drawn(ward.seed)?,
            is_admitted: false,
            slot: 0,
            bytes: Vec::new(),
            ward,
        })
    }

    /// One vital sign of every stay, and what else happens meanwhile. `false` when all is told.
    pub fn tell(&mut self, hearer: Hearer<'_>) -> Result<bool> {
        let per_hour = self.ward.per_hour.max(1);
        let (hour, place) = (self.slot / per_hour, self.slot % per_hour);
        if hour >= self.ward.hours {
            return Ok(false);
        }
        let start = ADMITTED + hours(hour);
        self.admit(hearer)?;
        let step = Span::HOUR.as_millis() / per_hour as i64;
        self.signs(start + Span::from_millis(step * place as i64 + 1), hearer)?;
        self.slot += 1;
        self.marks(start + Span::from_millis(step * (place as i64 + 1)), hearer)?;
        Ok(true)
    }

    /// What a stay is and has from its beginning: an admission and a film. Told once.
    pub fn admit(&mut self, hearer: Hearer<'_>) -> Result<()> {
        if std::mem::replace(&mut self.is_admitted, true) {
            return Ok(());
        }
        for stay in self.stays.clone() {
            let later = self.ward.stays.saturating_sub(stay + 1);
            let before = Span::HOUR.as_millis() as u64 * later / self.ward.stays.max(1);
            let at = ADMITTED - Span::from_millis(before as i64);
            let admit = Admit { age_years: 67, sex: Sex::Female, unit: "ICU".to_owned() };
            let record = StayEventRecord {
                event_id: self.next_id(),
                stay_id: StayId(FIRST_STAY + stay),
                feed: self.feed(Topic::Stay)?,
                observed_at: at,
                available_at: at,
                change: StayChange::Admit(admit),
                status: ObservationStatus::Final,
                replaces: None,
            };
            self.send(Topic::Stay, stay, &record, at, hearer)?;
            let mut pixels = self.film.clone();
            for pixel in &mut pixels {
                *pixel = pixel.saturating_add(self.dice.random_range(0..NOISE));
            }
            let side = film_side(pixels.len());
            let picture = InlinePicture {
                media_type: Some("image/png".to_owned()),
                content: png::encode(&pixels, side, side)?,
            };
            let record = ImagingEvent {
                event_id: self.next_id(),
                stay_id: StayId(FIRST_STAY + stay),
                feed: self.feed(Topic::Imaging)?,
                observed_at: at,
                available_at: at,
                view: ViewPosition::Ap,
                modality: Some("DX".to_owned()),
                picture: PictureField::Inline(picture),
                status: ObservationStatus::Final,
                replaces: None,
            };
            self.send(Topic::Imaging, stay, &record, at, hearer)?;
        }
        Ok(())
    }

    fn signs(&mut self, at: EventTime, hearer: Hearer<'_>) -> Result<()> {
        let (code, unit, low, high) = SIGNS[(self.slot % SIGNS.len() as u64) as usize];
        let mut record: VitalEvent = VitalEvent {
            event_id: FactId(Uuid::nil()),
            stay_id: StayId(0),
            feed: self.feed(Topic::Vital)?,
            code_system: CodeSystem::Local,
            code: code.to_owned(),
            value: RecordedValue::Missing,
            unit: Some(unit.to_owned()),
            observed_at: at,
            available_at: at,
            status: ObservationStatus::Final,
            replaces: None,
        };
        for place in 0..self.stays.len() {
            let Some(&stay) = self.stays.get(place) else { break };
            record.event_id = self.next_id();
            record.stay_id = StayId(FIRST_STAY + stay);
            let value: f64 = self.dice.random_range(low..high);
            record.value = RecordedValue::Number((value * 10.0).round() / 10.0);
            self.send(Topic::Vital, stay, &record, at, hearer)?;
        }
        Ok(())
    }

    fn marks(&mut self, time: EventTime, hearer: Hearer<'_>) -> Result<()> {
        for feed in &self.feeds {
            let value = self.codec.encode(&MarkRecord { feed: feed.name.clone(), time })?;
            hearer(Told { topic: feed.topic, key: None, value: &value, at: wall(time) })?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        topic: Topic,
        stay: u64,
        record: &impl Record,
        at: EventTime,
        hearer: Hearer<'_>,
    ) -> Result<()> {
        self.bytes.clear();
        self.codec.encode_into(record, &mut self.bytes)?;
        let key = Codec::key(StayId(FIRST_STAY + stay));
        Ok(hearer(Told { topic, key: Some(&key), value: &self.bytes, at: wall(at) })?)
    }

    fn feed(&self, topic: Topic) -> Result<String> {
        let feed = self.feeds.iter().find(|feed| feed.topic == topic);
        Ok(feed.context("the default configuration lacks a feed")?.name.clone())
    }

    /// Drawn, not counted: facts are told apart by a part of their ids.
    fn next_id(&mut self) -> FactId {
        FactId(Uuid::from_u128(self.dice.random()))
    }
}

fn hours(n: u64) -> Span {
    Span::from_millis(Span::HOUR.as_millis() * n as i64)
}

fn wall(at: EventTime) -> WallTime {
    WallTime::from_millis(at.as_millis())
}

fn film_side(pixels: usize) -> u32 {
    pixels.isqrt() as u32
}

/// The pixels of a film of the synthetic ward.
fn drawn(seed: u64) -> Result<Vec<u8>> {
    for number in 0..100 {
        let stay = synth::stay(seed, number, FILM_ROWS)?;
        let declared = Declared { view: Some(ViewPosition::Ap), ..Declared::default() };
        for drawn in stay.films.iter().filter(|film| film.view == Some(ViewPosition::Ap)) {
            if let Ok(prepared) = film::prepare(&drawn.jpeg, declared) {
                return Ok(prepared.film.pixels().to_vec());
            }
        }
    }
    anyhow::bail!("the synthetic ward of seed {seed} has no film that can be used; take another")
}

/// A share of the ward as the loop's input, told as fast as the loop asks.
pub struct TellerSource {
    teller: Teller,
    partition: u32,
    /// What was told and not yet fetched: one sign of every stay more than a fetch asked for.
    queue: VecDeque<SourceRecord>,
    next: BTreeMap<Topic, u64>,
}

impl TellerSource {
    pub fn new(teller: Teller, partition: u32) -> Self {
        TellerSource { teller, partition, queue: VecDeque::new(), next: BTreeMap::new() }
    }
}

impl Source for TellerSource {
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError> {
        let TellerSource { teller, partition, queue, next } = self;
        while queue.len() < max {
            let told = teller.tell(&mut |told| {
                let offset = next.entry(told.topic).or_default();
                queue.push_back(SourceRecord {
                    origin: Origin { topic: told.topic, partition: *partition, offset: *offset },
                    key: told.key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
                    value: Bytes::copy_from_slice(told.value),
                    appended_at: Some(told.at),
                });
                *offset += 1;
                Ok(())
            });
            if !told.map_err(|error| PortError::Stop(error.to_string()))? {
                break;
            }
        }
        if queue.is_empty() {
            // As a feed from which nothing more comes.
            std::thread::sleep(wait);
        }
        into.extend(queue.drain(..max.min(queue.len())));
        Ok(())
    }

    /// Its state begins with it.
    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError> {
        match positions.iter().all(|position| position.next == 0) {
            true => Ok(()),
            false => Err(PortError::Stop("a made-up ward is told from its start".to_owned())),
        }
    }
}

/// Answers every question at once, with made-up scores of a model's shape.
#[derive(Default)]
pub struct Scorer(VecDeque<Answer>);

impl Predictor for Scorer {
    /// The loop takes all answers in each turn, so no more than a turn's questions wait.
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        self.0.push_back(answered(&request));
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Option<Answer> {
        self.0.pop_front()
    }

    fn pending(&self) -> usize {
        self.0.len()
    }
}

/// A made-up answer.
pub fn answered(request: &PredictionRequest) -> Answer {
    let outcome = match Probability::new((request.seed % 1_000) as f32 / 10_000.0) {
        Some(p) => Outcome::Scored(scores(p, request.seed, request.film.is_some())),
        None => Outcome::Unscored("nobody was asked".to_owned()),
    };
    Answer { ticket: request.ticket, epoch: request.epoch, outcome }
}

fn scores(p: Probability, seed: u64, has_film: bool) -> Scores {
    let generation = Generation { evaluations: 8, seed, latent_rms: 1.0 };
    let moves = |(code, ..): &(&str, &str, f64, f64)| Contribution {
        variable: (*code).to_owned(),
        change: p.get() / 10.0,
    };
    Scores {
        mortality: p,
        mortality_raw: p,
        mortality_interval: None,
        phenotypes: [p; N_PHENOTYPES],
        carry_forward: has_film.then_some(p),
        ehr_only: Some(p),
        generation: has_film.then_some(generation),
        attribution: SIGNS.iter().map(moves).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_tell_the_whole_ward_in_order_once_and_nothing_is_refused() {
        let ward = Ward { stays: 5, hours: 3, per_hour: 7, seed: 1 };
        let (mut events, mut films, codec) = (0, 0, codec().unwrap());
        for share in 0..2 {
            let mut source = TellerSource::new(Teller::new(ward, share, 2).unwrap(), share);
            let (mut records, mut last) = (Vec::new(), None);
            while {
                records.clear();
                source.fetch(10, Duration::ZERO, &mut records).unwrap();
                !records.is_empty()
            } {
                for record in &records {
                    let topic = record.origin.topic;
                    codec.decode_input(topic, record.key.as_deref(), &record.value).unwrap();
                    assert!(last <= record.appended_at, "{last:?} before {:?}", record.appended_at);
                    last = record.appended_at;
                    events += u64::from(topic == Topic::Vital && record.key.is_some());
                    films += u64::from(topic == Topic::Imaging && record.key.is_some());
                }
            }
        }
        assert_eq!((events, films), (ward.events(), ward.stays));
    }
}

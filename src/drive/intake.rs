//! From the source to the engine: records are fetched, decoded and stepped, and whatever is wrong
//! with one becomes an input too.

use std::time::{Duration, Instant};

use super::{ASK_AGAIN, BACKLOG_MAX, Drive, DriveError, FETCH_MAX, films};
use crate::engine::Input;
use crate::event::{Fact, FactBody, Film, Reason, Rejection, ViewPosition};
use crate::film;
use crate::ids::Origin;
use crate::ports::{Committer, Predictor, Source, SourceRecord, StateStore};
use crate::store::values;
use crate::telemetry::{PauseCause, TaskPaused, TaskResumed};
use crate::time::EventTime;
use crate::wire::{Decoded, FilmMeta, Picture, partition_of};

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    /// Reads and steps one batch of records. Reading stops while too many questions wait.
    pub(super) fn read(&mut self) -> Result<usize, DriveError> {
        let rehearses = !self.rehearsal.is_over();
        if self.must_pause() && !rehearses {
            return Ok(0);
        }
        if !rehearses {
            self.hold_back()?;
        }
        let wait = self.patience();
        let mut records = std::mem::take(&mut self.records);
        // A batch whose schemas nobody could be asked for is tried again before more is read.
        let fetched = match std::mem::take(&mut self.is_unlearned) {
            true => Ok(()),
            false => {
                records.clear();
                self.ports.source.fetch(FETCH_MAX, wait, &mut records)
            }
        };
        if let Err(error) = records.iter().try_for_each(|record| self.codec.learn(&record.value)) {
            self.records = records;
            self.is_unlearned = true;
            return Err(error.into());
        }
        let n_records = records.len();
        if fetched.is_err() || n_records == FETCH_MAX || rehearses {
            self.excuse_feeds();
        }
        self.excuse_held_back(n_records == 0 && fetched.is_ok());
        if rehearses {
            self.rehearse(records)?;
        } else {
            for record in &records {
                self.take(record)?;
            }
            self.records = records;
        }
        fetched?;
        Ok(n_records)
    }

    /// How long to wait for input: not at all while answers may come, and no longer than until
    /// what was done must be committed.
    fn patience(&self) -> Duration {
        match self.has_pending() {
            true => self.until_commit(),
            false if self.ports.predictor.pending() > 0 => Duration::ZERO,
            false => self.options.idle_wait,
        }
    }

    /// Whether too many questions wait for the predictor, so that reading must.
    fn must_pause(&mut self) -> bool {
        let task = self.options.partition;
        if self.backlog.len() + self.sealed.len() < BACKLOG_MAX {
            if let Some(since) = self.paused_since.take() {
                TaskResumed { task, paused_for: since.elapsed() }.emit();
            }
            return false;
        }
        if self.paused_since.is_none() {
            self.paused_since = Some(Instant::now());
            TaskPaused { task, cause: PauseCause::Predictor }.emit();
        }
        self.excuse_feeds();
        // Others fill the queue, so no answer will wake us, and nothing is committed in this turn.
        let commits = self.options.commit_when_idle && self.has_pending();
        if self.ports.predictor.pending() == 0 && self.sealed.is_empty() && !commits {
            std::thread::sleep(ASK_AGAIN);
        }
        true
    }

    /// Nobody could be heard up to now, and that is not the feeds' fault.
    fn excuse_feeds(&mut self) {
        let now = Instant::now();
        self.derivation.excuse(now);
        if let Some(silence) = &mut self.silence {
            silence.excuse(now);
        }
    }

    /// Steps one record.
    pub(super) fn take(&mut self, record: &SourceRecord) -> Result<(), DriveError> {
        let position = record.origin.next();
        self.positions.insert((position.topic, position.partition), position.next);
        self.newest_append = self.newest_append.max(record.appended_at);
        let input = self.input_of(record);
        if let (Input::Mark(mark), Some(silence)) = (&input, &mut self.silence) {
            silence.heard(mark.feed, Instant::now());
        }
        self.step(input)?;
        self.catch_up()?;
        self.send_dead_letters(Some(record))?;
        self.derive_marks(record)?;
        self.send_dead_letters(None)
    }

    /// Decodes a record. Whatever is wrong with it becomes an input too.
    fn input_of(&mut self, record: &SourceRecord) -> Input {
        let origin = record.origin;
        let key = record.key.as_deref();
        if let Some(rejection) = self.misplaced(record) {
            return Input::Malformed { origin, rejection };
        }
        let decoded = match self.codec.decode_input(origin.topic, key, &record.value) {
            Ok(decoded) => decoded,
            Err(rejection) => return Input::Malformed { origin, rejection },
        };
        let speaks_of = match &decoded {
            // Only the end of a feed may be promised at any time. Another promise about the
            // future would make every fact until then a late one.
            Decoded::Mark(mark) => Some(mark.time).filter(|time| *time != EventTime::MAX),
            Decoded::Fact(fact) => Some(fact.available_at),
            Decoded::Film { meta, .. } => Some(meta.available_at),
        };
        if let Some(time) = speaks_of.filter(|time| self.is_future(record, *time)) {
            let detail = format!("speaks of {time}, which lies after its append time");
            return Input::Malformed { origin, rejection: Rejection::new(Reason::Future, detail) };
        }
        match decoded {
            Decoded::Mark(mark) => Input::Mark(mark),
            Decoded::Fact(fact) => Input::Fact { fact, origin },
            Decoded::Film { meta, picture } => self
                .film_input(origin, meta, &picture)
                .unwrap_or_else(|rejection| Input::Malformed { origin, rejection }),
        }
    }

    /// Why a record does not belong into its partition. A mark has no key and belongs into all.
    fn misplaced(&self, record: &SourceRecord) -> Option<Rejection> {
        let (partitions, key) = (self.options.partitions?, record.key.as_deref()?);
        let (lies, belongs) = (record.origin.partition, partition_of(key, partitions));
        (lies != belongs).then(|| {
            let detail = format!(
                "lies in partition {lies} of {partitions}, but its key belongs to {belongs}: its \
                 producer must share out by murmur2 (librdkafka: partitioner = murmur2_random)"
            );
            Rejection::new(Reason::WrongPartition, detail)
        })
    }

    fn is_future(&self, record: &SourceRecord, time: EventTime) -> bool {
        record.appended_at.is_some_and(|at| {
            let latest = at.as_millis().saturating_add(self.task.config().max_future.as_millis());
            time.as_millis() > latest
        })
    }

    fn film_input(
        &mut self,
        origin: Origin,
        meta: FilmMeta,
        picture: &Picture,
    ) -> Result<Input, Rejection> {
        let bytes = films::bytes_of(picture)?;
        let view = Some(meta.view).filter(|view| *view != ViewPosition::Unknown);
        let declared = film::Declared { view, ..film::Declared::default() };
        let prepared = film::prepare(&bytes, declared)?;
        let film = Film { digest: prepared.film.digest(), view: prepared.view };
        values::put_film(meta.stay, &prepared.film, &mut self.pending);
        self.films.put(prepared.film);
        let fact = Fact {
            id: meta.id,
            stay: meta.stay,
            feed: meta.feed,
            observed_at: meta.observed_at,
            available_at: meta.available_at,
            body: match meta.replaces {
                Some(replaces) => FactBody::FilmCorrected { replaces, film },
                None => FactBody::Filmed(film),
            },
        };
        Ok(Input::Fact { fact, origin })
    }
}

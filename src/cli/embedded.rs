//! The embedded service: replay, local log, engine, model and outputs in one process. No broker.
//!
//! A thread writes the recording into the local log as a feed would; the loop reads the log, like
//! any other input, and writes what leaves to the output topics of the same log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::feeding::{Fed, LogSink, feed_with_faults};
use super::held::Held;
use super::keepsake::{Keepsakes, Listening};
use super::progress::Progress;
use super::serving::{Http, Pages};
use super::settings::node;
use super::{now, told};
use crate::config::Config;
use crate::drive::{Counts, Drive, DriveError, DriveOptions, Outbox, Ports};
use crate::engine::{Identity, Task};
use crate::event::dictionary::Dictionary;
use crate::http::Health;
use crate::http::dashboard::{Dashboard, LocalFeed};
use crate::ids::Topic;
use crate::model::Artifact;
use crate::ports::PortError;
use crate::predict::{Pipeline, Worker, WorkerConfig, set_threads};
use crate::replay::{Encoder, Player, Reconciliation, ReplayConfig, ReplaySource, Speed};
use crate::store::sled::{Recovery, SledStore, StoreOptions};
use crate::telemetry::StoreRecovered;
use crate::transport::local::{LocalJournal, LocalLog, LocalOutlet, LocalSource, LogOptions};
use crate::wire::Codec;

/// Bytes of film features that the model keeps.
pub const FEATURE_CACHE_BYTES: usize = 64 << 20;

/// Where the parts of an embedded service live below its directory.
pub struct Home(PathBuf);

/// What an embedded run is made of, besides its recording.
pub struct Setup {
    pub home: Home,
    pub config: Config,
    pub dictionary: Dictionary,
    pub replay: ReplayConfig,
    pub speed: Speed,
    /// What is replayed, in a sentence.
    pub provenance: String,
    /// Made-up patients.
    pub demo: bool,
}

/// What a run did, for the summary.
pub struct Ran {
    pub counts: Counts,
    pub reconciliation: Reconciliation,
    pub fed: Fed,
    pub task: Task,
    pub log: Arc<LocalLog>,
    /// Still serving.
    pub http: Option<Http>,
    /// The last questions, for the pictures.
    pub keepsakes: Keepsakes,
    /// How the state was found, if not simply new.
    pub found: Option<String>,
    pub wall: Duration,
    /// Stopped by the user before the recording ended.
    pub stopped: bool,
}

type EmbeddedDrive =
    Drive<LocalSource, SledStore, Outbox<LocalOutlet, LocalJournal>, Listening<Worker>>;

impl Home {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Home(dir.into())
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

/// Replays `source` to its end, or until `stop`.
pub fn run(
    setup: &Setup,
    pipeline: Pipeline,
    source: ReplaySource,
    stop: &AtomicBool,
) -> Result<Ran> {
    let started = Instant::now();
    let Setup { home, config, replay, .. } = setup;
    Held::new(replay, source.data_digest(), config, pipeline.model().digest()).claim(home.dir())?;
    let options = LogOptions { segment_bytes: config.local.segment_bytes };
    let log = LocalLog::open(home.log(), options).context("the local log cannot be opened")?;
    let health = Arc::new(Health::new());
    let http = Http::start_if_free(config.http, &health, dashboard(setup, &log)?);
    health.model_loaded();
    health.tasks_assigned(1);
    let keepsakes = Keepsakes::default();
    let (mut drive, recovery) = open(setup, &log, pipeline, keepsakes.clone())?;
    health.task_reading();
    let resumed = drive.commit_number() > 0;
    let codec = codec(setup)?;
    let fed_to_end = AtomicBool::new(false);
    let (fed, reconciliation) = thread::scope(|scope| -> Result<_> {
        let feeder = scope.spawn(|| {
            let told = tell(setup, source, &log, &codec, stop);
            fed_to_end.store(true, Ordering::Release);
            told
        });
        let driven = turn_to_end(&mut drive, &fed_to_end, stop);
        if driven.is_err() {
            stop.store(true, Ordering::Release);
        }
        let told = feeder.join().map_err(|_| anyhow!("the replay's thread panicked"))?;
        driven.map_err(advised)?;
        told
    })?;
    drive.finish()?;
    Ok(Ran {
        counts: drive.counts().clone(),
        reconciliation,
        fed,
        task: drive.task().clone(),
        keepsakes,
        log,
        http,
        found: found(&recovery, resumed),
        wall: started.elapsed(),
        stopped: stop.load(Ordering::Acquire),
    })
}

/// The pages over the run's own log; `None` where nobody listens, and for patients who may be
/// real where no tokens say who may see them: a person opens those, with `nowcxr serve --open`.
fn dashboard(setup: &Setup, log: &Arc<LocalLog>) -> Result<Option<Dashboard>> {
    let open = setup.config.access.tokens.is_none();
    if setup.config.http.is_none() || open && !setup.demo {
        return Ok(None);
    }
    let pages = Pages {
        provenance: setup.provenance.clone(),
        synthetic: setup.demo,
        codec: codec(setup)?,
        acts: None,
        report: None,
    };
    let (feed, archive) = LocalFeed::own(Arc::clone(log));
    // The recording goes on without pages where another process writes the audit log.
    Ok(pages
        .dashboard(&setup.config, feed, archive)
        .inspect_err(|error| tracing::warn!("no dashboard for this run: {}", told(error)))
        .ok())
}

/// What a person should know about the state that a run started from.
fn found(recovery: &Recovery, resumed: bool) -> Option<String> {
    match recovery {
        Recovery::MovedAside { to, why } => {
            Some(format!("the state was damaged ({why}), moved to {} and rebuilt", to.display()))
        }
        Recovery::RolledBack { found, flushed } => Some(format!(
            "the state had lost its tail (commit {found} of {flushed}) and was brought up to date"
        )),
        Recovery::New | Recovery::Clean if resumed => {
            Some("an earlier run was resumed; latencies count from there".to_owned())
        }
        Recovery::New | Recovery::Clean => None,
    }
}

fn tell(
    setup: &Setup,
    source: ReplaySource,
    log: &LocalLog,
    codec: &Codec,
    stop: &AtomicBool,
) -> Result<(Fed, Reconciliation)> {
    let encoder = Encoder::new(codec, &setup.config.engine.feeds, &setup.replay)?;
    let mut player = Player::new(source, encoder, &setup.replay, setup.speed);
    let is_timed = setup.config.engine.feeds.iter().any(|feed| feed.lateness.is_some());
    let sink = LogSink::open(log, codec, setup.replay.faults.is_some())?.timed(is_timed);
    let with = (&setup.replay, &setup.dictionary);
    feed_with_faults(&mut player, sink, codec, with, setup.home.dir(), stop)
}

/// The configured model.
pub fn pipeline(config: &Config) -> Result<Pipeline> {
    set_threads(config.predict.threads);
    let dir = &config.predict.model;
    Pipeline::open(dir, config.predict.device, FEATURE_CACHE_BYTES).with_context(|| {
        let advice = "name a model directory with --set predict.model=DIR";
        format!("the model in {} cannot be used; {advice}", dir.display())
    })
}

fn open(
    setup: &Setup,
    log: &LocalLog,
    pipeline: Pipeline,
    keepsakes: Keepsakes,
) -> Result<(EmbeddedDrive, Recovery)> {
    let config = &setup.config;
    let started = Instant::now();
    let options = StoreOptions { cache_bytes: config.store.cache_bytes, ..StoreOptions::default() };
    let (mut store, recovery) =
        SledStore::open(setup.home.state(), &options).context("the state cannot be opened")?;
    let health = store.health()?;
    StoreRecovered {
        task: 0,
        commit: health.commit,
        values: health.entries,
        found: recovery.told(),
        took: started.elapsed(),
    }
    .emit();
    let identity = identity(config, &setup.dictionary, pipeline.model());
    store.set_config_digest(identity.config_digest);
    // A replay waits for every answer; only a service has a deadline.
    let bounds = WorkerConfig { max_pending: config.predict.queue, deadline: None };
    let worker = Worker::start(pipeline, bounds)?;
    let ports = Ports {
        source: LocalSource::open(log, &Topic::ALL, 0)?,
        store,
        committer: Outbox {
            outlet: LocalOutlet::open(log, 0, Box::new(now))?,
            journal: LocalJournal::open(log, 0, Box::new(now))?,
        },
        predictor: Listening::new(worker, keepsakes),
    };
    let task = Task::new(config.engine.clone(), identity);
    let (node, errors) = (node(config), config.errors);
    let options = DriveOptions { node, errors, ..DriveOptions::default() };
    let drive = Drive::open(ports, task, codec(setup)?, options, now)?;
    Ok((drive, recovery))
}

/// What a person can do about an error that would pass: there is nobody here to try again.
fn advised(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(DriveError::Port(PortError::Retry(what))) => {
            anyhow!("{what}; then give the same command again: it goes on where it stopped")
        }
        _ => error,
    }
}

/// Who speaks in the events of a service. The epoch is drawn from configuration and model, so that
/// answers of another one, read back from the journal, are not taken for this one's.
pub fn identity(config: &Config, dictionary: &Dictionary, model: &Artifact) -> Identity {
    let config_digest = config.digest(model.digest());
    let [a, b, c, d, e, f, g, h, ..] = config_digest.0;
    // The journal's epoch is a signed number.
    let epoch = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    Identity {
        model: model.name(),
        config_digest,
        mode: config.alerts.mode,
        doubts: model.about.doubts.clone(),
        variables: dictionary.variables().iter().map(|v| v.code.clone()).collect(),
        epoch,
    }
}

fn codec(setup: &Setup) -> Result<Codec> {
    Ok(Codec::new(&setup.config.engine.feeds, setup.dictionary.clone())?)
}

fn turn_to_end(
    drive: &mut EmbeddedDrive,
    fed_to_end: &AtomicBool,
    stop: &AtomicBool,
) -> Result<()> {
    let mut progress = Progress::new("predicting", "windows");
    loop {
        // Asked before the turn, so that an idle turn after it means that all was read.
        let all_written = fed_to_end.load(Ordering::Acquire);
        let turn = drive.turn()?;
        let counts = drive.counts();
        progress.set(counts.answered, counts.sealed);
        if stop.load(Ordering::Acquire) || all_written && turn.idle() {
            progress.finish();
            return Ok(());
        }
    }
}

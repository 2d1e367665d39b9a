//! `nowcxr replay`: recorded stays through the whole pipeline.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::availability::AvailabilityArgs;
use super::detection::{Told, detect};
use super::embedded::{self, Home, Ran, Setup};
use super::envelopes;
use super::exports::{Exports, export};
use super::feeding::{Fed, KafkaFeed, feed_with_faults};
use super::held::{Held, is_pairing_simulated};
use super::pictures;
use super::progress::Progress;
use super::schemas::Ids;
use super::serving::Http;
use super::settings::ConfigArgs;
use super::summary::Summary;
use super::{STOPPED, print, stop_on_signal};
use crate::config::Config;
use crate::event::dictionary::Dictionary;
use crate::replay::faults::FaultPlan;
use crate::replay::{
    Anchor, Clock, Cohort, EngineCounts, ItemFilter, Reconciliation, ReplayConfig,
};
use crate::replay::{Encoder, Player, ReplaySource, Speed};
use crate::time::Span;
use crate::transport::kafka::KafkaSettings;
use crate::wire::Codec;

#[derive(Args)]
pub struct ReplayArgs {
    /// MIMIC-IV as downloaded: the directory with hosp/ and icu/.
    #[arg(long, value_name = "DIR")]
    mimic_iv: PathBuf,
    /// MIMIC-CXR or MIMIC-CXR-JPG as downloaded: the directory with files/ and the metadata.
    #[arg(long, value_name = "DIR")]
    mimic_cxr: Option<PathBuf>,
    /// Where state, log and outputs go. A directory of an earlier, interrupted replay is resumed.
    /// While it runs, `nowcxr control` finds it there.
    #[arg(long, default_value = "nowcxr-replay")]
    out: PathBuf,
    /// `local` computes everything in this process; `kafka` writes the input topics named by
    /// [kafka] and leaves the rest to `nowcxr run`.
    #[arg(long, value_enum, default_value_t = To::Local)]
    to: To,
    /// How fast: 1 is real time, 60 an hour a minute, `max` as fast as it goes. `nowcxr control`
    /// changes it meanwhile.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Only the stays listed in this file, one id a line.
    #[arg(long, value_name = "FILE")]
    stays: Option<PathBuf>,
    /// Only stays with an AP film from 24 h before to 48 h after admission.
    #[arg(long)]
    with_film: bool,
    /// Only stays at least so many hours long.
    #[arg(long, value_name = "HOURS")]
    min_stay: Option<i64>,
    /// At most so many stays, the first ones admitted.
    #[arg(long)]
    limit: Option<usize>,
    /// Only stays whose first care unit's name contains this text, such as "Surgical".
    #[arg(long, value_name = "TEXT")]
    care_unit: Option<String>,
    /// Where the stays stand in time. A run that is resumed keeps the now it began with.
    #[arg(long, value_enum, default_value_t = AnchorChoice::Original)]
    anchor: AnchorChoice,
    /// Seed of whatever the replay draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    availability: AvailabilityArgs,
    /// Put faults into the records on purpose, drawn by --seed: rate=0.01 for one in a hundred,
    /// and ,kinds=late+garbage for these kinds only (duplicate, drop, late, reorder, correct,
    /// wrong_patient, unit_swap, garbage, stale_film, inverted_film). The truth about each goes to
    /// faults.jsonl in --out and to the topic `fault`. Never on data that anybody relies on.
    #[arg(long, value_name = "rate=SHARE")]
    faults: Option<FaultPlan>,
    /// Look at the inputs once more when all is told, and say of each kind of fault how many the
    /// pipeline has found and how; also in detection.json in --out.
    #[arg(long, requires = "faults")]
    detection: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
    /// End with the recording. Otherwise, at a terminal, the dashboard is served until Ctrl-C.
    #[arg(long)]
    no_serve: bool,
}

/// Where a recording is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    Local,
    Kafka,
}

/// What is done to a recording's dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnchorChoice {
    /// The recording's own dates.
    Original,
    /// One shift for all: the first admission is now.
    Now,
    /// A shift a stay: every admission is now, which fills a ward. Stays of one patient then run
    /// side by side.
    Each,
}

impl AnchorChoice {
    /// The anchor of a run; `earlier` is that of the run which it may go on with.
    fn at(self, earlier: Option<Anchor>) -> Anchor {
        match (self, earlier) {
            (AnchorChoice::Original, _) => Anchor::Original,
            (AnchorChoice::Now, Some(same @ Anchor::First(_)))
            | (AnchorChoice::Each, Some(same @ Anchor::Each(_))) => same,
            (AnchorChoice::Now, _) => Anchor::First(super::now()),
            (AnchorChoice::Each, _) => Anchor::Each(super::now()),
        }
    }
}

/// A recording and how to play it.
pub struct Recording {
    pub replay: ReplayConfig,
    pub speed: Speed,
    /// Printed wherever a score appears.
    pub provenance: String,
    /// Made-up patients.
    pub demo: bool,
    /// Go on serving the dashboard when all is told, if somebody sits at the terminal.
    pub serve: bool,
    /// Say in the end what was found of the faults.
    pub detect: bool,
}

pub fn run(args: &ReplayArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.with(args.availability.sets()).load()?;
    let anchor = args.anchor.at(Held::read(&args.out)?.map(|earlier| earlier.anchor()));
    let cohort = Cohort {
        stays_file: args.stays.clone(),
        care_unit: args.care_unit.clone(),
        with_film: args.with_film,
        min_stay: args.min_stay.map(Span::hours),
        limit: args.limit,
    };
    let replay = ReplayConfig {
        mimic_iv: args.mimic_iv.clone(),
        mimic_cxr: args.mimic_cxr.clone(),
        anchor,
        cohort,
        seed: args.seed,
        faults: args.faults.clone(),
        ..ReplayConfig::under(&config)
    };
    let simulated = args.mimic_cxr.as_deref().is_some_and(is_pairing_simulated);
    let pairing = if simulated {
        " The pairing of films and stays is SIMULATED: no score below is a clinical result."
    } else {
        ""
    };
    let ahead = if replay.clock == Clock::Charttime {
        " Values count from charttime: a ward would not have known them so early."
    } else {
        ""
    };
    let provenance = format!("Replay of {}.{pairing}{ahead}", args.mimic_iv.display());
    let (speed, serve, detect) = (args.speed, !args.no_serve, args.detection);
    let recording = Recording { replay, speed, provenance, demo: false, serve, detect };
    match args.to {
        To::Local => replay_into(&args.out, recording, config, args.json),
        To::Kafka => replay_to_kafka(&args.out, recording, &config, args.json),
    }
}

/// Reads the recording's tables; the films are read when they are told.
fn read(recording: &Recording, dictionary: &Dictionary) -> Result<ReplaySource> {
    let mut progress = Progress::new("reading the recording", "KiB");
    let items = ItemFilter::of(dictionary);
    let source = ReplaySource::open(&recording.replay, &items, &mut |at| {
        progress.set(at.bytes_read_in_all >> 10, at.bytes_in_all >> 10);
    })?;
    progress.finish();
    Ok(source)
}

/// Tells a recording to the input topics, labels and dead letters beside them, and says what
/// became of its rows.
fn replay_to_kafka(
    out: &Path,
    recording: Recording,
    config: &Config,
    json: bool,
) -> Result<ExitCode> {
    let stop = stop_on_signal()?;
    let started = Instant::now();
    let dictionary = Dictionary::builtin(config.profile)?;
    let ids = Ids::of(config)?;
    let codec = ids.codec(config, &dictionary)?;
    let kafka = KafkaSettings::from(&config.kafka);
    let has_faults = recording.replay.faults.is_some();
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let sink = KafkaFeed::open(&kafka, &codec, has_faults)?;
    let partitions = sink.partitions();
    let source = read(&recording, &dictionary)?;
    let encoder = Encoder::new(&codec, &config.engine.feeds, &recording.replay)?;
    let mut player = Player::new(source, encoder, &recording.replay, recording.speed);
    let with = (&recording.replay, &dictionary);
    let (fed, books) = feed_with_faults(&mut player, sink, &codec, with, out, &stop)?;
    let stopped = stop.load(Ordering::Acquire);
    let seconds = started.elapsed().as_secs_f64();
    let detection = recording.detect.then(|| detect(Told::Kafka(&kafka, ids), out, config, &stop));
    let detection = detection.transpose()?;
    if json {
        let told = json!({
            "provenance": recording.provenance, "stopped_early": stopped, "told": fed,
            "rows": books, "topics": kafka.inputs(), "partitions": partitions, "wall_s": seconds,
            "detection": detection,
        });
        print(&serde_json::to_string_pretty(&told)?)?;
    } else {
        let Fed { records, films, rejected, labels } = fed;
        print(&format!(
            "{books}\n{}\n\n  told {records} records ({films} films) and {labels} labels in \
             {seconds:.1} s\n  rejected {rejected} rows, which are dead letters\n  topics {} in \
             {partitions} partitions{}",
            recording.provenance,
            kafka.inputs().join(", "),
            detection.as_ref().map(|found| format!("\n{found}")).unwrap_or_default()
        ))?;
    }
    Ok(if stopped { ExitCode::from(STOPPED) } else { ExitCode::SUCCESS })
}

/// Plays a recording into `out` and prints what came of it.
pub fn replay_into(
    out: &Path,
    recording: Recording,
    config: Config,
    json: bool,
) -> Result<ExitCode> {
    // What can fail at once fails before the long part.
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let pipeline = embedded::pipeline(&config)?;
    let stop = stop_on_signal()?;
    let dictionary = Dictionary::builtin(config.profile)?;
    let source = read(&recording, &dictionary)?;
    let setup = Setup {
        home: Home::new(out),
        dictionary,
        config,
        replay: recording.replay,
        speed: recording.speed,
        provenance: recording.provenance.clone(),
        demo: recording.demo,
    };
    let mut ran = embedded::run(&setup, pipeline, source, &stop)?;
    let codec = Codec::new(&setup.config.engine.feeds, setup.dictionary.clone())?;
    let exports = export(&ran.log, &codec, out)?;
    let envelopes = envelopes::export(&ran.log, &codec, out)?;
    let films = draw(&setup, &ran, &exports, out)?;
    let books = close_books(&mut ran);
    let mut summary = Summary::new(&ran, &exports, recording.provenance);
    summary.outputs = vec![
        exports.risk_jsonl,
        exports.risk_avro,
        envelopes,
        exports.alerts_jsonl,
        exports.dead_letters,
        films,
        books.path(out),
    ];
    books.write(out)?;
    let detection = recording.detect.then(|| detect(Told::Local(out), out, &setup.config, &stop));
    summary.detection = detection.transpose()?;
    if json {
        print(&serde_json::to_string_pretty(&summary)?)?;
    } else {
        print(&format!("{}\n{summary}", books.0))?;
    }
    let serve = recording.serve && std::io::stdout().is_terminal() && !ran.stopped;
    end_http(ran.http.take(), serve, &stop)?;
    finish(&ran, &books)
}

/// Goes on with the dashboard until Ctrl-C, if `serve` and there is one.
fn end_http(http: Option<Http>, serve: bool, stop: &AtomicBool) -> Result<()> {
    let Some(http) = http else { return Ok(()) };
    http.finish();
    match http.dashboard_address().filter(|_| serve) {
        Some(address) => {
            print(&format!("\n  dashboard              {address} (Ctrl-C ends it)"))?;
            http.serve_until(stop)
        }
        None => http.stop(),
    }
}

fn finish(ran: &Ran, books: &Books) -> Result<ExitCode> {
    if ran.stopped {
        return Ok(ExitCode::from(STOPPED));
    }
    let differences = books.0.differences();
    if !differences.is_empty() {
        bail!("the counts do not reconcile: {}", differences.join("; "));
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(setup: &Setup, ran: &Ran, exports: &Exports, out: &Path) -> Result<PathBuf> {
    let dir = out.join("films");
    let mut pipeline = embedded::pipeline(&setup.config)?;
    pictures::draw(&ran.keepsakes, &exports.events, &mut pipeline, &dir, super::demo::made(out))?;
    Ok(dir)
}

/// The reconciliation of every row read with what became of it.
struct Books(Reconciliation);

/// Enters what the engine says of each topic beside what the replay says of each table.
fn close_books(ran: &mut Ran) -> Books {
    let mut books = ran.reconciliation.clone();
    for topic in crate::ids::Topic::ALL {
        let fate = |name| ran.counts.fates.get(&(topic, name)).copied().unwrap_or_default();
        let rejected = ran.counts.rejected.iter().filter(|((of, _), _)| *of == topic);
        books.enter_engine(
            topic,
            EngineCounts {
                used: fate("used"),
                late: fate("late"),
                duplicate: fate("duplicate"),
                shadow: fate("shadow"),
                rejected: rejected.map(|((_, reason), n)| (*reason, *n)).collect(),
            },
        );
    }
    Books(books)
}

impl Books {
    fn path(&self, out: &Path) -> PathBuf {
        out.join("reconciliation.json")
    }

    fn write(&self, out: &Path) -> Result<()> {
        let path = self.path(out);
        let text = serde_json::to_string_pretty(&self.0)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

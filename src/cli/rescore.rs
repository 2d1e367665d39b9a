//! `nowcxr rescore`: what another model would have said of the same windows.
//!
//! The inputs are read once more by the one loop, with an empty state in memory and the feeds
//! passed over where the journal says so; windows are sealed as they were. What leaves is written
//! beside everything else, and nothing but risk events leaves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use super::embedded::{self, Home};
use super::moment::moment;
use super::offline::{Inputs, Offline, Within};
use super::schemas::Ids;
use super::settings::ConfigArgs;
use super::{STOPPED, print, stop_on_signal};
use crate::engine::Identity;
use crate::event::dictionary::Dictionary;
use crate::event::risk::{Mode, RiskEvent};
use crate::predict::{Worker, WorkerConfig};
use crate::time::EventTime;
use crate::transport::kafka::{KafkaSettings, KafkaSink, check_topics, ensure_topic_beside};
use crate::wire::{Codec, risk_to_json};

/// Answers the sealed windows of a stretch of time anew under another model: the inputs are read
/// once more, the same windows are sealed, and their risk events go to a file or topic of their
/// own. Nothing else is written, no state is touched and no alert fires, so it may run beside the
/// service.
///
/// Windows of stays that are over are answered too, as far as the inputs reach back.
#[derive(Args)]
pub struct RescoreArgs {
    /// The model that answers.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Read the log of this demo or replay; without it the Kafka topics that [kafka] names.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Only windows from this time of the patient on, such as 2150-01-05T02:00.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: Option<EventTime>,
    /// Only windows before this time.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    until: Option<EventTime>,
    /// Where the risk events go, as JSON lines.
    #[arg(long, value_name = "FILE", default_value = "rescored.jsonl")]
    out: PathBuf,
    /// Write them to this Kafka topic, too, in the form of the risk topic.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where the events go, and how many went.
struct Shelf {
    file: BufWriter<File>,
    path: PathBuf,
    topic: Option<(KafkaSink, String)>,
    statuses: BTreeMap<&'static str, u64>,
}

pub fn run(args: &RescoreArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let mut config = settings.load()?;
    config.predict.model = args.model.clone();
    let from = args.from.unwrap_or(EventTime::MIN);
    let until = args.until.unwrap_or(EventTime::MAX);
    if from >= until {
        bail!("--from {from} is not before --until {until}");
    }
    let kafka = KafkaSettings::from(&config.kafka);
    let mut shelf = Shelf::open(args, &kafka)?;
    let dictionary = Dictionary::builtin(config.profile)?;
    let pipeline = embedded::pipeline(&config)?;
    let identity = embedded::identity(&config, &dictionary, pipeline.model());
    let limits = WorkerConfig { max_pending: config.predict.queue, deadline: None };
    let worker = Worker::start(pipeline, limits)?;
    let stop = stop_on_signal()?;
    // Whatever the service may do, these events disturb nobody.
    let identity = Identity { mode: Mode::Silent, ..identity };
    let ids = if args.run.is_some() { Ids::default() } else { Ids::of(&config)? };
    let offline = Offline { config, dictionary, identity, ids, stop };
    let asks = || Within::new(worker.share(), from, until);
    let mut take = |event: &RiskEvent, payload: &[u8]| match (from..until).contains(&event.t) {
        true => shelf.take(event, payload),
        false => Ok(()),
    };
    match &args.run {
        Some(dir) => offline.run(Inputs::local(&Home::new(dir))?, asks(), None, &mut take)?,
        None => {
            let partitions = check_topics(&kafka)?;
            for partition in 0..partitions {
                offline.run(
                    Inputs::kafka(&kafka, partition, partitions)?,
                    asks(),
                    None,
                    &mut take,
                )?;
            }
        }
    }
    shelf.close()?;
    shelf.tell(args, &offline)
}

impl Shelf {
    fn open(args: &RescoreArgs, kafka: &KafkaSettings) -> Result<Self> {
        let topic = args.topic.as_ref().map(|name| -> Result<_> {
            ensure_topic_beside(kafka, name)?;
            Ok((KafkaSink::open(kafka)?, name.clone()))
        });
        let path = args.out.clone();
        let file = File::create(&path).with_context(|| {
            format!("cannot write {}; name another file with --out", path.display())
        })?;
        let (file, statuses) = (BufWriter::new(file), BTreeMap::new());
        Ok(Shelf { file, path, topic: topic.transpose()?, statuses })
    }

    fn take(&mut self, event: &RiskEvent, payload: &[u8]) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        writeln!(self.file, "{}", risk_to_json(event)?).with_context(cannot)?;
        if let Some((sink, topic)) = &mut self.topic {
            sink.beside(topic, Codec::key(event.stay).as_bytes(), payload)?;
        }
        *self.statuses.entry(event.counted_as()).or_default() += 1;
        Ok(())
    }

    fn tell(&self, args: &RescoreArgs, offline: &Offline) -> Result<ExitCode> {
        let stopped = offline.stop.load(Ordering::Acquire);
        let (model, n): (_, u64) = (&offline.identity.model, self.statuses.values().sum());
        if args.json {
            let summary = json!({
                "model": model.name, "version": model.version,
                "model_digest": model.digest.to_string(), "events": n,
                "by_status": self.statuses, "out": args.out, "topic": args.topic,
                "stopped_early": stopped,
            });
            print(&serde_json::to_string_pretty(&summary)?)?;
        } else {
            let (name, version, out) = (&model.name, &model.version, args.out.display());
            print(&format!("{n} risk events under {name} {version} in {out}; no alert fired"))?;
        }
        Ok(if stopped { ExitCode::from(STOPPED) } else { ExitCode::SUCCESS })
    }

    fn close(&mut self) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        self.file.flush().with_context(cannot)?;
        if let Some((sink, _)) = &mut self.topic {
            sink.flush()?;
        }
        Ok(())
    }
}

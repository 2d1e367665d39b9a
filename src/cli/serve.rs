//! `nowcxr serve`: the dashboard over the directory of a demo or a replay, finished or running, or
//! over the topics of a service.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::alerts::acts;
use super::embedded::Home;
use super::schemas::Ids;
use super::serving::{Http, Pages};
use super::settings::ConfigArgs;
use super::{print, stop_on_signal};
use crate::config::Config;
use crate::event::dictionary::Dictionary;
use crate::http::Health;
use crate::http::dashboard::{Acts, Dashboard, LocalFeed, kafka};
use crate::ids::Digest;
use crate::transport::kafka::KafkaSettings;
use crate::wire::Codec;

#[derive(Args)]
pub struct ServeArgs {
    /// The directory of a demo or a replay.
    #[arg(long, default_value = "nowcxr-demo")]
    out: PathBuf,
    /// Show the ward of the service whose topics kafka.brokers and kafka.prefix name, from
    /// http.history ago on. It joins no group, and writes only
    /// what those who have signed in answer to alerts.
    #[arg(long, conflicts_with = "out")]
    kafka: bool,
    /// Show the report that `nowcxr evaluate --out DIR` made of this run, on a page of its own.
    #[arg(long, value_name = "DIR", conflicts_with = "kafka")]
    evaluation: Option<PathBuf>,
    /// Where to listen, instead of http.listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Show stays that no demo made up without http.tokens, which say who may see them: whoever
    /// can reach this machine's loopback address then does. Looks at stays go to http.audit.
    #[arg(long)]
    open: bool,
}

pub fn run(args: &ServeArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let synthetic = !args.kafka && super::demo::made(&args.out);
    if !args.open && config.access.tokens.is_none() && !synthetic {
        let what = "no http.tokens say who may see it; make some with nowcxr token, or add --open";
        bail!("no demo made this ward, and {what}");
    }
    let Some(address) = args.listen.or(config.http) else {
        bail!("http.listen is off; name an address with --listen 127.0.0.1:8080");
    };
    let stop = stop_on_signal()?;
    let (dashboard, is_over) = match args.kafka {
        true => (over_kafka(&config, &Ids::of(&config)?)?, false),
        false => {
            let report =
                args.evaluation.as_deref().map(|dir| report(dir, &args.out)).transpose()?;
            over_log(&config, &args.out, report)?
        }
    };
    let health = Arc::new(Health::of_pages());
    let http = Http::start(address, &health, Some(dashboard))?;
    if is_over {
        http.finish();
    }
    if let Some(address) = http.dashboard_address() {
        print(&format!("dashboard at {address} (Ctrl-C ends it)"))?;
    }
    http.serve_until(&stop)?;
    Ok(ExitCode::SUCCESS)
}

/// The pages over a directory, and whether nothing more will come into it.
pub fn over_log(config: &Config, out: &Path, report: Option<PathBuf>) -> Result<(Dashboard, bool)> {
    let log = Home::new(out).log();
    if !log.exists() {
        bail!("{} holds no log; name the directory of a run with --out", out.display());
    }
    let (feed, archive) = LocalFeed::other(&log).context("the log cannot be read")?;
    let codec = Codec::new(&config.engine.feeds, Dictionary::builtin(config.profile)?)?;
    let synthetic = super::demo::made(out);
    let pages = Pages { provenance: provenance(out), synthetic, codec, acts: None, report };
    Ok((pages.dashboard(config, feed, archive)?, !is_written(&log)))
}

/// The pages over the topics of a service.
pub fn over_kafka(config: &Config, ids: &Ids) -> Result<Dashboard> {
    let (feed, archive) = kafka(&KafkaSettings::from(&config.kafka), config.access.history);
    let provenance = format!("The outputs of the service {}, by Kafka.", config.kafka.group);
    let dictionary = Dictionary::builtin(config.profile)?;
    let codec = ids.codec(config, &dictionary)?;
    // Where the service hears nobody, nobody is asked.
    let acts = acts(config, ids.codec(config, &dictionary)?).ok();
    let acts = acts.map(|acts| Arc::new(acts) as Arc<dyn Acts>);
    Pages { provenance, synthetic: false, codec, acts, report: None }
        .dashboard(config, feed, archive)
}

/// The report in `dir`, if its manifest says that it is one of the run in `out`.
fn report(dir: &Path, out: &Path) -> Result<PathBuf> {
    let advice = "make one with nowcxr evaluate --run";
    let manifest = dir.join("manifest.json");
    let text = std::fs::read_to_string(&manifest)
        .with_context(|| format!("{} cannot be read; {advice}", manifest.display()))?;
    let told: serde_json::Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is no manifest; {advice}", manifest.display()))?;
    let risk = out.join("risk.jsonl");
    let bytes =
        std::fs::read(&risk).with_context(|| format!("{} cannot be read", risk.display()))?;
    if told["inputs"]["risk.jsonl"] != Digest::of(&bytes).to_string() {
        bail!("the report in {} is of another run; {advice} {}", dir.display(), out.display());
    }
    Ok(dir.join("report.html"))
}

/// True while another process holds the log's lock.
fn is_written(log: &Path) -> bool {
    let Ok(lock) = std::fs::File::open(log.join("lock")) else { return false };
    match lock.try_lock_shared() {
        Ok(()) => {
            // Closing the file lets go of it in any case.
            lock.unlock().ok();
            false
        }
        Err(_) => true,
    }
}

fn provenance(out: &Path) -> String {
    let what = if super::demo::made(out) {
        "A synthetic ward: made-up patients. No score says anything about a person."
    } else {
        "The recorded outputs of a replay."
    };
    what.to_owned()
}

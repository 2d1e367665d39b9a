//! `nowcxr inspect`: what a store holds.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::embedded::Home;
use crate::config::EngineConfig;
use crate::engine::{Stay, Watermark, WindowState};
use crate::ports::StateStore as _;
use crate::store::sled::{Recovery, SledStore, StoreOptions};
use crate::store::values;

#[derive(Args)]
pub struct InspectArgs {
    /// The directory of a demo or a replay.
    #[arg(long, default_value = "nowcxr-replay")]
    out: PathBuf,
    /// Show this stay; without it the store's health, the positions and a line for each stay.
    stay: Option<u64>,
}

pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let dir = Home::new(&args.out).state();
    if !dir.exists() {
        bail!("{} holds no state; name the directory of a run with --out", args.out.display());
    }
    let options = StoreOptions { only_look: true, ..StoreOptions::default() };
    let (store, recovery) = SledStore::open(&dir, &options)
        .with_context(|| format!("cannot open the state in {}", dir.display()))?;
    let n_feeds = EngineConfig::default().feeds.len();
    let (watermark, stays) = values::load(&store, n_feeds)?;
    let shown = match args.stay {
        Some(id) => {
            let stay = stays.iter().find(|stay| stay.id.0 == id);
            stay_in_full(stay.with_context(|| {
                format!(
                    "the store holds no stay {id}; one is forgotten `engine.keep` after its end"
                )
            })?)
        }
        None => overview(&store, &recovery, &watermark, &stays)?,
    };
    super::print(&serde_json::to_string_pretty(&shown)?)?;
    Ok(ExitCode::SUCCESS)
}

fn overview(
    store: &SledStore,
    recovery: &Recovery,
    watermark: &Watermark,
    stays: &[Stay],
) -> Result<Value> {
    let health = store.health()?;
    let positions: Vec<Value> = store
        .opened()
        .positions
        .iter()
        .map(|p| json!({"topic": p.topic.name(), "partition": p.partition, "next": p.next}))
        .collect();
    Ok(json!({
        "opened": format!("{recovery:?}"),
        "commit": health.commit,
        "entries": health.entries,
        "live_bytes": health.live_bytes,
        "disk_bytes": health.disk_bytes,
        "digest": format!("{:032x}", health.digest),
        "watermark": watermark.time().to_string(),
        "positions": positions,
        "stays": stays.iter().map(stay_in_short).collect::<Vec<_>>(),
    }))
}

fn stay_in_short(stay: &Stay) -> Value {
    json!({
        "stay": stay.id.0,
        "admitted_at": stay.admitted().map(|admitted| admitted.at.to_string()),
        "ended": stay.ended().map(|how| format!("{how:?}").to_lowercase()),
        "observations": stay.history().len(),
        "waiting": stay.n_waiting(),
        "windows": stay.windows().len(),
        "open": stay.unanswered().count(),
        "bytes": stay.history().bytes(),
    })
}

fn stay_in_full(stay: &Stay) -> Value {
    let windows: Vec<Value> = stay
        .windows()
        .iter()
        .map(|window| {
            json!({
                "t": window.t.to_string(),
                "revision": window.revision,
                "known_at": window.known_at.to_string(),
                "facts": window.series.n_facts,
                "film_acquired_at": window.film.map(|film| film.acquired_at.to_string()),
                "input_digest": window.input_digest.to_string(),
                "answered": window.state == WindowState::Answered,
            })
        })
        .collect();
    let hours: Vec<Value> = stay
        .history()
        .chunks()
        .map(|chunk| json!({"hour": chunk.hour(), "observations": chunk.len()}))
        .collect();
    json!({ "summary": stay_in_short(stay), "hours": hours, "windows": windows })
}

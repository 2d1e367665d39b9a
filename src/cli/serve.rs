//! `nowcxr serve`: the dashboard over the directory of a demo or a replay, finished or running.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::embedded::Home;
use super::serving::{Http, Pages};
use super::settings::ConfigArgs;
use super::{print, stop_on_signal};
use crate::http::Health;
use crate::http::dashboard::LocalFeed;

#[derive(Args)]
pub struct ServeArgs {
    /// The directory of a demo or a replay.
    #[arg(long, default_value = "nowcxr-demo")]
    out: PathBuf,
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
    let log = Home::new(&args.out).log();
    if !log.exists() {
        bail!("{} holds no log; name the directory of a run with --out", args.out.display());
    }
    if !args.open && config.access.tokens.is_none() && !super::demo::made(&args.out) {
        let what = "and no http.tokens say who may see it; make some with nowcxr token, or add";
        bail!("no demo made {}, {what} --open", args.out.display());
    }
    let Some(address) = args.listen.or(config.http) else {
        bail!("http.listen is off; name an address with --listen 127.0.0.1:8080");
    };
    let stop = stop_on_signal()?;
    let (feed, archive) = LocalFeed::other(&log).context("the log cannot be read")?;
    let synthetic = super::demo::made(&args.out);
    let pages = Pages { provenance: provenance(&args.out), synthetic };
    let dashboard = pages.dashboard(&config, feed, archive)?;
    let health = Arc::new(Health::of_pages());
    let http = Http::start(address, &health, Some(dashboard))?;
    if !is_written(&log) {
        http.finish();
    }
    if let Some(address) = http.dashboard_address() {
        print(&format!("dashboard at {address} (Ctrl-C ends it)"))?;
    }
    http.serve_until(&stop)?;
    Ok(ExitCode::SUCCESS)
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

pub fn provenance(out: &Path) -> String {
    let what = if super::demo::made(out) {
        "A synthetic ward: made-up patients. No score says anything about a person."
    } else {
        "The recorded outputs of a replay."
    };
    what.to_owned()
}

//! `nowcxr edge hl7`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;

use super::{ListenArgs, metrics, on_kafka, on_log, runtime, secret, tell};
use crate::cli::replay::To;
use crate::cli::settings::ConfigArgs;
use crate::cli::{now, print, stop_on_signal};
use crate::config::Config;
use crate::edge::{self, Desk, Language, Sink, server};
use crate::store::sled::SledStore;

pub fn run(args: &ListenArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let secret = secret(&config)?;
    let Some(address) = args.listen.or(config.edge.hl7_listen) else {
        bail!("edge.hl7_listen is off; name an address with --listen 127.0.0.1:2575");
    };
    let stop = stop_on_signal()?;
    let language = Language::Hl7;
    match args.to {
        To::Kafka => {
            let (store, sink) = on_kafka(&config, &config.edge.dir)?;
            let desk = edge::open(language, &config, secret, store, sink)?;
            serve(args.json, address, &config, desk, &stop)
        }
        To::Local => {
            let (store, sink) = on_log(&config, &args.out, "edge")?;
            let desk = edge::open(language, &config, secret, store, sink)?;
            serve(args.json, address, &config, desk, &stop)
        }
    }
}

/// Listens until a person says stop.
fn serve(
    json: bool,
    address: SocketAddr,
    config: &Config,
    mut desk: Desk<SledStore, impl Sink>,
    stop: &AtomicBool,
) -> Result<ExitCode> {
    let runtime = runtime()?;
    let (listener, counter) = runtime
        .block_on(server::bind(address))
        .with_context(|| format!("cannot listen on {address}; see edge.hl7_listen"))?;
    let address = listener.address()?;
    print(&match json {
        true => json!({ "hl7": address.to_string() }).to_string(),
        false => format!("listening for HL7 v2 on {address} (Ctrl-C ends it)"),
    })?;
    let http = metrics(config);
    let served = thread::scope(|scope| {
        let listening = scope.spawn(|| runtime.block_on(listener.serve(stop)));
        let served = counter.run(&mut desk, now, stop);
        // If the desk has failed, nobody can be answered any more.
        stop.store(true, Ordering::Release);
        listening.join().map_err(|_| anyhow!("the listener panicked"))?;
        Ok::<_, anyhow::Error>(served?)
    });
    if let Some(http) = http {
        http.stop()?;
    }
    served?;
    tell(json, desk.counts())?;
    Ok(ExitCode::SUCCESS)
}

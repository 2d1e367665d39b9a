//! The dashboard under load: how long a page takes, and how long an update takes to every open one.
//!
//! A ward of made-up beds with a day of hourly risk events each is put into a log; viewers open the
//! ward and keep it open. Then one new risk event after another is appended to the log, durably,
//! and the clock runs until the last viewer has its tile. Server and viewers share this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::Serialize;

use super::{Clock, Scratch, usage};
use crate::cli::serving::{Http, Pages};
use crate::cli::stop_on_signal;
use crate::config::Config;
use crate::event::dictionary::Dictionary;
use crate::http::Health;
use crate::http::dashboard::LocalFeed;
use crate::ids::StayId;
use crate::ports::{Outlet as _, Output, OutputKind};
use crate::time::{Span, WallTime};
use crate::transport::local::{LocalLog, LocalOutlet, LogOptions};
use crate::wire::{Codec, RiskRecord};

/// Hours of risk events that each bed has before the clock runs.
const HOURS: i64 = 24;
/// The number of the first stay.
const FIRST_STAY: u64 = 30_000_000;
/// Loads of the page that are timed.
const LOADS: usize = 20;
/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// A risk event with everything in it.
const EVENT: &str = include_str!("../../../schemas/examples/risk.json");

#[derive(Clone, Debug, Args)]
pub struct PagesArgs {
    /// Stays of the ward.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    pub beds: u64,
    /// Browsers that keep the ward open.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub viewers: u16,
    /// Risk events that arrive while they look, each of another stay.
    #[arg(long, default_value_t = 50)]
    pub updates: u64,
    /// Then keep serving until Ctrl-C, so that a browser can be pointed at the ward.
    #[arg(long)]
    pub hold: bool,
}

/// Milliseconds, as quantiles.
#[derive(Clone, Copy, Debug, Serialize)]
struct Took {
    p50: f64,
    p99: f64,
    max: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct PagesResult {
    bench: &'static str,
    beds: u64,
    viewers: u16,
    updates: u64,
    /// Where the ward is served.
    url: String,
    /// From the request for the ward to its last byte, while everybody looks.
    page_ms: Took,
    page_bytes: usize,
    /// From before the durable append of a risk event until a viewer has its tile, over all
    /// viewers and updates.
    update_ms: Took,
    /// Of server and viewers, an update.
    cpu_ms_per_update: f64,
    peak_rss_bytes: u64,
}

/// Runs the benchmark; what it held is gone afterwards.
pub fn pages(args: &PagesArgs, settle: impl FnOnce(&PagesResult) -> Result<()>) -> Result<()> {
    ensure!(args.updates <= args.beds, "--updates must not be more than --beds");
    let stop = stop_on_signal()?;
    let scratch = Scratch::new(None)?;
    let log = LocalLog::open(scratch.file("log"), LogOptions::default())?;
    let mut ward = Ward::new(&log)?;
    for hour in 0..HOURS {
        for bed in 0..args.beds {
            ward.append(bed, hour)?;
        }
    }
    let http = served(&log)?;
    let url = http.dashboard_address().context("the dashboard does not listen")?;
    let address: SocketAddr =
        url.trim_start_matches("http://").trim_end_matches('/').parse().context("its address")?;
    await_ward(address, ward.written)?;
    let (tell, told) = unbounded();
    for _ in 0..args.viewers {
        let (tell, updates) = (tell.clone(), args.updates);
        std::thread::spawn(move || view(address, updates, &tell));
    }
    (0..args.viewers).try_for_each(|n| {
        arrival(&told).map(|_| ()).with_context(|| format!("{n} viewers have had a beat"))
    })?;
    let (mut loads, mut page_bytes) = (Vec::new(), 0);
    for _ in 0..LOADS {
        let began = Instant::now();
        page_bytes = get(address, "/ward?show=all")?.len();
        loads.push(began.elapsed());
    }
    let clock = Clock::start();
    let mut arrivals = Vec::new();
    for bed in 0..args.updates {
        let began = Instant::now();
        ward.append(bed, HOURS)?;
        for n in 0..args.viewers {
            let at = arrival(&told).with_context(|| format!("{n} viewers have update {bed}"))?;
            arrivals.push(at.duration_since(began));
        }
    }
    let (cpu_s, _) = clock.read();
    settle(&PagesResult {
        bench: "pages",
        beds: args.beds,
        viewers: args.viewers,
        updates: args.updates,
        url,
        page_ms: Took::of(loads),
        page_bytes,
        update_ms: Took::of(arrivals),
        cpu_ms_per_update: cpu_s * 1e3 / args.updates.max(1) as f64,
        peak_rss_bytes: usage::peak_rss_bytes()?,
    })?;
    match args.hold {
        true => http.serve_until(&stop),
        false => http.stop(),
    }
}

impl Took {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |share: f64| {
            let place = (share * all.len() as f64).ceil() as usize;
            all.get(place.saturating_sub(1)).map_or(0.0, |took| took.as_secs_f64() * 1e3)
        };
        Took { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// The dashboard over the log, as `nowcxr serve` shows it.
fn served(log: &Arc<LocalLog>) -> Result<Http> {
    let config = Config::load(None, [], &[])?;
    let codec = Codec::new(&config.engine.feeds, Dictionary::builtin(config.profile)?)?;
    let provenance = "A benchmark's ward: made-up events.".to_owned();
    let pages = Pages { provenance, synthetic: true, codec, acts: None, report: None };
    let (feed, archive) = LocalFeed::own(Arc::clone(log));
    let dashboard = pages.dashboard(&config, feed, archive)?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Http::start(any, &Arc::new(Health::of_pages()), Some(dashboard))
}

/// Writes risk events.
struct Ward {
    outlet: LocalOutlet,
    codec: Codec,
    event: RiskRecord,
    written: u64,
}

impl Ward {
    fn new(log: &Arc<LocalLog>) -> Result<Self> {
        let config = Config::load(None, [], &[])?;
        let codec = Codec::new(&config.engine.feeds, Dictionary::builtin(config.profile)?)?;
        let outlet = LocalOutlet::open(log, 0, Box::new(|| WallTime::from_millis(0)))?;
        let mut event: RiskRecord = serde_json::from_str(EVENT).context("the example event")?;
        event.stay_end = None;
        Ok(Ward { outlet, codec, event, written: 0 })
    }

    /// The event of a bed at an hour, durable when this returns.
    fn append(&mut self, bed: u64, hour: i64) -> Result<()> {
        let stay = StayId(FIRST_STAY + bed);
        let t = self.event.t + Span::hours(hour);
        let event = RiskRecord { stay_id: stay, t, known_at: t, ..self.event.clone() };
        self.written += 1;
        let output = Output {
            number: self.written,
            kind: OutputKind::Risk,
            stay: Some(stay),
            payload: self.codec.encode(&event)?,
            envelope: b"{}".to_vec(),
        };
        Ok(self.outlet.send(&[output])?)
    }
}

/// Waits until the dashboard has read the whole ward: what it had still to read would be updates.
fn await_ward(address: SocketAddr, written: u64) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let told = format!("<dt>Risk events read</dt><dd>{written}</dd>");
    while !get(address, "/operations")?.contains(&told) {
        ensure!(
            Instant::now() < until,
            "the dashboard does not read {written} events; report this"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut text = String::new();
    request(address, path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn request(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// Keeps a page open: tells of the first beat, then of each update in its order, and ends with an
/// error when the stream does.
fn view(address: SocketAddr, updates: u64, tell: &Sender<Result<Instant>>) {
    let viewed = (|| {
        let mut lines = BufReader::new(request(address, "/live")?).lines();
        let mut until = |what: &str| -> Result<Instant> {
            for line in lines.by_ref() {
                if line?.contains(what) {
                    return Ok(Instant::now());
                }
            }
            anyhow::bail!("a viewer's page ended before {what}")
        };
        tell.send(Ok(until("event: beat")?))?;
        for bed in 0..updates {
            tell.send(Ok(until(&format!("data-stay=\\\"{}\\\"", FIRST_STAY + bed))?))?;
        }
        Ok(())
    })();
    if let Err(error) = viewed {
        // Nobody listens once the benchmark is over.
        tell.send(Err(error)).ok();
    }
}

fn arrival(told: &Receiver<Result<Instant>>) -> Result<Instant> {
    told.recv_timeout(PATIENCE).context("nothing further came in time")?
}

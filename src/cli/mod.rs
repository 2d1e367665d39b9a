//! The command line: one file a command. Here is what the commands share.

mod alerts;
mod audit;
mod availability;
pub mod bench;
mod check;
mod control;
mod dead_letters;
mod demo;
mod detection;
mod drift;
mod edge;
mod embedded;
mod envelopes;
mod evaluate;
mod exports;
mod feeding;
mod held;
mod inspect;
mod keepsake;
mod model;
mod moment;
mod offline;
mod pictures;
mod policy;
mod progress;
mod replay;
mod report;
mod rescore;
mod reset;
mod run;
mod schemas;
mod serve;
mod serving;
mod settings;
mod summary;
mod synth;
mod token;
mod topics;
mod train;
mod usage;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::LogFormat;
use crate::ids::program;
use crate::ports::PortError;
use crate::telemetry::{self, Format};
use crate::time::WallTime;
use settings::{ConfigArgs, sets};

/// Exit code of a run that a person stopped.
const STOPPED: u8 = 130;

/// Keeps every ICU stay's picture of the chest up to date: reads lab, vital, imaging and stay
/// events, generates the latent chest film as of now, and emits risk events.
///
/// Research use only. Nothing it says has been clinically validated; the default mode is silent.
#[derive(Parser)]
#[command(version = VERSION.as_str(), max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a small synthetic ward and runs it through the whole pipeline, without a broker.
    Demo(demo::DemoArgs),
    /// Replays MIMIC-IV and MIMIC-CXR files through the pipeline.
    Replay(replay::ReplayArgs),
    /// Pauses a replay that runs, changes its speed, or takes it forward.
    Control(control::ControlArgs),
    /// Runs the service: reads the Kafka topics and writes risk events, until it is stopped.
    Run(run::RunArgs),
    /// Shows the dashboard over the directory of a demo or a replay, or over a service's topics.
    Serve(serve::ServeArgs),
    /// Makes a token that lets somebody see the dashboard.
    Token(token::TokenArgs),
    /// Says whether the log of looks at stays is whole.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Follows alerts, passes them on, and writes down what people do about them.
    Alerts(alerts::AlertsArgs),
    /// Listens to a hospital's systems, and writes what they say to the input topics.
    ///
    /// HL7 v2.3 to 2.8 over MLLP: ORU^R01 and ADT A01-A04, A08, A11-A13, A17, A40. FHIR R4 over
    /// HTTP: Patient, Encounter, Observation and ImagingStudy by POST and PUT, and Bundles of them,
    /// at /fhir. DICOM: chest films (CR, DX), and key objects that reject films, by C-STORE, or by
    /// STOW-RS at /dicomweb. One process hears all of them, so that a film finds the stay that an
    /// ADT message began.
    ///
    /// The films that an ImagingStudy announces are fetched by WADO-RS from the archive at
    /// edge.wado, and from no other address, before the study is answered. While the archive does
    /// not give them the answer is 503, and the sender sends the study again. A study that is
    /// cancelled or entered-in-error takes back the films that it names.
    ///
    /// Each message is answered once what follows from it is durable (AA, 201, Success); without
    /// that the sender sends it again. What cannot be used becomes a dead letter with its reason.
    /// Numbers of patients and visits become keyed hashes under edge.secret; names are not read,
    /// and of a film only the pixels are kept. Set edge.units to the intensive care units, and
    /// edge.codes to the local codes.
    ///
    /// With http.tokens senders over HTTP need the role admin; without, those services are open to
    /// this machine only. With edge.tls_certificate HL7 and DICOM are heard within TLS, and with
    /// edge.tls_clients only from senders whose certificates one of those authorities has signed
    /// (in a build with the feature https).
    ///
    /// Windows close while something comes: a FHIR sender with nothing to say sends a Bundle of the
    /// type batch without entries within edge.lateness.
    Edge(edge::EdgeArgs),
    /// Creates or checks the Kafka topics.
    Topics(topics::TopicsArgs),
    /// Empties the state of the Kafka application, so that everything is computed anew.
    Reset(reset::ResetArgs),
    /// Answers the sealed windows of a stretch anew under another model.
    Rescore(rescore::RescoreArgs),
    /// Lists, shows and re-drives what was not used.
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Writes a synthetic ward as MIMIC files, or says what it is like.
    Synth(synth::SynthArgs),
    /// Scores a replay's risk events against what became of the stays; writes a report.
    Evaluate(evaluate::EvaluateArgs),
    /// Says whether a run's windows still look like those of an earlier run.
    #[command(subcommand)]
    Drift(drift::DriftCommand),
    /// Writes what a run amounts to as one page for a site's committee.
    Report(report::ReportArgs),
    /// Trains a model on a recording or on the synthetic ward.
    Train(Box<train::TrainArgs>),
    /// Makes model directories from checkpoints and shows them.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Shows a stay's state, the positions and the health of a store.
    Inspect(inspect::InspectArgs),
    /// Sweeps the alert policy over a run's stored scores: burden against recall.
    Policy(policy::PolicyArgs),
    /// Measures speed on recorded events; prints JSON.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Checks configuration and environment, and says what to do.
    Check(check::CheckArgs),
    /// Prints a completion script for a shell.
    Completions { shell: Shell },
}

/// What `--version` says behind the name.
static VERSION: LazyLock<String> = LazyLock::new(|| program().replacen("nowcxr ", "", 1));

/// Parses the command line, runs the command and says what went wrong.
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    cli.settings.set = sets(std::env::args_os());
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each once: most of our messages say their cause themselves.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let settings = cli.settings;
    let default_filter =
        if matches!(cli.command, Command::Run(_) | Command::Edge(_)) { "info" } else { "warn" };
    init_telemetry(&settings, default_filter)?;
    match cli.command {
        Command::Demo(args) => demo::run(&args, &settings),
        Command::Replay(args) => replay::run(&args, &settings),
        Command::Control(args) => control::run(&args),
        Command::Run(args) => run::run(&args, &settings),
        Command::Alerts(args) => alerts::run(&args, &settings),
        Command::Edge(args) => edge::run(&args, &settings),
        Command::Topics(args) => topics::run(&args, &settings),
        Command::Reset(args) => reset::run(&args, &settings),
        Command::Rescore(args) => rescore::run(&args, &settings),
        Command::DeadLetters(args) => dead_letters::run(&args, &settings),
        Command::Serve(args) => serve::run(&args, &settings),
        Command::Token(args) => token::run(&args, &settings),
        Command::Audit(command) => audit::run(&command, &settings),
        Command::Synth(args) => synth::run(&args),
        Command::Evaluate(args) => evaluate::run(&args, &settings),
        Command::Drift(command) => drift::run(&command, &settings),
        Command::Report(args) => report::run(&args, &settings),
        Command::Train(args) => train::run(&args),
        Command::Model(command) => model::run(&command),
        Command::Inspect(args) => inspect::run(&args),
        Command::Policy(args) => policy::run(&args, &settings),
        Command::Bench(command) => bench::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(&args, &settings, &mut io::stdout()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "nowcxr", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Turns logging on. A configuration that cannot be read is the command's to complain of; many
/// commands need none.
fn init_telemetry(settings: &ConfigArgs, default_filter: &str) -> Result<()> {
    let telemetry = settings.load().ok().map(|config| config.telemetry);
    let format = match telemetry.as_ref().map(|telemetry| telemetry.format) {
        Some(LogFormat::Json) => Format::Json,
        Some(LogFormat::Human) | None => Format::Human,
    };
    let filter = telemetry.and_then(|telemetry| telemetry.filter);
    telemetry::init(format, filter.as_deref().unwrap_or(default_filter))?;
    Ok(())
}

/// Writes a command's result. A reader that has seen enough, such as `head`, is no error.
fn print(result: &str) -> Result<()> {
    match writeln!(io::stdout(), "{result}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("the result cannot be written")
        }
        _ => Ok(()),
    }
}

/// The machine's clock. Read here and handed down; nothing below reads it for itself.
fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Before a service that does not answer is asked again, at first and at most.
const ASK_AGAIN: Duration = Duration::from_millis(100);
const ASK_AGAIN_MOST: Duration = Duration::from_secs(2);

/// What `ask` gives, once what passes has passed; `None` when told to stop meanwhile.
fn patiently<T>(
    stop: &AtomicBool,
    mut ask: impl FnMut() -> Result<T, PortError>,
) -> Result<Option<T>> {
    let mut wait = ASK_AGAIN;
    while !stop.load(Ordering::Acquire) {
        match ask() {
            Ok(answer) => return Ok(Some(answer)),
            Err(PortError::Retry(why)) => tracing::warn!("{why}; trying again"),
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(ASK_AGAIN_MOST);
    }
    Ok(None)
}

/// Set by the first Ctrl-C or SIGTERM; the second ends the process at once.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("signals cannot be watched")?;
    // They are watched from here on: one that comes before the thread runs ends nothing at once.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::watch().context("signals cannot be watched")?
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                signals.next().await;
                eprintln!("stopping; once more to stop at once");
                seen.store(true, Ordering::Release);
                signals.next().await;
                std::process::exit(i32::from(STOPPED));
            });
        })
        .context("signals cannot be watched")?;
    Ok(stop)
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Inside a runtime.
    fn watch() -> std::io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Signals { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

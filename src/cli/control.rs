//! `nowcxr control`: a replay that runs is paused, made faster or taken forward.

mod desk;

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::moment::moment;
use super::print;
use crate::replay::Speed;
use crate::time::EventTime;
pub use desk::Desk;

/// A socket of this name lies in the directory of a replay while it runs.
const SOCKET: &str = "control";
/// An answer takes no longer than a sink takes to accept what it is given.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line that either side sends.
const LINE_MAX: usize = 4 << 10;

/// Pauses a replay that runs, changes its speed, or takes it forward.
///
/// Only the user whose replay it is may do so. What is told is told: a replay goes forward only,
/// and on its way to a later moment nothing is left out.
#[derive(Args)]
pub struct ControlArgs {
    /// The --out of the replay.
    #[arg(long, global = true, value_name = "DIR", default_value = "nowcxr-replay")]
    out: PathBuf,
    /// Print where the replay stands as one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Clone, Debug, PartialEq, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wish {
    /// Nothing more is told until `resume`.
    Pause,
    /// Goes on.
    Resume,
    /// 1 is real time, 60 an hour a minute, `max` as fast as it goes.
    Speed {
        #[arg(value_name = "SPEED")]
        speed: String,
    },
    /// As fast as it goes up to this moment of the recording, then on at its speed.
    Seek {
        #[arg(value_parser = moment_ms, value_name = "TIME")]
        to_ms: i64,
    },
    /// Changes nothing.
    Show,
}

/// Where a replay stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    /// The recording's time up to which it is told.
    told_to: String,
    items: u64,
    speed: String,
    paused: bool,
    /// The moment that it hurries to.
    seeks: Option<String>,
}

/// What a wish comes to, or why nothing.
type Answer = Result<Standing, String>;

fn moment_ms(text: &str) -> Result<i64, String> {
    moment(text).map(EventTime::as_millis)
}

pub fn run(args: &ControlArgs) -> Result<ExitCode> {
    if let Wish::Speed { speed } = &args.wish {
        speed.parse::<Speed>().map_err(|why| anyhow!(why))?;
    }
    let standing = ask(&args.out, &args.wish)?;
    if args.json {
        print(&serde_json::to_string(&standing)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Standing { told_to, items, speed, paused, seeks } = standing;
    let how = match (paused, seeks) {
        (true, _) => "paused".to_owned(),
        (false, Some(goal)) => format!("hurrying to {goal}"),
        (false, None) => "telling".to_owned(),
    };
    print(&format!("{how}; told to {told_to}, {items} items, speed {speed}"))?;
    Ok(ExitCode::SUCCESS)
}

fn ask(out: &Path, wish: &Wish) -> Result<Standing> {
    let socket = out.join(SOCKET);
    let mut stream = UnixStream::connect(&socket).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            anyhow!("the replay in {} is another user's; ask as that user", out.display())
        }
        _ => anyhow!("no replay runs in {}; name the --out of one that does", out.display()),
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let doing = || format!("the replay in {} does not answer", out.display());
    writeln!(stream, "{}", serde_json::to_string(wish)?).with_context(doing)?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX as u64)).read_line(&mut line).with_context(doing)?;
    match serde_json::from_str::<Answer>(&line).with_context(doing)? {
        Ok(standing) => Ok(standing),
        Err(why) => bail!(why),
    }
}

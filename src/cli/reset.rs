//! `nowcxr reset`: an application's state back to nothing.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use super::settings::ConfigArgs;
use crate::transport::kafka::{Emptied, KafkaSettings, members, reset};

/// Empties the state and the journal of the application that [kafka] names, and forgets how far
/// its group has read, so that the next `nowcxr run` computes everything anew from the inputs.
///
/// Inputs, risk events, alerts, views and dead letters stay where they are: events that come out
/// the same again carry the same ids. No alert is told of what had been computed before; alerts
/// that stood are not taken back either. It refuses while members of the group are alive. Copies
/// of the state on any node follow by themselves.
#[derive(Args)]
pub struct ResetArgs {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// One JSON object a task.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ResetArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let kafka = KafkaSettings::from(&settings.load()?.kafka);
    let alive = members(&kafka)?;
    if alive == 0 && !args.yes && !is_meant(&kafka)? {
        bail!("nothing was changed");
    }
    let mut told = Ok(());
    reset(&kafka, &mut |emptied| {
        let Emptied { partition, values } = emptied;
        let line = match args.json {
            true => json!({ "task": partition, "emptied": values }).to_string(),
            false => format!("task {partition:>4}: {values} values emptied"),
        };
        if told.is_ok() {
            told = super::print(&line);
        }
    })?;
    told?;
    Ok(ExitCode::SUCCESS)
}

/// Asks at the terminal for the name of what is to be emptied.
fn is_meant(kafka: &KafkaSettings) -> Result<bool> {
    let app = &kafka.app;
    if !io::stdin().is_terminal() {
        bail!("the state of {app} would be emptied; say that it is meant with --yes");
    }
    eprint!("This empties {} and {}. Type {app} to go on: ", kafka.changelog(), kafka.journal());
    io::stderr().flush().context("nobody can be asked")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("nobody can be asked")?;
    Ok(answer.trim() == app)
}

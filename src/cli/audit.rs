//! `nowcxr audit`: the log of who looked at which stay.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::print;
use super::settings::ConfigArgs;
use crate::http::audit::verify;
use crate::ids::Digest;

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Reads the log through; exit code 1 if a line was altered, taken out or put in.
    ///
    /// Each line holds the SHA-256 of the one before it. That shows every change inside the log,
    /// though not that its last lines are missing, nor that it was written anew from some line on:
    /// for these, note the head that this command prints somewhere else, and give it back as
    /// --head later.
    Verify(VerifyArgs),
}

#[derive(Args)]
pub struct VerifyArgs {
    /// The log; http.audit without it
    file: Option<PathBuf>,
    /// A head that this command printed earlier; exit code 1 if it is not in the log any more
    #[arg(long, value_name = "SHA-256", value_parser = head)]
    head: Option<Digest>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn head(text: &str) -> Result<Digest, String> {
    Digest::from_hex(text).ok_or_else(|| "64 hexadecimal digits are wanted".to_owned())
}

pub fn run(command: &AuditCommand, settings: &ConfigArgs) -> Result<ExitCode> {
    let AuditCommand::Verify(args) = command;
    let path = match &args.file {
        Some(path) => path.clone(),
        None => settings.load()?.access.audit,
    };
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let found = verify(BufReader::new(file), args.head)
        .with_context(|| format!("{} is not whole", path.display()))?;
    let missing = found.holds_head == Some(false);
    if args.json {
        print(&serde_json::to_string(&found)?)?;
    } else {
        let cut = match found.cut_off {
            0 => String::new(),
            n => format!(", {n} of them cut off by a crash or a full disk"),
        };
        let verdict = if missing { "a chain, but without the head" } else { "whole" };
        print(&format!("{verdict}: {} lines{cut}\nhead {}", found.lines, found.head))?;
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

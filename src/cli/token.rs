//! `nowcxr token`: a new token for the dashboard, of which the file keeps only the hash.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::print;
use super::settings::ConfigArgs;
use crate::http::access::{Role, mint, parse};
use crate::ids::Digest;

/// Prints a new token and adds a line with its name, role and SHA-256 to the file of http.tokens.
///
/// The token itself is kept nowhere: give it to that person, who signs in with it or sends it as
/// `Authorization: Bearer TOKEN`. Take the line out of the file to end its access; a running
/// service sees that within a second. A token of your own making has at least 32 random
/// characters, and its hash is `printf %s "$TOKEN" | openssl dgst -sha256`.
#[derive(Args)]
pub struct TokenArgs {
    /// Who it is for, as the pages and the audit log name them: letters, digits, _-.@
    name: String,
    /// viewer: ward, operations, model card; clinician: also stays and films, and their risks as
    /// FHIR; admin: also the audit log, and sending to the FHIR edge
    #[arg(long)]
    role: Role,
    /// The file, instead of http.tokens; it is made if it is missing
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print name, role, token and file as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &TokenArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let configured = match args.file {
        Some(_) => None,
        None => settings.load()?.access.tokens,
    };
    let Some(file) = args.file.clone().or(configured) else {
        bail!("no file for the tokens; set http.tokens, or name one with --file");
    };
    let token = mint()?;
    let line = format!("{} {} {}\n", args.name, args.role, Digest::of(token.as_bytes()));
    add(&file, &line)?;
    if args.json {
        let shown = json!({
            "name": args.name, "role": args.role.name(), "token": token, "file": file,
        });
        print(&shown.to_string())?;
    } else {
        eprintln!("added {}, {}, to {}; the token:", args.name, args.role, file.display());
        print(&token)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds the line, if the whole file is then right.
fn add(file: &Path, line: &str) -> Result<()> {
    let before = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    parse(&format!("{before}{gap}{line}"))
        .map_err(|error| anyhow!("{}: {error}", file.display()))?;
    let mut open = OpenOptions::new();
    let mut to = open
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    to.write_all(format!("{gap}{line}").as_bytes())
        .and_then(|()| to.sync_all())
        .with_context(|| format!("cannot write {}", file.display()))
}

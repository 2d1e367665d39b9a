//! `nowcxr check`: whether this configuration will work on this machine, and what to do if not.

mod probes;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::settings::ConfigArgs;
use crate::config::{Config, reference};

/// Checks configuration and environment; exit code 1 if something would not work
#[derive(Args, Clone, Debug, Default)]
pub struct CheckArgs {
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// Print every key with its default and meaning, as a file to start from, and stop
    #[arg(long)]
    pub reference: bool,
    /// Also ask whether a Kafka broker answers
    #[arg(long)]
    pub kafka: bool,
}

/// How one check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It works, but not well.
    Warn,
    /// It will not work.
    Fail,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub check: String,
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub advice: String,
}

/// All checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing failed.
    pub ok: bool,
    pub checks: Vec<Row>,
}

impl Row {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        let advice = String::new();
        Row { check: check.into(), verdict: Verdict::Ok, found: found.into(), advice }
    }

    fn warn(check: impl Into<String>, found: impl Into<String>, advice: &str) -> Self {
        Row { verdict: Verdict::Warn, advice: advice.to_owned(), ..Row::ok(check, found) }
    }

    fn fail(check: impl Into<String>, found: impl Into<String>, advice: &str) -> Self {
        Row { verdict: Verdict::Fail, advice: advice.to_owned(), ..Row::ok(check, found) }
    }
}

impl Report {
    /// Checks everything. What needs a valid configuration is left out without one.
    pub fn make(args: &CheckArgs, settings: &ConfigArgs) -> Self {
        let mut checks = Vec::new();
        match settings.load() {
            Ok(config) => with_config(&config, args.kafka, &mut checks),
            Err(error) => {
                let row = |problem: &crate::config::Problem| {
                    let found = format!("({}) {}", problem.place, problem.what);
                    Row::fail(&problem.key, found, "see nowcxr check --reference")
                };
                checks.extend(error.0.iter().map(row));
            }
        }
        checks.push(probes::processor());
        checks.extend(probes::memory());
        let ok = checks.iter().all(|row| row.verdict != Verdict::Fail);
        Report { ok, checks }
    }

    /// Columns for a terminal; advice stands below its check.
    pub fn table(&self) -> String {
        let width = self.checks.iter().map(|row| row.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.checks {
            let word = match row.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            text.push_str(&format!("{word}  {:width$}  {}\n", row.check, row.found));
            if !row.advice.is_empty() {
                text.push_str(&format!("      {:width$}  -> {}\n", "", row.advice));
            }
        }
        let count = |verdict| self.checks.iter().filter(|row| row.verdict == verdict).count();
        let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
        text.push_str(&format!("\n{failed} failed, {warned} warned\n"));
        text
    }
}

fn with_config(config: &Config, kafka: bool, checks: &mut Vec<Row>) {
    let feeds = config.engine.feeds.len();
    checks.push(Row::ok("config", format!("valid; {feeds} feeds")));
    checks.push(probes::model(&config.predict, config.profile));
    checks.push(probes::writable("store.dir", &config.store.dir));
    checks.push(probes::disk("store.dir", &config.store.dir));
    if let Some(address) = config.http {
        checks.push(probes::port(address));
        checks.push(probes::visitors(address, &config.access));
    }
    if let Some(tls) = &config.edge.tls {
        checks.push(probes::certificate(tls));
    }
    if let Some(wado) = &config.edge.wado {
        checks.push(probes::archive(wado));
    }
    if kafka {
        checks.push(probes::brokers(&config.kafka.brokers));
    }
}

/// Runs the command and writes its answer to `out`.
pub fn run(
    args: &CheckArgs,
    settings: &ConfigArgs,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if args.reference {
        write!(out, "{}", reference())?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = Report::make(args, settings);
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        false => write!(out, "{}", report.table())?,
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &std::path::Path, extra: &[&str]) -> ConfigArgs {
        let path = |name: &str| dir.join(name).display().to_string();
        let mut set = vec![
            format!("store.dir={}", path("store")),
            format!("predict.model={}", path("model")),
            "http.listen=off".to_owned(),
        ];
        set.extend(extra.iter().map(|text| (*text).to_owned()));
        let config = dir.join("nowcxr.toml");
        std::fs::write(&config, "").expect("an empty file");
        ConfigArgs { config: Some(config), set }
    }

    fn make(settings: &ConfigArgs) -> Report {
        Report::make(&CheckArgs::default(), settings)
    }

    fn row<'a>(report: &'a Report, check: &str) -> &'a Row {
        report.checks.iter().find(|row| row.check == check).expect("the check was made")
    }

    #[test]
    fn a_missing_model_fails_and_says_what_to_do() {
        let dir = tempfile::tempdir().expect("directory");
        let report = make(&settings(dir.path(), &[]));
        assert!(!report.ok);
        assert_eq!(row(&report, "model").verdict, Verdict::Fail);
        assert!(row(&report, "model").advice.contains("nowcxr train"));
        assert_eq!(row(&report, "store.dir").verdict, Verdict::Ok, "{}", report.table());
        assert!(!dir.path().join("store").exists(), "a check leaves nothing behind");
        assert!(report.table().contains("FAIL  model"));
    }

    #[test]
    fn each_config_error_is_a_row() {
        let dir = tempfile::tempdir().expect("directory");
        let report = make(&settings(dir.path(), &["engine.evry=1h", "predict.threads=-1"]));
        assert!(row(&report, "engine.evry").found.contains("engine.every"));
        assert_eq!(row(&report, "predict.threads").verdict, Verdict::Fail);
    }

    #[test]
    fn a_taken_port_and_a_file_in_place_of_a_directory_fail() {
        let dir = tempfile::tempdir().expect("directory");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = format!("http.listen={}", taken.local_addr().expect("address"));
        let report = make(&settings(dir.path(), &[&listen, "store.dir=/dev/null"]));
        assert_eq!(row(&report, "http.listen").verdict, Verdict::Fail);
        assert_eq!(row(&report, "store.dir").verdict, Verdict::Fail);
    }

    #[test]
    fn json_and_reference_can_be_read_by_machines() {
        let dir = tempfile::tempdir().expect("directory");
        let mut out = Vec::new();
        let args = CheckArgs { json: true, ..CheckArgs::default() };
        run(&args, &settings(dir.path(), &[]), &mut out).expect("runs");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(json["ok"], false);
        assert_eq!(json["checks"][0]["verdict"], "ok");
        let mut out = Vec::new();
        let args = CheckArgs { reference: true, ..CheckArgs::default() };
        run(&args, &ConfigArgs::default(), &mut out).expect("runs");
        assert!(String::from_utf8(out).expect("text").parse::<toml::Table>().is_ok());
    }
}

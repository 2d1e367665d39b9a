//! `nowcxr topics`: creates or checks the Kafka topics that the service needs.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::settings::ConfigArgs;
use crate::config::Config;
use crate::transport::kafka::{KafkaSettings, TopicReport, audit_topics, ensure_topics};

#[derive(Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    what: What,
    /// One JSON object a topic
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Copy, Subcommand)]
enum What {
    /// Says of every topic whether it is as the service needs it.
    Check,
    /// Creates what is missing, then checks; what exists is not changed.
    Create,
}

/// Exits with 1 if the service must not run on these topics.
pub fn run(args: &TopicsArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let kafka = KafkaSettings::from(&config.kafka);
    if matches!(args.what, What::Create) {
        ensure_topics(&KafkaSettings { create_topics: true, ..kafka.clone() })?;
    }
    let reports = audit_topics(&kafka, longest(&config))?;
    for report in &reports {
        super::print(&if args.json { json_line(report) } else { text(report) })?;
    }
    let errors = reports.iter().flat_map(|report| &report.findings).filter(|f| f.is_error).count();
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The longest that a fact can matter: from before the admission until after the discharge.
fn longest(config: &Config) -> u64 {
    let engine = &config.engine;
    let parts = [engine.lookback, engine.max_stay, engine.grace];
    parts.iter().map(|span| u64::try_from(span.as_millis()).unwrap_or(0)).sum()
}

fn json_line(report: &TopicReport) -> String {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| json!({ "error": finding.is_error, "what": finding.what }))
        .collect();
    json!({
        "topic": report.name,
        "partitions": report.partitions,
        "copies": report.copies,
        "findings": findings,
    })
    .to_string()
}

fn text(report: &TopicReport) -> String {
    let count = |n: Option<String>| n.unwrap_or_else(|| "-".to_owned());
    let mut text = format!(
        "{:<28} partitions {:>3}  copies {:>2}",
        report.name,
        count(report.partitions.map(|n| n.to_string())),
        count(report.copies.map(|n| n.to_string())),
    );
    if report.findings.is_empty() {
        text.push_str("  ok");
    }
    for finding in &report.findings {
        let level = if finding.is_error { "error" } else { "risk" };
        text.push_str(&format!("\n  {level}: {}", finding.what));
    }
    text
}

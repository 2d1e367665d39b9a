//! `nowcxr topics`: creates or checks the Kafka topics that the service needs, and says what rights
//! on them whom to give.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::settings::ConfigArgs;
use crate::transport::kafka::{
    Grant, KafkaSettings, Resource, Role, TopicReport, audit_topics, ensure_topics, grants,
};

#[derive(Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    what: What,
    /// One JSON object a topic
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Subcommand)]
enum What {
    /// Says of every topic whether it is as the service needs it.
    Check,
    /// Creates what is missing, then checks; what exists is not changed.
    Create,
    /// Prints the least rights of each kind of client, as arguments of Kafka's kafka-acls.sh. Asks
    /// no broker.
    ///
    /// The service needs kafka.create_topics = false then, and sees no label.
    Acls {
        /// Who `nowcxr run` is to the cluster.
        #[arg(long, default_value = "User:nowcxr")]
        service: String,
        /// Whoever writes the inputs, and the labels of a replay.
        #[arg(long, default_value = "User:nowcxr-feeder")]
        feeder: String,
        /// Whoever shows risks and alerts. Give it a consumer group of its own.
        #[arg(long, default_value = "User:nowcxr-reader")]
        reader: String,
        /// Whoever looks at dead letters, resets and rescores.
        #[arg(long, default_value = "User:nowcxr-operator")]
        operator: String,
    },
}

/// Exits with 1 if the service must not run on these topics.
pub fn run(args: &TopicsArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let kafka = KafkaSettings::from(&config.kafka);
    if let What::Acls { service, feeder, reader, operator } = &args.what {
        let principal = |role| match role {
            Role::Service => service,
            Role::Feeder => feeder,
            Role::Reader => reader,
            Role::Operator => operator,
        };
        for grant in grants(&kafka) {
            let principal = principal(grant.role);
            let json = || grant_json(&grant, principal);
            super::print(&if args.json { json() } else { acl_arguments(&grant, principal) })?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if matches!(args.what, What::Create) {
        ensure_topics(&KafkaSettings { create_topics: true, ..kafka.clone() })?;
    }
    let reports = audit_topics(&kafka, u64::try_from(config.engine.memory().as_millis())?)?;
    for report in &reports {
        super::print(&if args.json { json_line(report) } else { text(report) })?;
    }
    let errors = reports.iter().flat_map(|report| &report.findings).filter(|f| f.is_error).count();
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One call of kafka-acls.sh, but for where the cluster is.
fn acl_arguments(grant: &Grant, principal: &str) -> String {
    let mut words = vec!["--add".to_owned(), format!("--allow-principal {principal}")];
    words.extend(grant.operations.iter().map(|operation| format!("--operation {operation}")));
    match &grant.resource {
        Resource::Topics(names) => words.extend(names.iter().map(|n| format!("--topic {n}"))),
        Resource::Group(name) => words.push(format!("--group {name}")),
        Resource::TransactionalIds(beginning) => {
            words.push(format!("--transactional-id {beginning}"));
            words.push("--resource-pattern-type prefixed".to_owned());
        }
    }
    words.join(" ")
}

fn grant_json(grant: &Grant, principal: &str) -> String {
    let (kind, names, is_prefix) = match &grant.resource {
        Resource::Topics(names) => ("topic", names.clone(), false),
        Resource::Group(name) => ("group", vec![name.clone()], false),
        Resource::TransactionalIds(beginning) => {
            ("transactional_id", vec![beginning.clone()], true)
        }
    };
    json!({
        "role": grant.role.name(), "principal": principal, "resource": kind, "names": names,
        "prefixed": is_prefix, "operations": grant.operations,
    })
    .to_string()
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

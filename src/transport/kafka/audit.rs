//! Whether the topics are as the service needs them: what `nowcxr topics` shows.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::error::port_error;
use super::inquiry::Inquiry;
use super::settings::{ASK_TIMEOUT, AppendClock, KafkaSettings, MAX_RECORD_BYTES};
use super::topics::{Admin, Plan, admin, plans, wait_for};
use crate::ports::PortError;

/// Copies that a record needs to survive the loss of one broker.
const SAFE_COPIES: usize = 3;

/// Kafka's own `delete.retention.ms`. Topics that are created here have more.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(86_400);

/// One topic as it is.
#[derive(Clone, Debug)]
pub struct TopicReport {
    pub name: String,
    /// `None` where the topic does not exist.
    pub partitions: Option<u32>,
    pub copies: Option<usize>,
    pub findings: Vec<Finding>,
}

/// Something about a topic that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the service must not run so; otherwise it may, at a risk that a person takes.
    pub is_error: bool,
    /// What is wrong and what to do.
    pub what: String,
}

/// Looks at every topic. `longest_ms` is how long a stay can last, which its inputs and journal
/// must outlive, since everything can be computed anew from them. A user who may not see the
/// settings of a topic is told so; that he sees no label is as it should be.
///
/// # Errors
/// `Retry` when no broker answers; `Stop` when we are not let in.
pub fn audit_topics(
    settings: &KafkaSettings,
    longest_ms: u64,
) -> Result<Vec<TopicReport>, PortError> {
    let inquiry = Inquiry::open(settings)?;
    let metadata = inquiry.topics()?;
    let there: BTreeMap<&str, (u32, usize)> = metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| {
            let copies = topic.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0);
            (topic.name(), (topic.partitions().len() as u32, copies))
        })
        .collect();
    let plans = plans(settings);
    let existing: Vec<&Plan> =
        plans.iter().filter(|plan| there.contains_key(plan.name.as_str())).collect();
    let configs = match settings.token {
        None => Some(describe(&admin(settings)?, settings, &existing)?),
        Some(_) => None,
    };
    let reports = plans.iter().map(|plan| {
        let Some(&(partitions, copies)) = there.get(plan.name.as_str()) else {
            let (name, partitions, copies) = (plan.name.clone(), None, None);
            let findings = missing(&inquiry, plan, settings)?;
            return Ok(TopicReport { name, partitions, copies, findings });
        };
        let mut findings = Vec::new();
        check_partitions(plan, partitions, settings, &mut findings);
        check_copies(copies, &mut findings);
        match configs.as_ref().map(|configs| configs.get(plan.name.as_str())) {
            Some(Some(Ok(config))) => {
                check_config(plan, config, settings, longest_ms, &mut findings);
            }
            Some(Some(Err(_))) | None => findings.push(risk(
                "does not show this user its settings; check it as the operator".to_owned(),
            )),
            Some(None) => {}
        }
        let (partitions, copies) = (Some(partitions), Some(copies));
        Ok(TopicReport { name: plan.name.clone(), partitions, copies, findings })
    });
    reports.collect()
}

/// What is to be said of a topic that is not shown.
fn missing(
    inquiry: &Inquiry<'_>,
    plan: &Plan,
    settings: &KafkaSettings,
) -> Result<Vec<Finding>, PortError> {
    if !inquiry.is_hidden(&plan.name)? {
        return Ok(vec![error("does not exist; run nowcxr topics create".to_owned())]);
    }
    if plan.name == settings.labels() {
        return Ok(Vec::new());
    }
    let what = "does not exist or is hidden from this user; run nowcxr topics create, or ask for \
                the rights that nowcxr topics acls prints";
    Ok(vec![error(what.to_owned())])
}

/// How long the changelog shows that a key was deleted (`delete.retention.ms`). Under a token
/// nobody can ask, and it is taken to be what Kafka's default is.
pub fn tombstones_kept(settings: &KafkaSettings) -> Result<Duration, PortError> {
    if settings.token.is_some() {
        tracing::warn!(
            "under kafka.token nobody can ask how long {} shows deletions; its delete.retention.ms \
             must be at least a day",
            settings.changelog()
        );
        return Ok(TOMBSTONES_KEPT);
    }
    let plans = plans(settings);
    let changelog: Vec<&Plan> =
        plans.iter().filter(|plan| plan.name == settings.changelog()).collect();
    let mut configs = describe(&admin(settings)?, settings, &changelog)?;
    let config = configs.remove(&settings.changelog()).transpose()?;
    let kept = config.as_ref().and_then(|config| config.get("delete.retention.ms"));
    kept.and_then(|ms| ms.parse().ok()).map(Duration::from_millis).ok_or_else(|| {
        PortError::Retry(format!("kafka does not say how {} is kept", settings.changelog()))
    })
}

type Values = BTreeMap<String, String>;

/// Of each topic its settings, or why they are not shown to this user.
fn describe(
    admin: &Admin,
    settings: &KafkaSettings,
    plans: &[&Plan],
) -> Result<BTreeMap<String, Result<Values, PortError>>, PortError> {
    if plans.is_empty() {
        return Ok(BTreeMap::new());
    }
    let failed = |e| port_error("asking kafka how its topics are set", &settings.bootstrap, &e);
    let asked: Vec<ResourceSpecifier<'_>> =
        plans.iter().map(|plan| ResourceSpecifier::Topic(&plan.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
    let answers = wait_for(admin.describe_configs(&asked, &options), 2 * ASK_TIMEOUT)
        .unwrap_or(Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)))
        .map_err(failed)?;
    let values = |resource: ConfigResource| -> Values {
        let entries = resource.entries.into_iter();
        entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()
    };
    let mut found = BTreeMap::new();
    // The answers come in the order of the questions.
    for (plan, answer) in plans.iter().zip(answers) {
        let resource = answer.map_err(|code| failed(KafkaError::AdminOp(code)))?;
        // Every topic has settings; the crate drops the refusal that stands in their place.
        let values = match resource.entries.is_empty() {
            true => Err(failed(KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed))),
            false => Ok(values(resource)),
        };
        found.insert(plan.name.clone(), values);
    }
    Ok(found)
}

fn error(what: String) -> Finding {
    Finding { is_error: true, what }
}

fn risk(what: String) -> Finding {
    Finding { is_error: false, what }
}

fn check_partitions(plan: &Plan, n: u32, settings: &KafkaSettings, into: &mut Vec<Finding>) {
    if plan.is_co_partitioned && n != settings.partitions {
        into.push(error(format!(
            "has {n} partitions and kafka.partitions is {}; a changed count would part a stay's \
             facts from its state: set kafka.partitions = {n}, or take a new kafka.prefix and \
             kafka.group and replay the inputs into them",
            settings.partitions
        )));
    }
}

fn check_copies(copies: usize, into: &mut Vec<Finding>) {
    if copies < SAFE_COPIES {
        into.push(risk(format!(
            "has {copies} of the {SAFE_COPIES} copies that survive the loss of a broker; set \
             kafka.replication before topics are created, with min.insync.replicas = 2"
        )));
    }
}

fn check_config(
    plan: &Plan,
    config: &Values,
    settings: &KafkaSettings,
    longest_ms: u64,
    into: &mut Vec<Finding>,
) {
    let value = |key: &str| config.get(key).map(String::as_str).unwrap_or_default();
    let planned = |key: &str| plan.config.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str());
    if let Some(policy) = planned("cleanup.policy")
        && value("cleanup.policy") != policy
    {
        let found = value("cleanup.policy");
        into.push(error(format!("has cleanup.policy = {found}; set it to {policy}")));
    }
    let retention = value("retention.ms").parse::<i64>().unwrap_or(-1);
    if plan.is_co_partitioned
        && value("cleanup.policy") == "delete"
        && u64::try_from(retention).is_ok_and(|ms| ms < longest_ms)
    {
        into.push(error(format!(
            "keeps records for {retention} ms, and a stay can last {longest_ms} ms; set \
             retention.ms to that or to -1"
        )));
    }
    if value("max.message.bytes").parse::<usize>().is_ok_and(|n| n < MAX_RECORD_BYTES) {
        into.push(risk(format!(
            "takes records of {} bytes; set max.message.bytes = {MAX_RECORD_BYTES}, or send films \
             by reference",
            value("max.message.bytes")
        )));
    }
    let is_appended = value("message.timestamp.type") == "LogAppendTime";
    if plan.is_input && settings.clock == AppendClock::Broker && !is_appended {
        into.push(error(
            "has no append time; set message.timestamp.type = LogAppendTime, or kafka.clock = \
             replay for a replay"
                .to_owned(),
        ));
    }
    if plan.is_input && settings.clock == AppendClock::Replay && is_appended {
        into.push(error(
            "has the broker's append time, and kafka.clock is replay; set message.timestamp.type \
             = CreateTime, or kafka.clock = broker"
                .to_owned(),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, config: &[(&str, &str)]) -> Vec<String> {
        let settings = KafkaSettings::new("a:1");
        let plans = plans(&settings);
        let plan = plans.iter().find(|plan| plan.name == name).unwrap();
        let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut found = Vec::new();
        check_config(plan, &config, &settings, 1_000, &mut found);
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_would_lose_data_is_found_and_says_what_to_do() {
        let good = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("message.timestamp.type", "LogAppendTime"),
        ];
        assert!(findings("lab", &good).is_empty());
        let short = findings("lab", &[&good[..1], &[("retention.ms", "999")], &good[2..]].concat());
        assert!(short.len() == 1 && short[0].contains("retention.ms"), "{short:?}");
        let unstamped = findings("lab", &good[..2]);
        assert!(unstamped.len() == 1 && unstamped[0].contains("LogAppendTime"), "{unstamped:?}");
        let changelog = findings("nowcxr-changelog", &good);
        assert!(changelog.len() == 1 && changelog[0].contains("compact"), "{changelog:?}");
    }

    #[test]
    fn a_changed_count_names_the_way_out() {
        let settings = KafkaSettings::new("a:1");
        let (plans, mut found) = (plans(&settings), Vec::new());
        check_partitions(&plans[0], 9, &settings, &mut found);
        assert!(found[0].is_error && found[0].what.contains("replay the inputs"), "{found:?}");
        check_partitions(&plans[0], settings.partitions, &settings, &mut found);
        assert_eq!(found.len(), 1);
    }
}

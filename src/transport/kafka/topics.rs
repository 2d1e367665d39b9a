//! The topics that must exist: created where they are missing, checked where they are there.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{common, with_properties};
use super::error::port_error;
use super::inquiry::Inquiry;
use super::settings::{ASK_TIMEOUT, AppendClock, KafkaSettings, MAX_RECORD_BYTES};
use crate::ids::Topic;
use crate::ports::{OutputKind, PortError};

/// Between two looks at topics that are being created.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// It calls nothing in its context, whichever it has: see [`super::hearing`].
pub(super) type Admin = AdminClient<DefaultClientContext>;

/// One topic as it should be.
pub(super) struct Plan {
    pub name: String,
    pub is_input: bool,
    /// Inputs, changelog and journal: the task with number n has partition n of each.
    pub is_co_partitioned: bool,
    pub config: Vec<(&'static str, String)>,
}

/// Creates the topics that do not exist and checks those that do. Returns the partitions of the
/// inputs, which is the number of tasks.
///
/// # Errors
/// `Retry` when no broker answers; `Stop` when the partitions differ, or rights are missing.
pub fn ensure_topics(settings: &KafkaSettings) -> Result<u32, PortError> {
    // The labels are the replay's alone: a service need not even see their topic.
    ensure(settings, &|plan| plan.name != settings.labels())
}

/// As [`ensure_topics`] for who only writes inputs, labels and dead letters. Where topics are not
/// to be created, he need not see the others.
pub(super) fn ensure_inputs(settings: &KafkaSettings) -> Result<u32, PortError> {
    let beside = [settings.labels(), settings.output(OutputKind::DeadLetter)];
    ensure(settings, &|plan| plan.is_input || beside.contains(&plan.name))
}

/// `concerns` says which topics must be there that are not to be created.
fn ensure(settings: &KafkaSettings, concerns: &dyn Fn(&Plan) -> bool) -> Result<u32, PortError> {
    let inquiry = Inquiry::open(settings)?;
    let plans = plans(settings);
    let there = partitions_by_topic(&inquiry)?;
    let partitions = co_partitions(&plans, &there)?.unwrap_or(settings.partitions);
    let missing: Vec<&Plan> = plans
        .iter()
        .filter(|plan| !there.contains_key(&plan.name))
        .filter(|plan| settings.create_topics || concerns(plan))
        .collect();
    if missing.is_empty() {
        return Ok(partitions);
    }
    if !settings.create_topics {
        return Err(absent(&inquiry, &missing, partitions)?);
    }
    create(&admin(settings)?, settings, &missing, partitions)?;
    await_topics(&inquiry, &plans)?;
    Ok(partitions)
}

/// What is said of topics that a user does not find.
fn absent(
    inquiry: &Inquiry<'_>,
    missing: &[&Plan],
    partitions: u32,
) -> Result<PortError, PortError> {
    let mut names: (Vec<&str>, Vec<&str>) = Default::default();
    for plan in missing {
        let is_hidden = inquiry.is_hidden(&plan.name)?;
        let into = if is_hidden { &mut names.0 } else { &mut names.1 };
        into.push(&plan.name);
    }
    let (hidden, absent) = (names.0.join(", "), names.1.join(", "));
    Ok(PortError::Stop(match hidden.is_empty() {
        true => format!(
            "kafka topics {absent} do not exist; create them with {partitions} partitions each, \
             or set kafka.create_topics"
        ),
        false => format!(
            "kafka topics {hidden} do not exist or are hidden from this user; ask for the rights \
             that `nowcxr topics acls` prints, or create them"
        ),
    }))
}

/// Creates one topic beside those of the application, kept for good; one that exists is left as it
/// is.
///
/// # Errors
/// `Stop` if it is one of the application's own.
pub fn ensure_topic_beside(settings: &KafkaSettings, name: &str) -> Result<(), PortError> {
    if plans(settings).iter().any(|plan| plan.name == name) {
        return Err(PortError::Stop(format!(
            "kafka topic {name} is one of the application's own; name another"
        )));
    }
    let inquiry = Inquiry::open(settings)?;
    if partitions_by_topic(&inquiry)?.contains_key(name) {
        return Ok(());
    }
    let (is_input, is_co_partitioned) = (false, false);
    let plan = Plan { name: name.to_owned(), is_input, is_co_partitioned, config: kept() };
    create(&admin(settings)?, settings, &[&plan], settings.partitions)?;
    await_topics(&inquiry, &[plan])
}

/// Removes the application's topics and all that they hold; those that are not there are none to
/// remove.
///
/// # Errors
/// `Stop` when the cluster does not let us.
pub fn remove_topics(settings: &KafkaSettings) -> Result<(), PortError> {
    let there = partitions_by_topic(&Inquiry::open(settings)?)?;
    let plans = plans(settings);
    let names = plans.iter().map(|plan| plan.name.as_str());
    let names: Vec<&str> = names.filter(|name| there.contains_key(*name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let (admin, options) = (admin(settings)?, AdminOptions::new());
    let failed = |e| port_error("removing kafka topics", &settings.bootstrap, &e);
    let results = wait_for(admin.delete_topics(&names, &options), 2 * ASK_TIMEOUT)
        .unwrap_or(Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)))
        .map_err(failed)?;
    let refused = results.into_iter().find_map(Result::err);
    refused.map_or(Ok(()), |(_, code)| Err(failed(KafkaError::AdminOp(code))))
}

/// What administers. Ask an [`Inquiry`] before, which says so if we are not let in.
///
/// # Errors
/// `Stop` under a token: librdkafka asks for one whoever polls, and an admin client never does.
pub(super) fn admin(settings: &KafkaSettings) -> Result<Admin, PortError> {
    if settings.token.is_some() {
        return Err(PortError::Stop(
            "topics cannot be created, removed or looked into under kafka.token; do that as a user \
             with a password or a certificate"
                .to_owned(),
        ));
    }
    with_properties(common(settings, "admin"), settings)
        .create()
        .map_err(|e| port_error("connecting to kafka", &settings.bootstrap, &e))
}

/// As [`ensure_topics`], but creates nothing.
pub fn check_topics(settings: &KafkaSettings) -> Result<u32, PortError> {
    ensure_topics(&KafkaSettings { create_topics: false, ..settings.clone() })
}

/// Checks one topic, for who may not see the others.
pub(super) fn check_topic(settings: &KafkaSettings, name: &str) -> Result<(), PortError> {
    let settings = KafkaSettings { create_topics: false, ..settings.clone() };
    ensure(&settings, &|plan| plan.name == name).map(drop)
}

pub(super) fn plans(settings: &KafkaSettings) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Topic::ALL
        .iter()
        .map(|&topic| {
            let config = kept().into_iter().chain(timestamps(settings.clock)).collect();
            let name = settings.input(topic);
            Plan { name, is_input: true, is_co_partitioned: true, config }
        })
        .collect();
    let own = |name, config| Plan { name, is_input: false, is_co_partitioned: true, config };
    plans.push(own(settings.changelog(), compacted()));
    plans.push(own(settings.journal(), kept()));
    let beside = |name, config| Plan { name, is_input: false, is_co_partitioned: false, config };
    plans.push(beside(settings.labels(), kept()));
    for kind in [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View] {
        let mut config = kept();
        if kind == OutputKind::View {
            // The newest view of a stay is all that a dashboard needs.
            config.retain(|(key, _)| *key != "cleanup.policy");
            config.push(("cleanup.policy", "compact".to_owned()));
        }
        plans.push(beside(settings.output(kind), config));
    }
    plans
}

/// Nothing may expire: inputs and journal are what everything can be computed anew from.
fn kept() -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("max.message.bytes", MAX_RECORD_BYTES.to_string()),
    ]
}

/// Only what is the newest of its key stays. The part that is still written to is never compacted,
/// so its segments are small; a state that was away for longer than tombstones are kept is of no
/// use, so they are kept long.
fn compacted() -> Vec<(&'static str, String)> {
    let mebibytes = |n: u64| (n << 20).to_string();
    vec![
        ("cleanup.policy", "compact".to_owned()),
        ("segment.bytes", mebibytes(64)),
        ("min.cleanable.dirty.ratio", "0.3".to_owned()),
        ("max.compaction.lag.ms", (6 * 3_600_000).to_string()),
        ("delete.retention.ms", (7 * 86_400_000u64).to_string()),
        ("max.message.bytes", MAX_RECORD_BYTES.to_string()),
    ]
}

/// A replay's records lie decades from the broker's clock; by default it refuses those from the
/// future and would delete those from the past.
fn timestamps(clock: AppendClock) -> Vec<(&'static str, String)> {
    match clock {
        AppendClock::Broker => vec![("message.timestamp.type", "LogAppendTime".to_owned())],
        AppendClock::Replay => vec![
            ("message.timestamp.type", "CreateTime".to_owned()),
            ("message.timestamp.before.max.ms", i64::MAX.to_string()),
            ("message.timestamp.after.max.ms", i64::MAX.to_string()),
        ],
    }
}

fn partitions_by_topic(inquiry: &Inquiry<'_>) -> Result<BTreeMap<String, u32>, PortError> {
    let metadata = inquiry.topics()?;
    let ready = metadata.topics().iter().filter(|topic| {
        topic.error().is_none() && topic.partitions().iter().all(|p| p.leader() >= 0)
    });
    Ok(ready.map(|topic| (topic.name().to_owned(), topic.partitions().len() as u32)).collect())
}

/// The partitions that all existing co-partitioned topics have; `None` if there is none yet.
fn co_partitions(plans: &[Plan], there: &BTreeMap<String, u32>) -> Result<Option<u32>, PortError> {
    let mut found = plans
        .iter()
        .filter(|plan| plan.is_co_partitioned)
        .filter_map(|plan| there.get(&plan.name).map(|&n| (plan.name.as_str(), n)));
    let Some((first, partitions)) = found.next() else { return Ok(None) };
    if let Some((other, n)) = found.find(|&(_, n)| n != partitions) {
        return Err(PortError::Stop(format!(
            "kafka topic {first} has {partitions} partitions and {other} has {n}; inputs and \
             journal need the same number, so that a stay's facts meet in one task: create \
             {other} anew with {partitions}, or choose another kafka.prefix"
        )));
    }
    Ok(Some(partitions))
}

fn create(
    admin: &Admin,
    settings: &KafkaSettings,
    missing: &[&Plan],
    partitions: u32,
) -> Result<(), PortError> {
    let count = i32::try_from(partitions)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| PortError::Stop(format!("kafka.partitions = {partitions} is no count")))?;
    let copies = i32::try_from(settings.replication).unwrap_or(i32::MAX);
    let new: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|plan| {
            let topic = NewTopic::new(&plan.name, count, TopicReplication::Fixed(copies));
            plan.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
    let failed = |e| port_error("creating kafka topics", &settings.bootstrap, &e);
    let results = wait_for(admin.create_topics(&new, &options), 2 * ASK_TIMEOUT)
        .unwrap_or(Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)))
        .map_err(failed)?;
    for result in results {
        match result {
            // Another node that starts at the same time may be quicker.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let doing = format!("creating kafka topic {name}");
                return Err(port_error(&doing, &settings.bootstrap, &KafkaError::AdminOp(code)));
            }
        }
    }
    Ok(())
}

/// Waits until every topic has its leaders, so that the first use of it does not fail.
fn await_topics(inquiry: &Inquiry<'_>, plans: &[Plan]) -> Result<(), PortError> {
    let deadline = Instant::now() + ASK_TIMEOUT;
    loop {
        let there = partitions_by_topic(inquiry)?;
        match plans.iter().find(|plan| !there.contains_key(&plan.name)) {
            None => return co_partitions(plans, &there).map(drop),
            Some(plan) if Instant::now() >= deadline => {
                let name = &plan.name;
                return Err(match inquiry.is_hidden(name)? {
                    true => absent(inquiry, &[plan], 0)?,
                    false => PortError::Retry(format!(
                        "kafka topic {name} was created but has no leader yet"
                    )),
                });
            }
            Some(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The future's answer, or `None` after `limit`. The admin client is the only part of the crate
/// that speaks in futures, and one caller at a time needs no executor.
pub(super) fn wait_for<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    let deadline = Instant::now() + limit;
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return Some(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(counts: &[(&str, u32)]) -> BTreeMap<String, u32> {
        counts.iter().map(|&(name, n)| (name.to_owned(), n)).collect()
    }

    #[test]
    fn unequal_partitions_name_both_topics() {
        let plans = plans(&KafkaSettings::new("a:1"));
        assert_eq!(co_partitions(&plans, &there(&[])).unwrap(), None);
        assert_eq!(co_partitions(&plans, &there(&[("lab", 3), ("risk", 1)])).unwrap(), Some(3));
        let error = co_partitions(&plans, &there(&[("lab", 3), ("vital", 4)])).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, PortError::Stop(_)));
        assert!(text.contains("lab has 3") && text.contains("vital has 4"), "{text}");
    }

    #[test]
    fn a_future_that_never_answers_is_given_up() {
        assert_eq!(wait_for(std::future::ready(7), Duration::ZERO), Some(7));
        let start = Instant::now();
        assert_eq!(wait_for(std::future::pending::<()>(), Duration::from_millis(30)), None);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

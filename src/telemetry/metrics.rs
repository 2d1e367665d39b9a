//! The metrics: their names, their collectors, their text.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::ids::Topic;

/// Of the text that [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names of all metrics, with their units as Prometheus wants them.
pub mod name {
    pub const RECORDS_REJECTED: &str = "nowcxr_records_rejected_total";
    pub const FACTS_USED: &str = "nowcxr_facts_used_total";
    pub const FACTS_LATE: &str = "nowcxr_facts_late_total";
    pub const FACTS_DUPLICATE: &str = "nowcxr_facts_duplicate_total";
    pub const FACTS_SHADOW: &str = "nowcxr_facts_shadow_total";
    pub const FACTS_OVERSHADOWED: &str = "nowcxr_facts_overshadowed_total";
    pub const WINDOWS_SEALED: &str = "nowcxr_windows_sealed_total";
    pub const PREDICTIONS_REQUESTED: &str = "nowcxr_predictions_requested_total";
    pub const PREDICTIONS_DISAGREED: &str = "nowcxr_predictions_disagreed_total";
    pub const PREDICTION_LATENCY: &str = "nowcxr_prediction_latency_seconds";
    pub const RISK_EVENTS: &str = "nowcxr_risk_events_total";
    pub const VALUES_SUSPECTED: &str = "nowcxr_values_suspected_total";
    pub const ALERTS_TOLD: &str = "nowcxr_alerts_told_total";
    pub const ALERTS_WITHHELD: &str = "nowcxr_alerts_withheld_total";
    pub const COMMIT_TIME: &str = "nowcxr_commit_seconds";
    pub const COMMIT_PUTS: &str = "nowcxr_commit_puts";
    pub const WATERMARK: &str = "nowcxr_watermark_timestamp_seconds";
    pub const WATERMARK_LAG: &str = "nowcxr_watermark_lag_seconds";
    pub const FEED_PASSED: &str = "nowcxr_feed_passed_total";
    pub const STORE_RECOVERY_TIME: &str = "nowcxr_store_recovery_seconds";
    pub const LOG_TAILS_CUT: &str = "nowcxr_log_tails_cut_total";
    pub const LOG_SEGMENTS_DELETED: &str = "nowcxr_log_segments_deleted_total";
    pub const RESTORED_RECORDS: &str = "nowcxr_restored_records_total";
    pub const STANDBYS: &str = "nowcxr_standbys";
    pub const STANDBY_BEHIND: &str = "nowcxr_standby_behind_records";
    pub const TASK_PAUSED: &str = "nowcxr_task_paused";
    pub const TASK_PAUSES: &str = "nowcxr_task_pauses_total";
    pub const TASK_PAUSED_TIME: &str = "nowcxr_task_paused_seconds";
    pub const TOPICS_HELD: &str = "nowcxr_topics_held_back";
    pub const TOPIC_HOLDS: &str = "nowcxr_topic_holds_total";
    pub const TOPICS_HELD_TIME: &str = "nowcxr_topics_held_back_seconds";
    pub const EDGE_MESSAGES: &str = "nowcxr_edge_messages_total";
    pub const EDGE_ACTS: &str = "nowcxr_edge_acts_total";
    pub const EDGE_SAID: &str = "nowcxr_edge_said_total";
    pub const EDGE_REJECTED: &str = "nowcxr_edge_rejected_total";
    pub const EDGE_CONNECTIONS: &str = "nowcxr_edge_connections";
    pub const EDGE_SKEWED: &str = "nowcxr_edge_skewed_total";
    pub const EDGE_FETCHES: &str = "nowcxr_edge_fetches_total";
    pub const BUILD: &str = "nowcxr_build_info";
}

/// From a fraction of a commit (0.1 ms) to a slow disk (3 s).
const COMMIT_BUCKETS: [f64; 10] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
/// From one put to the largest batch.
const PUT_BUCKETS: [f64; 7] = [1.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0];
/// From a cached answer to its deadline and beyond.
const PREDICTION_BUCKETS: [f64; 11] =
    [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// From an empty store to a full ward's, and waits of a task.
const LONG_BUCKETS: [f64; 8] = [0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// One counter a topic, found by index: these are counted for every record.
pub(super) struct ByTopic([IntCounter; 5]);

impl ByTopic {
    pub(super) fn of(&self, topic: Topic) -> &IntCounter {
        let [stay, imaging, lab, vital, acknowledgement] = &self.0;
        match topic {
            Topic::Stay => stay,
            Topic::Imaging => imaging,
            Topic::Lab => lab,
            Topic::Vital => vital,
            Topic::Acknowledgement => acknowledgement,
        }
    }
}

/// All collectors of the process and the registry that holds them.
pub struct Metrics {
    registry: Registry,
    pub(super) records_rejected: IntCounterVec,
    pub(super) facts: FactMetrics,
    pub(super) windows_sealed: IntCounterVec,
    pub(super) predictions_requested: IntCounter,
    pub(super) predictions_disagreed: IntCounter,
    pub(super) prediction_latency: HistogramVec,
    pub(super) told: ToldMetrics,
    pub(super) commit_time: Histogram,
    pub(super) commit_puts: Histogram,
    pub(super) watermark: IntGaugeVec,
    pub(super) watermark_lag: IntGaugeVec,
    pub(super) feed_passed: IntCounterVec,
    pub(super) store_recovery_time: HistogramVec,
    pub(super) log_tails_cut: IntCounter,
    pub(super) log_segments_deleted: IntCounter,
    pub(super) task_paused: IntGaugeVec,
    pub(super) task_pauses: IntCounterVec,
    pub(super) task_paused_time: Histogram,
    pub(super) held: HeldMetrics,
    pub(super) copies: CopyMetrics,
    pub(super) edge: EdgeMetrics,
}

/// Those of facts that became something else than dead letters.
pub(super) struct FactMetrics {
    pub used: ByTopic,
    pub late: ByTopic,
    pub duplicate: ByTopic,
    pub shadow: ByTopic,
    pub overshadowed: IntCounter,
}

/// Those of what leaves for people.
pub(super) struct ToldMetrics {
    pub risk_events: IntCounterVec,
    pub values_suspected: IntCounterVec,
    pub alerts: IntCounterVec,
    pub alerts_withheld: IntCounter,
}

/// Those of topics that are ahead of the others.
pub(super) struct HeldMetrics {
    pub topics: IntGaugeVec,
    pub times: IntCounter,
    pub time: Histogram,
}

/// Those of copies of a task's state.
pub(super) struct CopyMetrics {
    pub restored_records: IntCounter,
    pub standbys: IntGauge,
    pub standby_behind: IntGaugeVec,
}

/// Those of the hospital's edge.
pub(super) struct EdgeMetrics {
    pub messages: IntCounterVec,
    pub acts: IntCounterVec,
    pub said: IntCounterVec,
    pub rejected: IntCounterVec,
    pub connections: IntGauge,
    pub skewed: IntCounterVec,
    pub fetches: IntCounterVec,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Registers what it makes, so that no collector can be forgotten.
struct Maker(Registry);

impl Maker {
    fn keep<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, by: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.keep(IntCounterVec::new(Opts::new(name, help), by)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, by: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), by)?)
    }

    /// Which program this is.
    fn build(&self) -> prometheus::Result<()> {
        let build = self.gauges(name::BUILD, "Always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(())
    }

    fn by_topic(&self, name: &str, help: &str) -> prometheus::Result<ByTopic> {
        let counters = self.counters(name, help, &["topic"])?;
        Ok(ByTopic(Topic::ALL.map(|topic| counters.with_label_values(&[topic.name()]))))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(options)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        by: &str,
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(HistogramVec::new(options, &[by])?)
    }
}

impl FactMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        Ok(FactMetrics {
            used: make.by_topic(name::FACTS_USED, "Facts that entered a stay's state.")?,
            late: make.by_topic(name::FACTS_LATE, "Facts that their feed had passed.")?,
            duplicate: make.by_topic(name::FACTS_DUPLICATE, "Facts known already.")?,
            shadow: make
                .by_topic(name::FACTS_SHADOW, "Charted copies of the laboratory's results.")?,
            overshadowed: make.counter(
                name::FACTS_OVERSHADOWED,
                "Charted copies that had been used before the laboratory reported.",
            )?,
        })
    }
}

impl ToldMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        Ok(ToldMetrics {
            risk_events: make.counters(
                name::RISK_EVENTS,
                "Risk events that left, by status and whether a later revision of their window.",
                &["status", "revision"],
            )?,
            values_suspected: make.counters(
                name::VALUES_SUSPECTED,
                "Newest values in risk events that may be no measurement: stuck, or a jump.",
                &["variable", "why"],
            )?,
            alerts: make.counters(
                name::ALERTS_TOLD,
                "Records of alerts, by what they are about, their state and how far they disturb.",
                &["subject", "state", "delivery"],
            )?,
            alerts_withheld: make.counter(
                name::ALERTS_WITHHELD,
                "Records of alerts about what was computed before, which are told to nobody.",
            )?,
        })
    }
}

impl HeldMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        Ok(HeldMetrics {
            topics: make.gauges(
                name::TOPICS_HELD,
                "Topics that a task does not read because they are ahead and too much waits.",
                &["task"],
            )?,
            times: make.counter(name::TOPIC_HOLDS, "Times that a task held topics back.")?,
            time: make.histogram(
                name::TOPICS_HELD_TIME,
                "From then until all were read again.",
                &LONG_BUCKETS,
            )?,
        })
    }
}

impl CopyMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        Ok(CopyMetrics {
            restored_records: make.counter(
                name::RESTORED_RECORDS,
                "Changelog records that tasks read before they could read their inputs.",
            )?,
            standbys: make.gauge(name::STANDBYS, "Warm copies of other members' states.")?,
            standby_behind: make.gauges(
                name::STANDBY_BEHIND,
                "Offsets between a warm copy and its changelog's end when it was last looked at.",
                &["task"],
            )?,
        })
    }
}

impl EdgeMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        Ok(EdgeMetrics {
            messages: make.counters(
                name::EDGE_MESSAGES,
                "Messages that the edge answered, by how.",
                &["verdict"],
            )?,
            acts: make.counters(
                name::EDGE_ACTS,
                "What messages said, by kind: reports, and who is where and who is who.",
                &["act"],
            )?,
            said: make.counters(
                name::EDGE_SAID,
                "Things that messages said, by what became of each; rejected ones stand apart.",
                &["fate"],
            )?,
            rejected: make.counters(
                name::EDGE_REJECTED,
                "Messages and parts of them that became dead letters.",
                &["reason"],
            )?,
            connections: make
                .gauge(name::EDGE_CONNECTIONS, "Connections of senders that are open.")?,
            skewed: make.counters(
                name::EDGE_SKEWED,
                "Messages whose sender's clock is 10 min or more off: ahead, or behind, which a \
                 message that waited long looks like, too.",
                &["way"],
            )?,
            fetches: make.counters(
                name::EDGE_FETCHES,
                "Films that the archive was asked for, by what it did.",
                &["outcome"],
            )?,
        })
    }
}

impl Metrics {
    /// A registry of its own with every metric in it.
    ///
    /// # Errors
    /// Only if two metrics were given one name, or a name that Prometheus refuses.
    pub fn new() -> prometheus::Result<Self> {
        let make = Maker(Registry::new());
        make.build()?;
        let (rejected, task) = (["reason", "topic"], ["task"]);
        Ok(Metrics {
            records_rejected: make.counters(
                name::RECORDS_REJECTED,
                "Records that became dead letters.",
                &rejected,
            )?,
            facts: FactMetrics::new(&make)?,
            windows_sealed: make.counters(
                name::WINDOWS_SEALED,
                "Windows sealed, by the set of their triggers.",
                &["triggers"],
            )?,
            predictions_requested: make
                .counter(name::PREDICTIONS_REQUESTED, "Requests sent to the model.")?,
            predictions_disagreed: make.counter(
                name::PREDICTIONS_DISAGREED,
                "Second answers to a question that were not used and lie further from the first \
                 than arithmetic may.",
            )?,
            prediction_latency: make.histograms(
                name::PREDICTION_LATENCY,
                "From a request to its answer.",
                &PREDICTION_BUCKETS,
                "status",
            )?,
            told: ToldMetrics::new(&make)?,
            commit_time: make.histogram(name::COMMIT_TIME, "One commit.", &COMMIT_BUCKETS)?,
            commit_puts: make.histogram(name::COMMIT_PUTS, "Values in one.", &PUT_BUCKETS)?,
            watermark: make.gauges(
                name::WATERMARK,
                "Event time that a task has reached; absent before its first mark.",
                &task,
            )?,
            watermark_lag: make.gauges(
                name::WATERMARK_LAG,
                "How far the watermark lies behind the clock or the replay's clock.",
                &task,
            )?,
            feed_passed: make.counters(
                name::FEED_PASSED,
                "Marks that tasks made for silent feeds, by the feed's place in feeds.list.",
                &["feed"],
            )?,
            store_recovery_time: make.histograms(
                name::STORE_RECOVERY_TIME,
                "Opening a store until its task could read on.",
                &LONG_BUCKETS,
                "how",
            )?,
            log_tails_cut: make
                .counter(name::LOG_TAILS_CUT, "Torn tails cut off when local logs were opened.")?,
            log_segments_deleted: make
                .counter(name::LOG_SEGMENTS_DELETED, "Segments deleted by `local.retention`.")?,
            task_paused: make.gauges(name::TASK_PAUSED, "1 while a task does not read.", &task)?,
            task_pauses: make.counters(name::TASK_PAUSES, "Pauses of tasks.", &["cause"])?,
            task_paused_time: make.histogram(
                name::TASK_PAUSED_TIME,
                "Length of one pause.",
                &LONG_BUCKETS,
            )?,
            held: HeldMetrics::new(&make)?,
            copies: CopyMetrics::new(&make)?,
            edge: EdgeMetrics::new(&make)?,
            registry: make.0,
        })
    }

    /// Those of the process.
    ///
    /// # Errors
    /// As [`Metrics::new`].
    pub fn global() -> Result<&'static Metrics, &'static prometheus::Error> {
        static GLOBAL: LazyLock<prometheus::Result<Metrics>> = LazyLock::new(Metrics::new);
        GLOBAL.as_ref()
    }

    /// All metrics in Prometheus' text format, see [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// If a collector gives what the format cannot say.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

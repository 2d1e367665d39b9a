//! The table of all keys: the one place that knows their names, defaults and meanings. The
//! defaults, the generated reference and the suggestions for misspelt keys are read from it.

use super::edge_keys::EDGE;
use super::errors::ERRORS;
use super::key::{Key, key};

/// The sections in the order of the reference, and what each is for.
pub const SECTIONS: [(&str, &str); 14] = [
    ("engine", "How windows are cut and how long things are kept. Changes what is computed."),
    ("feeds", "Where facts come from. Changes what is computed."),
    ("errors", "What becomes of what fails."),
    ("predict", "The worker that answers windows."),
    ("store", "The durable state."),
    ("local", "The log on this machine's disk, the transport that needs no broker."),
    ("kafka", "The Kafka transport."),
    ("registry", "Where schemas are named, on Kafka."),
    ("edge", "What hospitals send: HL7 v2, FHIR and DICOM. Read by `nowcxr edge`."),
    ("http", "Dashboard, metrics and health."),
    ("telemetry", "Log lines, and who wrote what leaves."),
    ("alerts", "When a risk becomes an alert, and whether anyone may be disturbed."),
    ("notify", "Where `nowcxr alerts follow` passes alerts on. Silent alerts leave by no channel."),
    ("replay", "When a recorded value counts as known. Changes what a replay and a demo tell."),
];

const FEEDS: &str = r#"[
    { name = "stay", topic = "stay" },
    { name = "imaging", topic = "imaging" },
    { name = "lab", topic = "lab" },
    { name = "vital", topic = "vital" },
    { name = "acknowledgement", topic = "acknowledgement" },
]"#;

/// Every key there is.
pub const KEYS: [Key; REST.len() + EDGE.len() + ERRORS.len()] = {
    let mut all = [REST[0]; REST.len() + EDGE.len() + ERRORS.len()];
    let (mut n, with_edge) = (0, REST.len() + EDGE.len());
    while n < all.len() {
        all[n] = match n {
            _ if n < REST.len() => REST[n],
            _ if n < with_edge => EDGE[n - REST.len()],
            _ => ERRORS[n - with_edge],
        };
        n += 1;
    }
    all
};

/// All but those of sections with a file of their own.
const REST: &[Key] = &[
    key(
        "engine.profile",
        r#""clinical""#,
        "Which input the model gets: `clinical` believes declared units and takes blood only; \
         `reference` reproduces the published 79 columns.",
    ),
    key(
        "engine.every",
        r#""1h""#,
        "A window closes every so long after admission. `off` for none.",
    ),
    key(
        "engine.landmarks",
        r#"["48h"]"#,
        "Windows at these ages of the stay, always. The method is defined at 48 h.",
    ),
    key("engine.on_film", "true", "Whether a film that arrives closes a window at once."),
    key(
        "engine.lookback",
        r#""24h""#,
        "Facts up to this long before admission belong to the stay.",
    ),
    key(
        "engine.grace",
        r#""24h""#,
        "Facts observed up to this long after discharge still belong to it.",
    ),
    key("engine.max_stay", r#""90d""#, "Windows stop this long after admission."),
    key("engine.silent_after", r#""24h""#, "Windows stop after so long without a fact."),
    key(
        "engine.revise_windows",
        "1",
        "How many of the newest sealed windows a correction revises. Older ones stay as they \
         were made.",
    ),
    key(
        "engine.late",
        r#""keep""#,
        "A fact that its own feed's marks had passed: `keep` lets it serve later windows, \
         `drop` counts and forgets it.",
    ),
    key(
        "engine.max_waiting",
        "20000",
        "Facts of one stay that may wait for the watermark or for an admission.",
    ),
    key(
        "engine.keep",
        r#""96h""#,
        "How long a stay is remembered after its end, and how far back its alerts are judged \
         again.",
    ),
    key(
        "engine.max_future",
        r#""5m""#,
        "A record available so long after it was appended is rejected.",
    ),
    key(
        "engine.shadow",
        r#""65m""#,
        "A charted value that copies the laboratory's, observed up to so long after it, is counted \
         as a shadow and not used. `0m` uses it twice. Glucose and pH, profile `clinical` only.",
    ),
    key(
        "feeds.list",
        FEEDS,
        "The sources of facts, and of what people do about alerts. Their order is their id in \
         stored state: append, never reorder. A topic may have several; without a feed of topic \
         acknowledgement nobody is heard. `lateness = \"10m\"` beside a feed's name: its producer \
         sends no marks, and its records are in the topic so long after they became available \
         at the latest. How far it has got is then derived from when they were appended (broker \
         append time), and from the clock where none came for a minute. A replay sends none of \
         its marks but the last.",
    ),
    key(
        "feeds.timeout",
        r#""15m""#,
        "A feed whose marks, or with a lateness whose records, stop for so long is passed over; \
         windows sealed without it say so. Nothing waits for what people do.",
    ),
    key("predict.model", r#""models/demo""#, "Directory of the model."),
    key(
        "predict.deadline",
        r#""30s""#,
        "In `run`, a window without an answer by then leaves unscored, and a later answer is a \
         revision.",
    ),
    key(
        "predict.queue",
        "256",
        "Requests that may wait for the model. The engine waits when it is full.",
    ),
    key(
        "predict.device",
        r#""auto""#,
        "Where the networks run: `cpu`, `cuda` (needs a build with the feature cuda), or `auto` \
         for the first GPU if there is one.",
    ),
    key(
        "predict.threads",
        "0",
        "Threads of the networks, 0 for one a core. No outcome depends on it.",
    ),
    key(
        "store.dir",
        r#""nowcxr-data/store""#,
        "Directory of the state, one below it for each task.",
    ),
    key(
        "store.cache_bytes",
        r#""8MiB""#,
        "Cache of sled. The process grows by 5 to 11 times this.",
    ),
    key(
        "store.flush_every",
        r#""2s""#,
        "In `run`, the state on disk may lag so far behind what is committed; a restart reads the \
         rest from the changelog. Elsewhere every commit is flushed.",
    ),
    key("local.segment_bytes", r#""64MiB""#, "A segment is closed at this size."),
    key(
        "local.retention",
        r#""100d""#,
        "How long `edge` keeps a record in its local log: as long as a fact can matter \
         (engine.lookback, max_stay, grace and keep together) at least, or `off`.",
    ),
    key("kafka.brokers", r#""localhost:9092""#, "`host:port`, several separated by commas."),
    key(
        "kafka.group",
        r#""nowcxr""#,
        "Names the consumer group, the producers `<group>-<partition>`, and the topics \
         `<group>-changelog` and `<group>-journal`.",
    ),
    key(
        "kafka.prefix",
        r#""""#,
        "Stands before the name of every input and output topic, for instance `icu.`.",
    ),
    key("kafka.create_topics", "true", "Whether topics that do not exist are created."),
    key(
        "kafka.partitions",
        "16",
        "Partitions of topics that are created here: the most tasks there can ever be.",
    ),
    key(
        "kafka.replication",
        "1",
        "Copies of topics that are created here; no more than there are brokers.",
    ),
    key(
        "kafka.clock",
        r#""broker""#,
        "Which timestamp says when a record was appended: `broker`, or `replay` for the clock \
         of a replay.",
    ),
    key(
        "kafka.instance",
        r#""""#,
        "A name for this process that survives its restart, so that a restart moves no partition.",
    ),
    key(
        "kafka.delivery_timeout",
        r#""30s""#,
        "How long a record or a transaction may take. After that its outcome counts as unknown, \
         and the task is opened anew.",
    ),
    key(
        "kafka.commit_interval",
        r#""100ms""#,
        "Time between two transactions of a task that has something to commit.",
    ),
    key(
        "kafka.session_timeout",
        r#""6s""#,
        "A process that is not heard of for so long is dead, and others take its partitions.",
    ),
    key(
        "kafka.standby",
        "0",
        "Warm copies of the state of partitions that other members own, at most so many. A \
         partition with a copy that comes here has only what is new to read; each copy costs disk \
         and the reading of its changelog. For all of them give the number of partitions. Each \
         process needs a store.dir of its own.",
    ),
    key(
        "kafka.properties",
        "{}",
        "Further librdkafka properties, such as \"security.protocol\". They win over ours and \
         are never printed.",
    ),
    key(
        "kafka.secrets",
        "{}",
        "As properties, but each value is the name of a file that holds it, such as \
         { \"sasl.password\" = \"/run/secrets/kafka\" }. Its last line end is cut off.",
    ),
    key(
        "kafka.token",
        r#""""#,
        "A file that holds the token of SASL/OAUTHBEARER, or env:NAME for the variable NAME; empty \
         for none. It is read anew when librdkafka wants a new one, which is before it expires. \
         Needs a build with the feature tls. Topics must be there, and the changelog's \
         delete.retention.ms at least a day: nobody can create or ask under a token.",
    ),
    key(
        "registry.url",
        r#""""#,
        "A Confluent-compatible schema registry, such as `http://registry:8081`, or `https` in a \
         build with the feature https. Empty for the fixed ids of schemas/ids.toml. An application \
         keeps to one of the two: its records carry the ids.",
    ),
    key(
        "registry.register",
        "true",
        "Whether schemas that the registry lacks are registered; otherwise they must be there.",
    ),
    key(
        "registry.subjects",
        r#""record""#,
        "How subjects are named: `record` for the record's full name, `topic_record` for topic and \
         name. A topic has records of several schemas, so its name alone would not do.",
    ),
    key(
        "registry.credentials",
        r#""""#,
        "A file that holds user:password for the registry; empty for none.",
    ),
    key(
        "registry.ca",
        r#""""#,
        "A PEM file of those who signed the certificate of a registry by https; empty for the \
         authorities of the web.",
    ),
    key(
        "http.listen",
        r#""127.0.0.1:8080""#,
        "Address of dashboard, metrics and health. `off` for none.",
    ),
    key(
        "http.tokens",
        r#""""#,
        "File of those who may see the dashboard, a line each: name, role (viewer, clinician or \
         admin) and the SHA-256 of the token; `nowcxr token` adds one. Empty for none: then the \
         dashboard is open, and shown on this machine only.",
    ),
    key(
        "http.audit",
        r#""nowcxr-audit.jsonl""#,
        "File that every look at a stay is added to, as a FHIR AuditEvent. A synthetic ward that \
         is open to everybody has none.",
    ),
    key(
        "http.history",
        r#""7d""#,
        "How far back a dashboard over Kafka reads risks, alerts, films and dead letters when it \
         starts. The newest view of every stay is always there.",
    ),
    key("telemetry.format", r#""human""#, "`human` or `json`."),
    key(
        "telemetry.node",
        r#""auto""#,
        "Name of this node in the envelope of whatever leaves; `auto` is the host's name. Never a \
         patient's.",
    ),
    key(
        "telemetry.filter",
        r#""auto""#,
        "Which log lines are written, for instance `info,nowcxr::drive=debug`. `auto` is `info` \
         in `run` and `warn` elsewhere.",
    ),
    key(
        "alerts.mode",
        r#""silent""#,
        "`silent` until a site has decided otherwise: alerts are written, marked silent; `passive` \
         shows them, `interruptive` disturbs. A service that starts in another mode writes that \
         down beside store.dir, in a file that `nowcxr audit verify` reads.",
    ),
    key(
        "alerts.tau_on",
        "0.3",
        "An alert is raised at this calibrated risk of in-hospital death. Take it from the site's \
         own figures: see `nowcxr policy`.",
    ),
    key("alerts.tau_off_ratio", "0.8", "It ends below `tau_on` times this."),
    key("alerts.persist", "2", "So many predictions in a row must be that high."),
    key("alerts.min_hold", r#""10m""#, "And they must span at least this time; at most 24h."),
    key(
        "alerts.clear_for",
        r#""1h""#,
        "Predictions below the lower threshold must span at least this time for an alert to end; \
         at most 24h.",
    ),
    key(
        "alerts.refractory",
        r#""8h""#,
        "No second alert of a stay on one subject within this time of the first.",
    ),
    key(
        "alerts.refire_delta",
        "0.1",
        "Except that the risk rose by so much above the last alert's, which ends that one too.",
    ),
    key(
        "alerts.budget",
        "0.5",
        "Alerts of a stay per patient-day that may disturb; the rest are passive. 0.5 is one in \
         any 48 h, 2 are two in any 24 h.",
    ),
    key(
        "alerts.stale_after",
        r#""4h""#,
        "Without an observation for so long, a technical alert takes the place of risk alerts. So \
         it does when a feed is missing or the model failed.",
    ),
    key("alerts.not_before", r#""4h""#, "No alerts so early in a stay."),
    key(
        "alerts.escalate",
        r#"["15m", "30m"]"#,
        "An interruptive alert without a response is passed on after each of these times.",
    ),
    key(
        "notify.group",
        r#""nowcxr-alerts""#,
        "Names the consumer group, or the file of positions beside a local log.",
    ),
    key("notify.beds", "20", "Beds of the unit, for its budget."),
    key(
        "notify.budget",
        "0.5",
        "Alerts of risk per bed and day that may disturb the unit: with 20 beds and 0.5, ten in \
         any 24 h. The rest are passive and say so.",
    ),
    key(
        "notify.past",
        r#""8h""#,
        "Alerts that were told longer ago are shown and disturb nobody, as when a backlog is \
         worked off after an outage. `off` for no such limit.",
    ),
    key(
        "notify.webhook",
        r#""""#,
        "URL that shown alerts are posted to as JSON. http only: a relay does TLS.",
    ),
    key(
        "notify.webhook_secret",
        r#""""#,
        "Signs each request with HMAC-SHA256. `@FILE` reads it from a file; otherwise put it into \
         the environment. Never printed.",
    ),
    key(
        "notify.syslog",
        r#""""#,
        "`udp://host:port` or `tcp://host:port` for shown alerts as RFC 5424.",
    ),
    key(
        "notify.mail_server",
        r#""""#,
        "The SMTP server that takes shown alerts as mail: `smtp://host:port` without TLS, or in a \
         build with the feature https `smtp+starttls://` or `smtps://`. Never less than is asked.",
    ),
    key("notify.mail_from", r#""""#, "The sender's address: one that may be answered."),
    key(
        "notify.mail_to",
        "[]",
        "The recipients' addresses; each gets a message of its own, so that one that is refused \
         keeps no other from it.",
    ),
    key("notify.mail_user", r#""""#, "Who logs in at the server; empty for nobody."),
    key(
        "notify.mail_password",
        r#""""#,
        "The password of notify.mail_user, kept as notify.webhook_secret is: `@FILE`, or in the \
         environment. Never printed, and sent in the clear where there is no TLS.",
    ),
    key(
        "notify.mail_ca",
        r#""""#,
        "A PEM file of those who signed the certificate of the mail server; empty for the \
         authorities of the web.",
    ),
    key(
        "notify.retry_max",
        r#""60s""#,
        "The longest wait before a delivery that failed is tried again; the first is 1 s.",
    ),
    key(
        "replay.clock",
        r#""available""#,
        "`available`: results count from when they were stored, charted values by `charts`. \
         `charttime`: everything counts from when it was charted or taken, as the published \
         pipelines do; such a replay knows more than a ward could have known.",
    ),
    key(
        "replay.charts",
        r#""device""#,
        "`device`: charted values come `device_lag` after their charttime, as from a monitor. \
         `validated`: when staff stored them, often hours later.",
    ),
    key("replay.device_lag", r#""1m""#, "Charttime to availability of what a monitor sends."),
    key(
        "replay.lab_lag",
        r#""65m""#,
        "Charttime to availability of a lab that has no storetime and no other of whose kind in \
         the file has one. The default is the median in MIMIC-IV's demo.",
    ),
    key(
        "replay.cxr_lag",
        r#""15m""#,
        "Acquisition to availability of a film. MIMIC-CXR does not record it: an assumption.",
    ),
    key(
        "replay.cxr_jitter",
        r#""0s""#,
        "Up to this much is added to `cxr_lag`, drawn for each film from the replay's seed.",
    ),
];

/// The key of this path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_explained_once_in_a_known_section() {
        for key in KEYS {
            assert!(key.about.ends_with('.') && key.about.len() > 12, "{}", key.path);
            assert!(SECTIONS.iter().any(|(section, _)| *section == key.section()), "{}", key.path);
            assert_eq!(KEYS.iter().filter(|other| other.path == key.path).count(), 1);
        }
    }
}

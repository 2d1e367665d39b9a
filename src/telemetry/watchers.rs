//! Holds the rules and the dashboard under `.docker/` to the metrics that are exported: a name or
//! a label that nothing exports would watch nothing, and say so to nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Metrics;

const RULES: &str = include_str!("../../.docker/prometheus-rules.yml");
const DASHBOARD: &str = include_str!("../../.docker/grafana-dashboard.json");

/// What Prometheus adds to every series.
const ADDED: [&str; 2] = ["instance", "job"];

/// The series that a service exports once everything has happened, with their labels.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new().unwrap();
    for counters in [
        &metrics.records_rejected,
        &metrics.windows_sealed,
        &metrics.told.risk_events,
        &metrics.told.values_suspected,
        &metrics.told.alerts,
        &metrics.feed_passed,
        &metrics.task_pauses,
        &metrics.edge.messages,
        &metrics.edge.acts,
        &metrics.edge.said,
        &metrics.edge.rejected,
        &metrics.edge.fetches,
    ] {
        // As many values as labels; another number is refused.
        let taken = |n: usize| counters.get_metric_with_label_values(&vec!["x"; n]).is_ok();
        assert!((1..4).any(taken));
    }
    for gauges in [
        &metrics.watermark,
        &metrics.watermark_lag,
        &metrics.task_paused,
        &metrics.held.topics,
        &metrics.copies.standby_behind,
    ] {
        gauges.with_label_values(&["0"]).set(1);
    }
    for histograms in [&metrics.prediction_latency, &metrics.store_recovery_time] {
        histograms.with_label_values(&["x"]).observe(1.0);
    }
    let text = metrics.render().unwrap();
    let mut series: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let labels = rest.split(['{', ',']).filter_map(|part| part.split_once("=\""));
        let labels = labels.map(|(label, _)| label.to_owned());
        series.entry(name.to_owned()).or_default().extend(labels);
    }
    series
}

/// The names in `text` that begin like ours.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("nowcxr_")).collect()
}

/// The labels of selectors and groupings.
fn labels(expression: &str) -> BTreeSet<&str> {
    let inside = |open: &'static str, close: char| {
        let parts = expression.split(open).skip(1);
        parts.filter_map(move |rest| Some(rest.split_once(close)?.0))
    };
    let selected = inside("{", '}').flat_map(|selector| selector.split("\","));
    let selected = selected.filter_map(|pair| pair.split(['=', '!']).next());
    let grouped = inside("by (", ')').flat_map(|list| list.split(','));
    selected.chain(grouped).map(str::trim).filter(|label| !label.is_empty()).collect()
}

/// Everything that is wrong with an expression and what is said of its result.
fn faults(expression: &str, legend: &str) -> Vec<String> {
    let exported = exported();
    let used = names(expression);
    let mut known: BTreeSet<&str> = ADDED.into();
    let mut faults = Vec::new();
    for name in &used {
        match exported.get(*name) {
            Some(labels) => known.extend(labels.iter().map(String::as_str)),
            None => faults.push(format!("nothing exports {name}")),
        }
    }
    let shown = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let shown = shown.map(|label| label.trim().trim_start_matches("$labels."));
    // `{{ $value | humanize }}` is no label.
    let shown = shown.filter(|label| !label.starts_with('$'));
    for label in labels(expression).into_iter().chain(shown) {
        if !known.contains(label) {
            faults.push(format!("{label} is no label of {used:?}"));
        }
    }
    faults
}

/// Of every rule its text from `expr` to the next rule.
fn rules() -> Vec<(&'static str, String, &'static str)> {
    let parts = RULES.split("- alert: ").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part.split_once('\n').unwrap();
            let (_, rest) = rest.split_once("expr:").unwrap();
            let end = rest.find("\n        for:").or(rest.find("\n        labels:")).unwrap();
            let (expression, rest) = rest.split_at(end);
            (name, expression.replace(">-", "").replace('\n', " "), rest)
        })
        .collect()
}

#[test]
fn every_rule_watches_what_is_exported_and_says_what_to_do() {
    let rules = rules();
    assert!(rules.len() > 8, "{rules:?}");
    for (name, expression, rest) in &rules {
        assert_eq!(faults(expression, rest), Vec::<String>::new(), "{name}");
        assert!(rest.contains("summary:") && rest.contains("action:"), "{name}");
    }
    // What the issue asks to be watched.
    let all = rules.iter().map(|(_, expression, _)| expression.as_str()).collect::<String>();
    for name in ["watermark_lag", "records_rejected", "prediction_latency", "feed_passed"] {
        assert!(all.contains(name), "{name}");
    }
    assert!(all.contains("up{"));
}

#[test]
fn every_panel_shows_what_is_exported() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut shown = 0;
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have one id: {panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |field: &str| target[field].as_str().unwrap_or_default();
            let found = faults(text("expr"), text("legendFormat"));
            assert_eq!(found, Vec::<String>::new(), "{}", panel["title"]);
            shown += 1;
        }
    }
    assert!(shown > 20, "{shown}");
    assert!(names(DASHBOARD).is_subset(&exported().keys().map(String::as_str).collect()));
}

#[test]
fn what_is_wrong_is_found() {
    let found = |expression: &str| faults(expression, "").len();
    assert_eq!(found("rate(nowcxr_facts_used_total{topic=\"lab\", instance=\"a\"}[5m])"), 0);
    assert_eq!(found("rate(nowcxr_facts_used{topic=\"lab\"}[5m])"), 2);
    assert_eq!(found("sum by (feed) (nowcxr_facts_used_total{reason!=\"x\"})"), 2);
    assert_eq!(found("nowcxr_prediction_latency_seconds_sum{le=\"1\"}"), 1);
    assert_eq!(faults("nowcxr_task_paused", "{{task}} {{cause}}").len(), 1);
}

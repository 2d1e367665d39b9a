//! What this process has counted, as far as a person asks for it. The rest is at `/metrics`.

use std::collections::BTreeMap;

use crate::telemetry::{Metrics, name};

/// The counters of the process, read from their text.
pub struct Counters(BTreeMap<String, f64>);

/// Words and number of one row.
pub type Row = (&'static str, String);

impl Counters {
    /// Those of now; none if there are none to be had.
    pub fn now() -> Self {
        let text = Metrics::global().ok().and_then(|metrics| metrics.render().ok());
        Counters::of(&text.unwrap_or_default())
    }

    fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let read = |line: &str| {
            let (series, number) = line.rsplit_once(' ')?;
            Some((series.to_owned(), number.parse().ok()?))
        };
        Counters(lines.filter_map(read).collect())
    }

    /// The sum over the series of a metric that have this label, `k="v"`, or over all.
    fn sum(&self, metric: &str, label: &str) -> f64 {
        // A sum of nothing would be -0.
        self.of_metric(metric, label).fold(0.0, |sum, (_, n)| sum + n)
    }

    fn of_metric(&self, metric: &str, label: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter_map(move |(series, n)| {
            let labels = series.strip_prefix(metric)?;
            let is_it = labels.is_empty() || labels.starts_with('{');
            (is_it && labels.contains(label)).then_some((labels, *n))
        })
    }

    /// The least bound in seconds that this share of the answers stayed within; `None` without
    /// answers, or where some took longer than any bound.
    fn answered_within(&self, share: f64) -> Option<f64> {
        let bucket = format!("{}_bucket", name::PREDICTION_LATENCY);
        let mut within: BTreeMap<u64, f64> = BTreeMap::new();
        for (labels, n) in self.of_metric(&bucket, "le=") {
            let is_dropped = labels.contains("status=\"dropped\"");
            let bound = labels.split("le=\"").nth(1)?.split('"').next()?.parse::<f64>().ok()?;
            if bound.is_finite() && !is_dropped {
                *within.entry((bound * 1e3) as u64).or_default() += n;
            }
        }
        let count = format!("{}_count", name::PREDICTION_LATENCY);
        let answers = self.sum(&count, "") - self.sum(&count, "status=\"dropped\"");
        let enough = |(_, n): &(&u64, &f64)| answers > 0.0 && **n >= share * answers;
        within.iter().find(enough).map(|(ms, _)| *ms as f64 / 1e3)
    }

    /// Whether a task works in this process, or an edge.
    pub fn is_at_work(&self) -> bool {
        self.sum(name::WINDOWS_SEALED, "") + self.sum(name::FACTS_USED, "") > 0.0
            || self.sum(name::EDGE_MESSAGES, "") > 0.0
    }

    pub fn rows(&self) -> Vec<Row> {
        let lag = self.of_metric(name::WATERMARK_LAG, "").map(|(_, n)| n).fold(0.0, f64::max);
        let within = |share| {
            self.answered_within(share).map_or_else(|| "–".to_owned(), |s| format!("within {s} s"))
        };
        let n = |metric: &str| self.sum(metric, "").to_string();
        vec![
            ("Behind the clock", format!("{lag:.0} s")),
            ("Half of the predictions", within(0.5)),
            ("95 % of the predictions", within(0.95)),
            ("Facts used", n(name::FACTS_USED)),
            ("Facts late", n(name::FACTS_LATE)),
            ("Facts known already", n(name::FACTS_DUPLICATE)),
            ("Charted copies", n(name::FACTS_SHADOW)),
            ("Windows sealed", n(name::WINDOWS_SEALED)),
            ("Corrected events", self.sum(name::RISK_EVENTS, "revision=\"later\"").to_string()),
            ("Second answers that disagreed", n(name::PREDICTIONS_DISAGREED)),
            ("Silent feeds passed over", n(name::FEED_PASSED)),
            ("Patients merged at the edge", self.sum(name::EDGE_ACTS, "act=\"merge\"").to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_those_of_the_text() {
        let text = "# HELP nowcxr_facts_used_total x\n\
            nowcxr_facts_used_total{topic=\"lab\"} 3\n\
            nowcxr_facts_used_total{topic=\"vital\"} 4\n\
            nowcxr_facts_used_total_of_another{topic=\"vital\"} 100\n\
            nowcxr_risk_events_total{revision=\"first\",status=\"scored\"} 9\n\
            nowcxr_risk_events_total{revision=\"later\",status=\"scored\"} 2\n\
            nowcxr_watermark_lag_seconds{task=\"0\"} 4\n\
            nowcxr_watermark_lag_seconds{task=\"1\"} 61\n\
            nowcxr_prediction_latency_seconds_bucket{status=\"scored\",le=\"0.3\"} 6\n\
            nowcxr_prediction_latency_seconds_bucket{status=\"scored\",le=\"1\"} 9\n\
            nowcxr_prediction_latency_seconds_bucket{status=\"scored\",le=\"+Inf\"} 9\n\
            nowcxr_prediction_latency_seconds_bucket{status=\"dropped\",le=\"0.3\"} 500\n\
            nowcxr_prediction_latency_seconds_count{status=\"scored\"} 9\n\
            nowcxr_prediction_latency_seconds_count{status=\"dropped\"} 500\n";
        let counters = Counters::of(text);
        assert!(counters.is_at_work() && !Counters::of("").is_at_work());
        let rows: BTreeMap<&str, String> = counters.rows().into_iter().collect();
        let said = ["Facts used", "Corrected events", "Behind the clock", "Facts late"];
        assert_eq!(said.map(|words| rows[words].as_str()), ["7", "2", "61 s", "0"]);
        let within = ["Half of the predictions", "95 % of the predictions"];
        assert_eq!(within.map(|words| rows[words].as_str()), ["within 0.3 s", "within 1 s"]);
        assert_eq!(Counters::of("").answered_within(0.5), None);
    }
}

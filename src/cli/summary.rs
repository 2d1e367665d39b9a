//! What a run ends with: a page that a person reads, or one JSON object.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::detection::Detection;
use super::embedded::Ran;
use super::exports::Exports;
use crate::evaluate::trial::patient_days;
use crate::event::alert::Subject;
use crate::event::risk::{FilmAge, Mode, RiskEvent};
use crate::ids::Topic;
use crate::wire::{AlertRecord, AlertStatus};

/// Rows of the table of the highest risks.
const TOP: usize = 8;
const FATES: [&str; 5] = ["used", "late", "duplicate", "shadow", "rejected"];

/// The whole of it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// What the data is; printed wherever a score appears.
    pub provenance: String,
    pub stays: u64,
    pub stopped_early: bool,
    /// How the state was found, if not simply new.
    pub found: Option<String>,
    /// By topic, how many records ended as what.
    pub events: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// By topic and reason.
    pub rejected: BTreeMap<String, u64>,
    /// Of the faults that were put in on purpose, where somebody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection: Option<Detection>,
    pub films: u64,
    pub windows: u64,
    /// By status.
    pub predictions: BTreeMap<&'static str, u64>,
    pub alerts: Alerts,
    pub highest_risk: Vec<HighRisk>,
    pub outputs: Vec<PathBuf>,
    pub events_per_second: f64,
    pub latency_p50_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    pub wall_s: f64,
    pub peak_rss_bytes: Option<u64>,
    pub model: String,
    pub digest: String,
}

/// What the alert policy made of the run.
#[derive(Debug, Serialize)]
pub struct Alerts {
    pub mode: Mode,
    /// About the risk, those entered in error apart.
    pub risk: u64,
    pub technical: u64,
    pub entered_in_error: u64,
    /// Those about the risk that the budget let through.
    pub within_budget: u64,
    /// From the first window of each stay to its last.
    pub patient_days: f64,
    /// About the risk; `None` without patient-days.
    pub per_patient_day: Option<f64>,
}

/// One stay at its last scored window.
#[derive(Debug, Serialize)]
pub struct HighRisk {
    pub stay: u64,
    pub as_of: String,
    pub mortality: f32,
    /// 95 % interval of the calibrated probability: lower and upper end.
    pub interval: Option<[f32; 2]>,
    /// The variable that the risk moves with most: an association in the model, not a cause.
    pub moves_with: Option<String>,
    pub carry_forward: Option<f32>,
    pub ehr_only: Option<f32>,
    pub film_age: Option<&'static str>,
    pub film_age_hours: Option<f64>,
    pub facts: u32,
    pub ended: Option<String>,
}

impl Summary {
    pub fn new(ran: &Ran, exports: &Exports, provenance: String) -> Self {
        let counts = &ran.counts;
        let mut events: BTreeMap<_, BTreeMap<_, u64>> = BTreeMap::new();
        for topic in Topic::ALL {
            let by_fate = FATES
                .map(|fate| (fate, counts.fates.get(&(topic, fate)).copied().unwrap_or_default()));
            events.insert(topic.name(), by_fate.into());
        }
        let n_events: u64 = counts.fates.values().sum();
        let seconds = ran.wall.as_secs_f64();
        let ms = |q| counts.latency(q).map(|latency| latency.as_secs_f64() * 1e3);
        let model = &ran.task.identity().model;
        Summary {
            provenance,
            stays: ran.task.stays().len() as u64 + counts.expired,
            stopped_early: ran.stopped,
            found: ran.found.clone(),
            events,
            rejected: counts
                .rejected
                .iter()
                .map(|((topic, reason), n)| (format!("{} {}", topic.name(), reason.code()), *n))
                .collect(),
            detection: None,
            films: ran.fed.films,
            windows: counts.sealed,
            predictions: counts.events.clone(),
            alerts: Alerts::of(ran.task.identity().mode, exports),
            highest_risk: highest(&exports.events),
            outputs: Vec::new(),
            events_per_second: n_events as f64 / seconds.max(1e-9),
            latency_p50_ms: ms(0.5),
            latency_p99_ms: ms(0.99),
            wall_s: seconds,
            peak_rss_bytes: super::usage::peak_rss_bytes(),
            model: format!("{} {} ({})", model.name, model.version, short(&model.digest)),
            digest: exports.digest.to_string(),
        }
    }
}

/// The newest revision of each stay's last scored window, highest mortality first.
pub fn last_scored(events: &[RiskEvent]) -> Vec<&RiskEvent> {
    let mut last: BTreeMap<u64, &RiskEvent> = BTreeMap::new();
    for event in events.iter().filter(|event| event.scores.is_some()) {
        last.insert(event.stay.0, event);
    }
    let mut last: Vec<&RiskEvent> = last.into_values().collect();
    let mortality = |event: &RiskEvent| event.scores.as_ref().map_or(0.0, |s| s.mortality.get());
    last.sort_by(|a, b| mortality(b).total_cmp(&mortality(a)).then(a.stay.cmp(&b.stay)));
    last
}

fn highest(events: &[RiskEvent]) -> Vec<HighRisk> {
    let ends: BTreeMap<u64, String> = events
        .iter()
        .filter_map(|event| {
            event.stay_end.map(|end| (event.stay.0, format!("{end:?}").to_lowercase()))
        })
        .collect();
    let row = |event: &RiskEvent| {
        let scores = event.scores.as_ref()?;
        let age = event.film.map(|film| event.t.since(film.acquired_at));
        Some(HighRisk {
            stay: event.stay.0,
            as_of: event.t.to_string(),
            mortality: scores.mortality.get(),
            interval: scores.mortality_interval.map(|i| [i.low().get(), i.high().get()]),
            moves_with: scores.attribution.first().map(|first| first.variable.clone()),
            carry_forward: scores.carry_forward.map(|p| p.get()),
            ehr_only: scores.ehr_only.map(|p| p.get()),
            film_age: age.map(|age| FilmAge::of(age).name()),
            film_age_hours: age.map(|age| age.as_hours()),
            facts: event.series.n_facts,
            ended: ends.get(&event.stay.0).cloned(),
        })
    };
    last_scored(events).into_iter().filter_map(row).take(TOP).collect()
}

fn short(digest: &crate::ids::Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.provenance)?;
        if self.stopped_early {
            writeln!(f, "stopped before the recording ended: everything below is partial")?;
        }
        if let Some(found) = &self.found {
            writeln!(f, "{found}")?;
        }
        writeln!(f, "\n  stays        {}", self.stays)?;
        writeln!(f, "  films        {}", self.films)?;
        writeln!(f, "  windows      {}", self.windows)?;
        let by_status = |(status, n): (&&str, &u64)| format!("{n} {status}");
        let predictions: Vec<String> = self.predictions.iter().map(by_status).collect();
        writeln!(f, "  risk events  {}", predictions.join(", "))?;
        writeln!(f, "  alerts       {}", self.alerts)?;
        self.write_fates(f)?;
        self.write_risks(f)?;
        writeln!(f, "\n  events/s               {:.0}", self.events_per_second)?;
        if let (Some(p50), Some(p99)) = (self.latency_p50_ms, self.latency_p99_ms) {
            writeln!(f, "  window to risk         p50 {p50:.0} ms, p99 {p99:.0} ms")?;
        }
        writeln!(f, "  wall time              {:.1} s", self.wall_s)?;
        if let Some(bytes) = self.peak_rss_bytes {
            writeln!(f, "  peak memory            {:.0} MiB", bytes as f64 / f64::from(1 << 20))?;
        }
        writeln!(f, "  model                  {}", self.model)?;
        writeln!(f, "  digest of risk events  {}", self.digest)?;
        writeln!(f, "\n  outputs")?;
        self.outputs.iter().try_for_each(|path| writeln!(f, "    {}", path.display()))
    }
}

impl Alerts {
    fn of(mode: Mode, exports: &Exports) -> Self {
        let in_error = |record: &&AlertRecord| record.status == AlertStatus::EnteredInError;
        let (in_error, held): (Vec<_>, Vec<_>) = exports.alerts.iter().partition(in_error);
        let risks = held.iter().filter(|r| r.subject == Subject::InHospitalDeath);
        let risk = risks.clone().count() as u64;
        let patient_days = patient_days(exports.events.iter().map(|event| (event.stay, event.t)));
        Alerts {
            mode,
            risk,
            technical: held.len() as u64 - risk,
            entered_in_error: in_error.len() as u64,
            within_budget: risks.filter(|record| record.within_budget).count() as u64,
            patient_days,
            per_patient_day: (patient_days > 0.0).then(|| risk as f64 / patient_days),
        }
    }
}

impl fmt::Display for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Alerts { risk, technical, within_budget, .. } = self;
        write!(f, "{} mode: {risk} of risk", self.mode.name())?;
        if let Some(rate) = self.per_patient_day {
            write!(f, " ({rate:.2} per patient-day)")?;
        }
        write!(f, ", {within_budget} within budget, {technical} technical")?;
        match self.entered_in_error {
            0 => Ok(()),
            n => write!(f, ", {n} entered in error"),
        }
    }
}

impl Summary {
    fn write_fates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {:10}", "records")?;
        FATES.iter().try_for_each(|fate| write!(f, " {fate:>10}"))?;
        writeln!(f)?;
        for (topic, fates) in &self.events {
            write!(f, "  {topic:10}")?;
            for fate in FATES {
                write!(f, " {:>10}", fates.get(fate).copied().unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        for (reason, n) in &self.rejected {
            writeln!(f, "    rejected: {n} × {reason}")?;
        }
        self.detection.as_ref().map_or(Ok(()), |found| writeln!(f, "\n{found}"))
    }

    fn write_risks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  highest risk of in-hospital death, each stay at its last scored window")?;
        writeln!(
            f,
            "  {:>10}  {:16}  {:>5} {:>9}  {:>8}  {:>8}  {:>8}  {:>5}  {:10}  moves most with",
            "stay", "as of", "risk", "95 %", "old film", "EHR only", "film age", "facts", "ended"
        )?;
        let percent = |p: Option<f32>| p.map_or("-".to_owned(), |p| format!("{:.0} %", p * 1e2));
        for row in &self.highest_risk {
            let age = row.film_age_hours.map_or("no film".to_owned(), |h| format!("{h:.1} h"));
            writeln!(
                f,
                "  {:>10}  {:16}  {:>5} {:>9}  {:>8}  {:>8}  {:>8}  {:>5}  {:10}  {}",
                row.stay,
                row.as_of.get(..16).unwrap_or(&row.as_of),
                percent(Some(row.mortality)),
                row.interval.map_or("-".to_owned(), |[low, high]| {
                    format!("{:.0}-{:.0} %", low * 1e2, high * 1e2)
                }),
                percent(row.carry_forward),
                percent(row.ehr_only),
                age,
                row.facts,
                row.ended.as_deref().unwrap_or("-"),
                row.moves_with.as_deref().unwrap_or("-"),
            )?;
        }
        Ok(())
    }
}

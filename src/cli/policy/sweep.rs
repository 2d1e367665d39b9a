//! One policy over recorded stays: how often it would have spoken, and how rightly.

use std::fmt;

use serde_json::{Value, json};

use crate::config::{AlertPolicy, EngineConfig};
use crate::engine::Identity;
use crate::engine::alert::{Point, Voice, settled};
use crate::event::alert::{Claim, State};
use crate::event::risk::{Mode, RiskEvent};
use crate::time::EventTime;

/// One recorded stay.
pub struct Course {
    pub admitted_at: EventTime,
    /// Whether the patient died in hospital, and when that was known.
    pub label: Option<(bool, EventTime)>,
    /// In the order of leaving; at least one.
    pub events: Vec<RiskEvent>,
}

/// A policy and what it would have done.
pub struct Judged {
    pub policy: AlertPolicy,
    pub stays: usize,
    pub patient_days: f64,
    /// Stays with a label, and those of them that ended in death.
    pub labelled: usize,
    pub deaths: usize,
    /// Alerts about the risk that stood in the end.
    pub alerts: usize,
    pub within_budget: usize,
    pub stays_alerted: usize,
    /// Deaths with an alert before them.
    pub caught: usize,
    /// Labelled stays with an alert.
    pub labelled_alerted: usize,
    /// Hours from the first alert to death, of the deaths that were caught, in order.
    pub lead_hours: Vec<f64>,
}

/// What `policy` makes of the stays.
pub fn judge(policy: AlertPolicy, courses: &[Course], engine: &EngineConfig) -> Judged {
    let config = EngineConfig { alerts: policy.clone(), ..engine.clone() };
    let mut judged = Judged {
        policy,
        stays: courses.len(),
        patient_days: courses.iter().map(Course::days).sum(),
        labelled: 0,
        deaths: 0,
        alerts: 0,
        within_budget: 0,
        stays_alerted: 0,
        caught: 0,
        labelled_alerted: 0,
        lead_hours: Vec::new(),
    };
    for course in courses {
        judged.add(course, &config);
    }
    judged.lead_hours.sort_by(f64::total_cmp);
    judged
}

/// The policy with the best recall within `limit`; of equals the one that speaks least. Without
/// labels, the one that reaches most stays.
pub fn choose(judged: &[Judged], limit: f64) -> Option<&Judged> {
    let worth = |one: &Judged| one.recall().unwrap_or(one.reach());
    judged.iter().filter(|one| one.burden() <= limit).reduce(|best, one| {
        let better =
            worth(one).total_cmp(&worth(best)).then(best.burden().total_cmp(&one.burden()));
        if better.is_gt() { one } else { best }
    })
}

/// A header and one line a policy; the last column says what the scores are.
pub fn csv(judged: &[Judged], about: &str) -> String {
    let mut text = String::from(
        "tau_on,persist,refractory_h,alerts,per_patient_day,within_budget,stays,stays_alerted,\
         deaths,caught,recall,ppv,median_lead_h,about\n",
    );
    let number = |n: Option<f64>| n.map_or(String::new(), |n| format!("{n:.4}"));
    for one in judged {
        let AlertPolicy { tau_on, persist, refractory, .. } = &one.policy;
        text.push_str(&format!(
            "{tau_on},{persist},{},{},{:.4},{},{},{},{},{},{},{},{},\"{about}\"\n",
            refractory.as_hours(),
            one.alerts,
            one.burden(),
            one.within_budget,
            one.stays,
            one.stays_alerted,
            one.deaths,
            one.caught,
            number(one.recall()),
            number(one.ppv()),
            number(one.median_lead()),
        ));
    }
    text
}

impl Course {
    /// From the first window to the last.
    fn days(&self) -> f64 {
        let times = || self.events.iter().map(|event| event.t);
        match (times().min(), times().max()) {
            (Some(first), Some(last)) => last.since(first).as_hours() / 24.0,
            _ => 0.0,
        }
    }
}

impl Judged {
    fn add(&mut self, course: &Course, config: &EngineConfig) {
        let Some(first) = course.events.first() else { return };
        let identity = Identity {
            model: first.model.clone(),
            config_digest: first.config_digest,
            mode: Mode::Silent,
            doubts: Vec::new(),
            variables: Vec::new(),
            epoch: 0,
        };
        let point = |event| Point::of(event, course.admitted_at, &config.alerts);
        let voice = Voice::new(first.stay, &identity, config);
        let mut alerts = settled(course.events.iter().map(point), voice);
        let of_risk = |claim: &Claim| matches!(claim, Claim::Risk(_));
        alerts.retain(|alert| of_risk(&alert.claim) && alert.state != State::EnteredInError);
        self.alerts += alerts.len();
        self.within_budget += alerts.iter().filter(|alert| alert.within_budget).count();
        let first = alerts.iter().map(|alert| alert.raised_at).min();
        self.stays_alerted += usize::from(first.is_some());
        let Some((died, at)) = course.label else { return };
        self.labelled += 1;
        self.deaths += usize::from(died);
        self.labelled_alerted += usize::from(first.is_some());
        if let Some(first) = first.filter(|first| died && *first < at) {
            self.caught += 1;
            self.lead_hours.push(at.since(first).as_hours());
        }
    }

    /// Alerts about the risk per patient-day.
    pub fn burden(&self) -> f64 {
        self.alerts as f64 / self.patient_days.max(1e-9)
    }

    /// Share of the deaths with an alert before them; `None` without a death.
    pub fn recall(&self) -> Option<f64> {
        (self.deaths > 0).then(|| self.caught as f64 / self.deaths as f64)
    }

    /// Share of the labelled stays with an alert that ended in death.
    pub fn ppv(&self) -> Option<f64> {
        let n = self.labelled_alerted;
        (n > 0).then(|| self.caught as f64 / n as f64)
    }

    /// Share of the stays with an alert.
    pub fn reach(&self) -> f64 {
        self.stays_alerted as f64 / self.stays.max(1) as f64
    }

    pub fn median_lead(&self) -> Option<f64> {
        self.lead_hours.get(self.lead_hours.len().checked_sub(1)? / 2).copied()
    }

    pub fn row(&self) -> Value {
        json!({
            "tau_on": self.policy.tau_on,
            "persist": self.policy.persist,
            "refractory_h": self.policy.refractory.as_hours(),
            "alerts": self.alerts,
            "per_patient_day": self.burden(),
            "within_budget": self.within_budget,
            "stays": self.stays,
            "stays_alerted": self.stays_alerted,
            "labelled": self.labelled,
            "deaths": self.deaths,
            "caught": self.caught,
            "recall": self.recall(),
            "ppv": self.ppv(),
            "median_lead_h": self.median_lead(),
        })
    }

    /// The settings as a file that `--config` reads.
    pub fn toml(&self, limit: f64, about: &str) -> String {
        let AlertPolicy { tau_on, persist, refractory, .. } = &self.policy;
        let hours = refractory.as_hours();
        format!(
            "# {about}\n# Chosen for at most {limit} alerts per patient-day: {self}\n\
             [alerts]\ntau_on = {tau_on:?}\npersist = {persist}\nrefractory = \"{hours}h\"\n"
        )
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AlertPolicy { tau_on, persist, refractory, .. } = &self.policy;
        let hours = refractory.as_hours();
        write!(f, "risk of {tau_on} in {persist} in a row, then {hours} h of rest: ")?;
        write!(f, "{:.2} alerts per patient-day", self.burden())?;
        match self.recall() {
            Some(recall) => write!(
                f,
                ", {} of {} deaths foreseen ({:.0} %)",
                self.caught,
                self.deaths,
                recall * 1e2
            ),
            None => write!(f, ", no labelled death, so its recall is unknown"),
        }
    }
}

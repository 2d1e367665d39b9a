//! Alerts and what people do about them: payloads, like the risk event's, that are a function of
//! input, journal, config and model.
//!
//! An alert is told as a series of records with one [`AlertId`]; the newest revision holds. Words
//! are FHIR Flag's and CDS Hooks' (`reference/clinical.md` 2.4).

mod act;

use serde::{Deserialize, Serialize};

use super::risk::{Doubt, FilmAge, Interval, Mode, ModelName, Probability, StayEnd};
use crate::ids::{AlertId, Digest, EventId, StayId};
use crate::time::{EventTime, Span};

pub use act::{Act, Deed, Snooze, Suppression};

/// Characters of a summary.
pub const SUMMARY_MAX: usize = 140;
/// Characters of a role or of a reason for dismissal.
pub const WORD_MAX: usize = 64;

/// One record of one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertEvent {
    /// UUIDv5 of the alert and the revision.
    pub id: EventId,
    pub alert: AlertId,
    pub stay: StayId,
    pub revision: u32,
    /// The record of this alert before this one.
    pub supersedes: Option<EventId>,
    pub claim: Claim,
    pub state: State,
    pub priority: Priority,
    /// The window that raised the alert.
    pub raised_at: EventTime,
    /// Nothing that became known after this was used.
    pub known_at: EventTime,
    /// The risk events that it rests on, oldest first.
    pub basis: Vec<EventId>,
    /// The doubts of the newest of them.
    pub validity: Vec<Doubt>,
    /// How far this alert may disturb: the mode, or less where the stay's budget is spent.
    pub delivery: Mode,
    pub within_budget: bool,
    /// How many steps of escalation have passed without a response.
    pub escalation: u32,
    pub snoozed_until: Option<EventTime>,
    pub model: ModelName,
    pub config_digest: Digest,
    pub mode: Mode,
}

/// What an alert says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Claim {
    /// The risk of in-hospital death is high.
    Risk(RiskClaim),
    /// Predictions cannot be relied upon now, so the policy is silent about the risk. A technical
    /// alert: it asks for a repair and says nothing of the patient.
    Fault(Fault),
}

/// What an alert is about. There is never more than one standing alert for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    InHospitalDeath,
    DataQuality,
}

/// The particulars of a high risk, as of the window that raised the alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskClaim {
    /// Calibrated risk of in-hospital death.
    pub mortality: Probability,
    /// 95 % interval of the calibration, if the model knows it.
    pub interval: Option<Interval>,
    /// What it was compared with.
    pub threshold: f32,
    /// The same without any film: how much of the risk hangs on the picture.
    pub ehr_only: Option<Probability>,
    pub trend: Option<Trend>,
    pub film_acquired_at: Option<EventTime>,
    /// What is different from the last alert, or from the start of the trend if there was none.
    pub changed: Vec<Change>,
    /// Codes of the variables with which the risk moves most, strongest first. An association
    /// inside the model, not a cause.
    pub contributors: Vec<String>,
}

/// Where the risk came from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    pub since: EventTime,
    pub mortality: Probability,
}

/// One thing that is different from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    FirstAlert,
    /// Above the risk of the last alert by at least the configured step.
    RoseFurther,
    /// It had fallen, and is high again.
    HighAgain,
    NewFilm,
    /// The same film, now in an older stratum of age.
    FilmAged,
}

/// Why predictions cannot be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A feed had fallen silent when the window was sealed.
    FeedMissing,
    Unscored,
    /// Scored by less than the whole method, though there is a film.
    ModelDegraded,
    /// No observation for longer than `alerts.stale_after`.
    StaleEhr,
}

/// Where an alert is in its course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Standing(Response),
    Resolved {
        at: EventTime,
        why: Resolution,
        response: Response,
    },
    /// What it rested on was corrected or retracted, and the policy would not have raised it.
    EnteredInError,
}

/// What people have done about an alert. `Actioned` and `Dismissed` are final.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    #[default]
    Open,
    Acknowledged(By),
    Actioned(By),
    Dismissed {
        by: By,
        /// A code of the site.
        reason: Word,
    },
}

/// Who did something, as a role and never a name, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    pub role: Option<Word>,
    pub at: EventTime,
}

/// A short text of one line: a role, or a reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Word(String);

/// Why an alert stands no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Below the lower threshold for long enough.
    Fell,
    /// A new alert took its place, because the risk rose further.
    RoseFurther,
    /// The fault is over.
    Repaired,
    Suppressed,
    Discharged,
    Died,
    /// Windows stopped for another reason.
    WindowsStopped,
}

/// How urgent an alert is (`reference/clinical.md` 2.4: a visual vocabulary, never a sound).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Technical alerts.
    Low,
    Medium,
    /// The risk rose further after an alert.
    High,
}

impl AlertEvent {
    /// The film's age at the window that raised the alert.
    pub fn film_age(&self) -> Option<Span> {
        match &self.claim {
            Claim::Risk(risk) => risk.film_acquired_at.map(|at| self.raised_at.since(at)),
            Claim::Fault(_) => None,
        }
    }

    /// One line for a reader, at most [`SUMMARY_MAX`] characters.
    pub fn summary(&self) -> String {
        let text = match (&self.state, &self.claim) {
            (State::EnteredInError, _) => {
                "Disregard: the data behind this alert were corrected.".to_owned()
            }
            (State::Resolved { why, .. }, claim) => {
                format!("Over ({}): {}", why.name(), claim.title())
            }
            (State::Standing(_), Claim::Fault(fault)) => {
                format!("No risk alerts for this stay now: {}.", fault.sentence())
            }
            (State::Standing(_), Claim::Risk(risk)) => risk.sentence(self.film_age()),
        };
        text.chars().take(SUMMARY_MAX).collect()
    }
}

impl Claim {
    pub fn subject(&self) -> Subject {
        match self {
            Claim::Risk(_) => Subject::InHospitalDeath,
            Claim::Fault(_) => Subject::DataQuality,
        }
    }

    fn title(&self) -> String {
        match self {
            Claim::Risk(risk) => {
                format!("risk of in-hospital death was {}.", percent(risk.mortality))
            }
            Claim::Fault(fault) => format!("{}.", fault.sentence()),
        }
    }
}

impl RiskClaim {
    fn sentence(&self, film_age: Option<Span>) -> String {
        let mut text = format!("Risk of in-hospital death {}", percent(self.mortality));
        if let Some(interval) = self.interval {
            let bound = |p: Probability| f64::from(p.get()) * 100.0;
            text.push_str(&format!(
                " ({:.0}-{:.0})",
                bound(interval.low()),
                bound(interval.high())
            ));
        }
        if let Some(trend) = self.trend {
            text.push_str(&format!(", was {}", percent(trend.mortality)));
        }
        match film_age {
            Some(age) => text.push_str(&format!("; film {:.0} h old", age.as_hours().floor())),
            None => text.push_str("; no film"),
        }
        if self.changed.contains(&Change::NewFilm) {
            text.push_str(", new");
        }
        text.push_str(". Research use only.");
        text
    }
}

/// Two significant digits are all that such a number has.
fn percent(p: Probability) -> String {
    let percent = f64::from(p.get()) * 100.0;
    if percent < 1.0 { "under 1 %".to_owned() } else { format!("{percent:.0} %") }
}

impl Subject {
    pub const ALL: [Subject; 2] = [Subject::InHospitalDeath, Subject::DataQuality];

    pub const fn name(self) -> &'static str {
        match self {
            Subject::InHospitalDeath => "in_hospital_death",
            Subject::DataQuality => "data_quality",
        }
    }
}

impl Fault {
    pub const fn sentence(self) -> &'static str {
        match self {
            Fault::FeedMissing => "a data feed has fallen silent",
            Fault::Unscored => "the model gave no score",
            Fault::ModelDegraded => "the model could not use all of its method",
            Fault::StaleEhr => "no new observations for hours",
        }
    }
}

impl Resolution {
    pub const fn of(end: StayEnd) -> Self {
        match end {
            StayEnd::Discharged => Resolution::Discharged,
            StayEnd::Died => Resolution::Died,
            StayEnd::MaxStay | StayEnd::Silent => Resolution::WindowsStopped,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Resolution::Fell => "fell",
            Resolution::RoseFurther => "rose further",
            Resolution::Repaired => "repaired",
            Resolution::Suppressed => "suppressed",
            Resolution::Discharged => "discharged",
            Resolution::Died => "died",
            Resolution::WindowsStopped => "windows stopped",
        }
    }
}

impl State {
    /// Whether somebody may still have to do something.
    pub const fn is_standing(&self) -> bool {
        matches!(self, State::Standing(_))
    }

    pub const fn name(&self) -> &'static str {
        match self {
            State::Standing(response) => response.name(),
            State::Resolved { .. } => "resolved",
            State::EnteredInError => "entered_in_error",
        }
    }
}

impl Response {
    pub const fn name(&self) -> &'static str {
        match self {
            Response::Open => "open",
            Response::Acknowledged(_) => "acknowledged",
            Response::Actioned(_) => "actioned",
            Response::Dismissed { .. } => "dismissed",
        }
    }
}

impl Word {
    /// `None` if empty, longer than [`WORD_MAX`] characters, or with control characters.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= WORD_MAX;
        (fits && !text.chars().any(char::is_control)).then(|| Word(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is different about the film that a prediction used.
pub fn film_changes(
    before: (EventTime, Option<EventTime>),
    now: (EventTime, Option<EventTime>),
) -> Option<Change> {
    let age = |(t, film): (EventTime, Option<EventTime>)| film.map(|at| FilmAge::of(t.since(at)));
    match (before.1, now.1) {
        (was, Some(is)) if was != Some(is) => Some(Change::NewFilm),
        _ if age(now) > age(before) => Some(Change::FilmAged),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(p: f32) -> Probability {
        Probability::new(p).expect("a probability")
    }

    #[test]
    fn a_word_is_one_short_line() {
        assert_eq!(Word::new(" nurse ").map(|word| word.0), Some("nurse".to_owned()));
        for wrong in ["", "  ", "a\nb", &"x".repeat(WORD_MAX + 1)] {
            assert_eq!(Word::new(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_longest_sentence_fits() {
        let claim = RiskClaim {
            mortality: p(1.0),
            interval: Interval::new(p(1.0), p(1.0)),
            threshold: 0.3,
            ehr_only: None,
            trend: Some(Trend { since: EventTime::from_millis(0), mortality: p(1.0) }),
            film_acquired_at: None,
            changed: vec![Change::NewFilm],
            contributors: Vec::new(),
        };
        let text = claim.sentence(Some(Span::hours(2_160)));
        assert_eq!(
            text,
            "Risk of in-hospital death 100 % (100-100), was 100 %; film 2160 h old, new. \
             Research use only."
        );
        assert!(text.chars().count() <= SUMMARY_MAX);
    }

    #[test]
    fn a_film_is_new_or_older_or_the_same() {
        let at = |hours| EventTime::from_millis(0) + Span::hours(hours);
        let changes = |before, now| film_changes(before, now);
        assert_eq!(changes((at(1), None), (at(2), Some(at(1)))), Some(Change::NewFilm));
        assert_eq!(changes((at(5), Some(at(1))), (at(9), Some(at(1)))), None);
        assert_eq!(changes((at(5), Some(at(1))), (at(14), Some(at(1)))), Some(Change::FilmAged));
        assert_eq!(changes((at(5), Some(at(1))), (at(14), None)), None);
    }
}

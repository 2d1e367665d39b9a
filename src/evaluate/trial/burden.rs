//! What the alert policy would have said, and whether anybody heard it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Ran;
use crate::config::AlertPolicy;
use crate::event::alert::{Fault, Subject};
use crate::event::risk::Mode;
use crate::wire::{AlertRecord, AlertStatus};

const HOURS: usize = 24;

/// Alerts that the policy made of the run, each counted once by its newest record.
#[derive(Debug, Serialize)]
pub struct Burden {
    /// About the risk, those entered in error apart.
    pub of_risk: usize,
    /// Of them those that the budget of each stay would have let disturb.
    pub within_budget: usize,
    pub technical: usize,
    /// What the technical ones were about.
    pub by_fault: BTreeMap<&'static str, usize>,
    pub entered_in_error: usize,
    /// About the risk; `None` without patient-days.
    pub per_patient_day: Option<f64>,
    /// The policy's, per patient-day.
    pub budget: f64,
    /// The policy's threshold of risk.
    pub threshold: f32,
    pub stays_alerted: usize,
    /// Of one stay.
    pub most_in_a_stay: usize,
    /// Alerts about the risk by the hour of day of their window, in the time of the events.
    pub by_hour: [usize; HOURS],
    /// Those whose record says that they may have disturbed somebody.
    pub disturbing: usize,
}

impl Burden {
    pub(super) fn of(alerts: &[AlertRecord], ran: &Ran, policy: &AlertPolicy) -> Self {
        let mut burden = Burden {
            of_risk: 0,
            within_budget: 0,
            technical: 0,
            by_fault: BTreeMap::new(),
            entered_in_error: 0,
            per_patient_day: None,
            budget: policy.budget,
            threshold: policy.tau_on,
            stays_alerted: 0,
            most_in_a_stay: 0,
            by_hour: [0; HOURS],
            disturbing: 0,
        };
        let mut of_stay: BTreeMap<_, usize> = BTreeMap::new();
        for alert in alerts {
            burden.disturbing += usize::from(alert.delivery != Mode::Silent);
            if alert.status == AlertStatus::EnteredInError {
                burden.entered_in_error += 1;
            } else if alert.subject == Subject::DataQuality {
                burden.technical += 1;
                *burden.by_fault.entry(fault(alert.fault)).or_default() += 1;
            } else {
                burden.of_risk += 1;
                burden.within_budget += usize::from(alert.within_budget);
                *of_stay.entry(alert.stay_id).or_default() += 1;
                let hour = usize::try_from(alert.t.hour().rem_euclid(HOURS as i64));
                let place = hour.ok().and_then(|hour| burden.by_hour.get_mut(hour));
                place.into_iter().for_each(|n| *n += 1);
            }
        }
        let days = ran.patient_days;
        burden.per_patient_day = (days > 0.0).then(|| burden.of_risk as f64 / days);
        burden.stays_alerted = of_stay.len();
        burden.most_in_a_stay = of_stay.values().copied().max().unwrap_or_default();
        burden
    }
}

fn fault(fault: Option<Fault>) -> &'static str {
    match fault {
        Some(Fault::FeedMissing) => "a feed had fallen silent",
        Some(Fault::Unscored) => "no score",
        Some(Fault::ModelDegraded) => "scored by less than the whole method",
        Some(Fault::StaleEhr) => "no observation for too long",
        None => "not said",
    }
}

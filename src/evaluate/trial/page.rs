//! The report as one page that asks for nothing from anywhere.

use std::fmt::Write as _;

use super::sections::{data, doubts, drift, freshness, outcomes, scores};
use super::tripod::audit;
use super::{Burden, Ran, SilentTrial};
use crate::evaluate::html::{banner, figure, frame};
use crate::evaluate::html_films::{table, wrapped};
use crate::evaluate::svg::{Bar, bars, escape};

/// Heads of the section on alerts: of a trial that was not silent, and of one that was.
const ALERTED: [&str; 2] = ["Somebody may have been alerted", "Nobody was alerted"];

/// The page. `title` names the run.
pub fn trial_page(trial: &SilentTrial, title: &str) -> String {
    let sections = [
        ("What ran", ran(&trial.ran)),
        (ALERTED[usize::from(trial.was_silent())], alerts(trial)),
        ("Data quality", data(&trial.quality)),
        ("Freshness and films", freshness(&trial.freshness)),
        ("Scores", scores(&trial.scores)),
        ("Discrimination and calibration", outcomes(trial.evaluation.as_ref())),
        ("Drift", drift(trial.drift.as_ref())),
        ("What this cannot show", doubts(trial)),
        ("TRIPOD+AI, item by item", tripod(trial)),
        ("How this was counted", definitions(trial)),
    ];
    let mut body = head(trial, title);
    for (number, (name, html)) in sections.iter().enumerate() {
        let _ = write!(
            body,
            "<section>\n<h2>{}. {name}</h2>\n{}{html}</section>\n",
            number + 1,
            banner(&trial.warnings)
        );
    }
    frame(title, &body)
}

fn head(trial: &SilentTrial, title: &str) -> String {
    let (ran, alerts) = (&trial.ran, &trial.alerts);
    let rate = alerts.per_patient_day.map_or("n/a".to_owned(), |rate| format!("{rate:.2}"));
    let cards = [
        ("stays", ran.stays.to_string()),
        ("patient-days", format!("{:.1}", ran.patient_days)),
        ("windows", ran.windows.to_string()),
        ("alerts a patient-day, unheard", rate),
    ];
    let cards: String = cards
        .iter()
        .map(|(what, value)| format!("<div><dt>{what}</dt><dd>{value}</dd></div>"))
        .collect();
    format!(
        "<header>\n<p class=\"kicker\">nowcxr: report of a silent trial</p>\n<h1>{}</h1>\n{}<dl \
         class=\"cards\">{cards}</dl>\n<p>A model of in-hospital death ran over these stays{}. \
         This page is for those who decide what happens next, and recommends nothing. Research use \
         only: nothing here has been clinically validated.</p>\n</header>\n",
        escape(title),
        banner(&trial.warnings),
        if trial.was_silent() { " without anybody being shown what it said" } else { "" },
    )
}

/// A time in RFC 3339 to the minute.
fn minute(time: &str) -> String {
    escape(&time.chars().take(16).collect::<String>().replace('T', " "))
}

fn row(what: &str, value: String) -> Vec<String> {
    vec![what.to_owned(), value]
}

/// Counts by name, the larger first.
fn counted<'a>(counts: impl Iterator<Item = (&'a &'static str, &'a usize)>) -> String {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let told: Vec<String> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

fn ran(ran: &Ran) -> String {
    let between = |from: &Option<String>, until: &Option<String>| match (from, until) {
        (Some(from), Some(until)) => format!("{} to {}", minute(from), minute(until)),
        _ => "not known".to_owned(),
    };
    let listed = |names: &[String]| {
        let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
        if names.is_empty() { "not known".to_owned() } else { names.join("<br>") }
    };
    let codes = |names: &[String]| {
        let codes = names.iter().map(|name| format!("<code>{}</code>", escape(name)));
        codes.collect::<Vec<_>>().join("<br>")
    };
    let ms = |value: Option<f64>| value.map_or("n/a".to_owned(), |ms| format!("{ms:.0} ms"));
    let rows = [
        row("period, in the time of the events", between(&ran.from, &ran.until)),
        row("computed", between(&ran.computed_from, &ran.computed_until)),
        row("stays", ran.stays.to_string()),
        row("windows", ran.windows.to_string()),
        row("risk events", format!("{}, {} of them corrections", ran.events, ran.revisions)),
        row("by state", counted(ran.by_status.iter())),
        row("from seal to event", {
            format!("median {}, 99 % {}", ms(ran.latency_p50_ms), ms(ran.latency_p99_ms))
        }),
        row("model", listed(&ran.models)),
        row("configuration", codes(&ran.configs)),
        row("program", listed(&ran.programs)),
        row("nodes", listed(&ran.nodes)),
    ];
    wrapped(&["what", "value"], &rows)
}

fn alerts(trial: &SilentTrial) -> String {
    let (ran, alerts) = (&trial.ran, &trial.alerts);
    let modes = counted(ran.by_mode.iter());
    let heard = match trial.was_silent() {
        true => format!(
            "<p>Every event was made in the silent mode ({modes}), and no alert could reach \
             anybody. What follows is what the policy would have said.</p>\n"
        ),
        false => format!(
            "<p class=\"banner\" role=\"note\">This was no silent trial. Events by mode: {modes}. \
             {} alerts may have disturbed somebody.</p>\n",
            alerts.disturbing
        ),
    };
    let rate = alerts.per_patient_day;
    let against = match rate {
        Some(rate) if rate > alerts.budget => "above it",
        Some(_) => "within it",
        None => "not known",
    };
    let rows = [
        row("alerts of risk", alerts.of_risk.to_string()),
        row("a patient-day", rate.map_or("n/a".to_owned(), |rate| format!("{rate:.2}"))),
        row("the policy's budget", format!("{} a patient-day: {against}", alerts.budget)),
        row("within each stay's budget", alerts.within_budget.to_string()),
        row("threshold of risk", format!("{:.0} %", alerts.threshold * 1e2)),
        row("stays alerted", format!("{} of {}", alerts.stays_alerted, ran.stays)),
        row("most in one stay", alerts.most_in_a_stay.to_string()),
        row("technical alerts", technical(alerts)),
        row("entered in error", alerts.entered_in_error.to_string()),
    ];
    heard + &table(&["what", "value"], &rows) + &by_hour(alerts)
}

fn technical(alerts: &Burden) -> String {
    match alerts.technical {
        0 => "0".to_owned(),
        n => format!("{n}: {}", counted(alerts.by_fault.iter())),
    }
}

fn by_hour(alerts: &Burden) -> String {
    /// Hours of one bar.
    const SPAN: usize = 4;
    let bar = |(place, hours): (usize, &[usize])| {
        let n: usize = hours.iter().sum();
        Bar {
            label: format!("{:02}:00 to {:02}:59", place * SPAN, place * SPAN + SPAN - 1),
            value: n as f64,
            told: n.to_string(),
        }
    };
    let all: Vec<Bar> = alerts.by_hour.chunks(SPAN).enumerate().map(bar).collect();
    figure(
        "Alerts of risk by time of day, in the time of the events (UTC for those of a hospital).",
        "",
        bars(&all, "alerts of risk by time of day"),
    )
}

/// Text in which what stands in backticks is code.
fn coded(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(n, part)| match n % 2 {
        0 => escape(part),
        _ => format!("<code>{}</code>", escape(part)),
    });
    parts.collect()
}

fn tripod(trial: &SilentTrial) -> String {
    let audited = audit(trial);
    let n = audited.iter().filter(|item| item.reported).count();
    let rows: Vec<Vec<String>> = audited
        .iter()
        .map(|item| {
            let answer = coded(&item.answer);
            let answer = match item.reported {
                true => answer,
                false => format!("<b>not reported</b>: {answer}"),
            };
            vec![item.item.to_owned(), escape(item.asks), answer]
        })
        .collect();
    format!(
        "<p class=\"lead\">The items of TRIPOD+AI (BMJ 2024;385:e078378) in our own words, and \
         where this report, the run or the repository answers them. {n} of {} have an answer; an \
         answer is no claim that it is a good one.</p>\n{}",
        audited.len(),
        wrapped(&["item", "asks for", "answer"], &rows)
    )
}

fn definitions(trial: &SilentTrial) -> String {
    let resamples = trial.evaluation.as_ref().map_or(String::new(), |evaluation| {
        format!(
            "<li>Intervals: 2.5th and 97.5th percentile of {} resamples of patients, seed \
             {}.</li>\n",
            evaluation.options.replicates, evaluation.options.seed
        )
    });
    format!(
        "<ul>\n<li>First revisions: what was said at the time, not what was known better \
         later.</li>\n<li>Patient-days: from the first window of each stay to its \
         last.</li>\n<li>An alert is counted once, by its newest record.</li>\n<li>Records: each \
         ends as exactly one of used, late, duplicate, shadow and rejected; a late one still \
         serves later windows, and a shadow is a charted copy of a result.</li>\n\
         {resamples}<li>Groups of fewer than ten stays are not shown.</li>\n<li>PSI: each stay \
         weighs the same; what so few stays give by chance is no drift.</li>\n</ul>\n"
    )
}

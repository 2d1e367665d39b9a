//! The sections on data, scores, outcomes, drift and doubts.

use super::SilentTrial;
use super::data::{Freshness, Quality, SCORE_BARS, Scores};
use crate::evaluate::Evaluation;
use crate::evaluate::drift::{Comparison, Found, InTheLarge, STAYS_LEAST};
use crate::evaluate::html::{figure, key_figures, strata_table};
use crate::evaluate::html_films::{fold, table};
use crate::evaluate::svg::{Bar, bars, escape, reliability};

fn share(n: usize, of: usize) -> String {
    match of {
        0 => "n/a".to_owned(),
        _ => format!("{:.1} %", 1e2 * n as f64 / of as f64),
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("n/a".to_owned(), |value| format!("{value:.digits$}"))
}

pub(super) fn data(quality: &Quality) -> String {
    let rows: Vec<Vec<String>> = quality
        .topics
        .iter()
        .map(|one| {
            let numbers = [one.used, one.late, one.duplicate, one.shadow, one.rejected];
            let numbers = numbers.iter().map(u64::to_string);
            [one.topic.to_owned()].into_iter().chain(numbers).collect()
        })
        .collect();
    let head = ["records", "used", "late", "duplicate", "shadow", "rejected"];
    if quality.reasons.is_empty() {
        return table(&head, &rows) + "<p>No record was rejected.</p>\n";
    }
    let reasons: Vec<Vec<String>> = quality
        .reasons
        .iter()
        .map(|(place, why, n)| vec![escape(place), why.replace('_', " "), n.to_string()])
        .collect();
    table(&head, &rows)
        + "<h3>Why records were rejected</h3>\n"
        + &table(&["where", "reason", "records"], &reasons)
}

pub(super) fn freshness(fresh: &Freshness) -> String {
    let rows = [
        ("newest observation, median", format!("{} h old", number(fresh.newest_p50_h, 2))),
        ("newest observation, 95 %", format!("{} h old", number(fresh.newest_p95_h, 2))),
        (
            "stale windows",
            format!(
                "{} ({}), newest observation older than {} h or none",
                fresh.stale,
                share(fresh.stale, fresh.windows),
                fresh.stale_after_h
            ),
        ),
        (
            "windows with a silent feed",
            format!("{} ({})", fresh.feed_missing, share(fresh.feed_missing, fresh.windows)),
        ),
    ]
    .map(|(what, value)| vec![what.to_owned(), value]);
    let bar = |(name, n): &(&'static str, usize)| Bar {
        label: (*name).to_owned(),
        value: *n as f64,
        told: share(*n, fresh.windows),
    };
    let films: Vec<Bar> = fresh.films.iter().map(bar).collect();
    let variables: Vec<Vec<String>> = fresh
        .variables
        .iter()
        .map(|one| {
            vec![
                escape(&one.code),
                share(fresh.windows - one.windows.min(fresh.windows), fresh.windows),
                number(one.p50_h, 1),
                number(one.p95_h, 1),
            ]
        })
        .collect();
    let head = ["variable", "windows without it", "hours old, median", "hours old, 95 %"];
    table(&["scored windows", "value"], &rows)
        + &figure(
            "Scored windows by the age of the last film.",
            "",
            bars(&films, "scored windows by the age of the last film"),
        )
        + "<h3>Each variable</h3>\n"
        + &table(&head, &variables)
}

pub(super) fn scores(scores: &Scores) -> String {
    let bar = |(place, n): (usize, &usize)| Bar {
        label: format!("{} to {} %", place * 100 / SCORE_BARS, (place + 1) * 100 / SCORE_BARS),
        value: *n as f64,
        told: share(*n, scores.windows),
    };
    let all: Vec<Bar> = scores.histogram.iter().enumerate().map(bar).collect();
    let percent = |value: Option<f64>| number(value.map(|value| value * 1e2), 1) + " %";
    let points = |value: Option<f64>| number(value.map(|value| value * 1e2), 1) + " points";
    let rows = [
        ("median", percent(scores.p50)),
        ("5th and 95th percentile", format!("{}, {}", percent(scores.p05), percent(scores.p95))),
        ("mean change if there were no film", points(scores.from_ehr_only)),
        ("mean change with the film as it was taken", points(scores.from_carry_forward)),
    ]
    .map(|(what, value)| vec![what.to_owned(), value]);
    figure(
        "Probability of in-hospital death: share of the scored windows. Long stays have more of \
         them.",
        "",
        bars(&all, "scored windows by probability of in-hospital death"),
    ) + &table(&["score", "value"], &rows)
}

pub(super) fn outcomes(evaluation: Option<&Evaluation>) -> String {
    let Some(evaluation) = evaluation else {
        return "<p>Outcomes are not known to this report, so whether the scores rank or hold is \
                not known either. Name them with --labels.</p>\n"
            .to_owned();
    };
    let mut html = String::new();
    for set in &evaluation.sets {
        let overall = &set.overall;
        html += &format!(
            "<h3>{}</h3>\n<p class=\"lead\">{}: {} windows of {} stays, {} deaths.</p>\n<div \
             class=\"pair\"><div>{}</div>\n{}</div>\n",
            escape(set.name),
            escape(set.what),
            overall.windows,
            overall.stays,
            overall.died,
            key_figures(overall),
            figure(
                "Reliability in ten groups of equal size. The dashed line is perfect calibration.",
                "",
                Some(reliability(&set.reliability)),
            ),
        );
        if !set.strata.is_empty() {
            html += "<h4>Subgroups</h4>\n";
            html += &strata_table(&set.strata);
        }
    }
    html
}

pub(super) fn drift(drift: Option<&Comparison>) -> String {
    let Some(drift) = drift else {
        return "<p>No profile was given, so whether these stays are like those that the model was \
                judged on is not known. Make one with nowcxr drift profile and name it with \
                --profile.</p>\n"
            .to_owned();
    };
    let verdict = match (drift.drifted, drift.is_judged()) {
        (true, _) => "<b>Much drift was found.</b>",
        (false, true) => "No large drift was found.",
        (false, false) => "<b>Drift could not be judged:</b> there are too few stays.",
    };
    let mut html = format!(
        "<p>{verdict} The profile is of {} windows of {} stays under {}. PSI below 0.1 is called \
         stable, to 0.25 some drift, above that much; with fewer than {STAYS_LEAST} stays on \
         either side nothing is claimed.</p>\n",
        drift.reference.windows,
        drift.reference.stays,
        escape(&drift.reference.model)
    );
    let head = ["measure", "PSI", "by chance", "verdict", "stays", "most changed"];
    let loud: Vec<_> = drift.found.iter().filter(|one| !one.is_quiet()).map(found).collect();
    let rest: Vec<_> = drift.found.iter().filter(|one| one.is_quiet()).map(found).collect();
    if !loud.is_empty() {
        html += &table(&head, &loud);
    }
    html += &fold(
        &format!("{} measures that are stable or within chance", rest.len()),
        &table(&head, &rest),
    );
    let rows = [("profile", drift.calibration_reference), ("this run", drift.calibration_run)]
        .map(|(what, side)| vec![what.to_owned(), told_of(side)]);
    html += &table(&["calibration in the large", "value and 95 % interval; 0 is right"], &rows);
    for what in &drift.left_out {
        html += &format!("<p>Not compared: {}.</p>\n", escape(what));
    }
    html
}

fn found(one: &Found) -> Vec<String> {
    let [before, now] = one.stays;
    vec![
        escape(&one.name()),
        number(one.psi, 3),
        number(one.by_chance, 3),
        one.verdict.name().to_lowercase(),
        format!("{before}/{now}"),
        escape(&one.most_changed()),
    ]
}

fn told_of(calibration: Option<InTheLarge>) -> String {
    calibration.map_or("not known".to_owned(), |told| told.to_string().replace('-', "−"))
}

pub(super) fn doubts(trial: &SilentTrial) -> String {
    let scored = trial.scores.windows;
    let rows: Vec<Vec<String>> = trial
        .doubts
        .iter()
        .map(|(words, n)| vec![escape(words), n.to_string(), share(*n, scored)])
        .collect();
    let unknown = match trial.evaluation {
        Some(_) => "",
        None => "<li>How well the scores rank or hold: outcomes are not known.</li>\n",
    };
    format!(
        "<p>What the events say themselves of why they may not hold:</p>\n{}<ul>\n<li>Whether the \
         model helps anybody: nobody saw it, so nobody acted on it.</li>\n<li>What would happen \
         once alerts are heard: treatment changes outcomes, and with them these \
         figures.</li>\n<li>How another site, another season or another model would \
         fare.</li>\n<li>Whether a policy chosen on these stays keeps its burden on \
         others.</li>\n{unknown}</ul>\n",
        table(&["reason for doubt", "scored windows", "share"], &rows)
    )
}

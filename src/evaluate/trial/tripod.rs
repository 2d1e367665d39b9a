//! A self-audit by TRIPOD+AI (Collins and others, BMJ 2024;385:e078378): each item of the
//! checklist in our own words, and where its answer is, or that there is none.

use serde::Serialize;

use super::SilentTrial;

/// Where the answer to an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// In this report, the run or the repository. What stands in backticks is a path or a command.
    Told(&'static str),
    /// The same, where outcomes are known.
    WithOutcomes(&'static str),
    /// The same, where a profile was given.
    WithProfile(&'static str),
    /// Nowhere, and why.
    Not(&'static str),
}

use Answer::{Not, Told, WithOutcomes, WithProfile};

/// One item: number, what it asks, answer.
pub(super) struct Item(pub &'static str, pub &'static str, pub Answer);

/// An item as it stands in this report.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Audited {
    pub item: &'static str,
    pub asks: &'static str,
    pub reported: bool,
    pub answer: String,
}

pub(super) const ITEMS: [Item; 52] = [
    Item(
        "1",
        "A title that says development or evaluation, whom and what is predicted",
        Told(
            "head of this report: an evaluation in silent mode, of in-hospital death in ICU stays",
        ),
    ),
    Item(
        "2",
        "A structured summary",
        Told("the figures at the head and section 8; there is no summary in prose"),
    ),
    Item(
        "3a",
        "The care it is for, why a model, and which models there are",
        Told("`README.md` says why a film grows old; models in use elsewhere are not reviewed"),
    ),
    Item(
        "3b",
        "For which patients, which decision and which users",
        Told("`model_card.md` of the model: research use only, no decision is intended"),
    ),
    Item(
        "3c",
        "Known inequalities in health between groups",
        Not("nothing is said of what is known; section 6 has subgroups where outcomes are known"),
    ),
    Item("4", "The aims", Told("section 1: what ran, unseen; sections 2 to 7 are what was asked")),
    Item(
        "5a",
        "Sources of the data, and whether they represent the patients",
        Told("section 1 and `run.json` of the run; for training, `model_card.md`"),
    ),
    Item("5b", "Dates, and the end of follow-up", Told("section 1, in the time of the events")),
    Item("6a", "Setting, centres, places", Not("no file of a run names a site; the site adds it")),
    Item(
        "6b",
        "Who is included and who is not",
        Told("`[replay]` and `[engine]` of the configuration; `nowcxr check --reference`"),
    ),
    Item("6c", "Treatments", Not("treatments are neither an input nor counted")),
    Item(
        "7",
        "How data were prepared and checked, alike in all groups",
        Told("section 3; `schemas/variables.toml`, `src/series/mod.rs`; the same for every stay"),
    ),
    Item(
        "8a",
        "The outcome, its horizon and how it was found",
        WithOutcomes(
            "in-hospital death, from the admissions of the labels: `src/evaluate/intake.rs`",
        ),
    ),
    Item(
        "8b",
        "Who judged the outcome, where it needs judgement",
        Told("death needs none; phenotypes are discharge codes, and no forecast"),
    ),
    Item(
        "8c",
        "Whether outcomes were judged blindly",
        Told("nobody saw a score (section 2), and no outcome is an input (`src/event/mod.rs`)"),
    ),
    Item(
        "9a",
        "Why these predictors",
        Told("those of the published benchmark: `schemas/variables.toml`"),
    ),
    Item(
        "9b",
        "What each predictor is, how and when it is measured",
        Told("`schemas/variables.toml`: codes, units, ranges; `README.md`: the two clocks"),
    ),
    Item(
        "9c",
        "Who judged predictors, where they need judgement",
        Not("the coma scale needs it, and who charted it is not recorded"),
    ),
    Item(
        "10",
        "Why so many patients",
        Not("no number was planned; the intervals of section 6 say what these can show"),
    ),
    Item(
        "11",
        "What is missing, and what is done about it",
        Told("section 4; carried forward, then a normal value: `src/series/grid.rs`"),
    ),
    Item(
        "12a",
        "Which data served for building and which for judging",
        Told("`model_card.md`: parts by patient; this run's stays must not be among them"),
    ),
    Item(
        "12b",
        "Form and scaling of predictors",
        Told("`normalisers.json` of the model; `src/series/mod.rs`"),
    ),
    Item(
        "12c",
        "Kind of model, how it was built, tuned and checked inside",
        Told("`model_card.md`; `src/model/mod.rs`; `nowcxr train --print-recipe`"),
    ),
    Item(
        "12d",
        "How differences between centres were handled",
        Not("a run is of one site; section 6 divides by care unit where outcomes are known"),
    ),
    Item(
        "12e",
        "Measures of performance and how models are compared",
        WithOutcomes("sections 6 and 10; `src/metrics/mod.rs`"),
    ),
    Item(
        "12f",
        "Updating of the model, such as recalibration",
        Told("`model_card.md`, Calibration; nothing was updated in this run"),
    ),
    Item(
        "12g",
        "How predictions were computed",
        Told("`src/predict/mod.rs`, by the program and model of section 1"),
    ),
    Item(
        "13",
        "What was done about rare outcomes, and to the probabilities afterwards",
        Told("`model_card.md`: weights in training, recalibration on validation stays"),
    ),
    Item("14", "What was done for fairness", Not("nothing beyond the subgroups of section 6")),
    Item(
        "15",
        "What the model gives, and thresholds",
        Told("probabilities: `schemas/risk.avsc`; the threshold of section 2, from `[alerts]`"),
    ),
    Item(
        "16",
        "How the stays differ from those of training",
        WithProfile("section 7, as far as the profile is of training stays"),
    ),
    Item("17", "Ethical approval and consent", Not("the site's to say")),
    Item("18a", "Funding", Not("the site's to say")),
    Item("18b", "Conflicts of interest", Not("the site's to say")),
    Item("18c", "The protocol", Not("no protocol is part of a run; the site adds it")),
    Item("18d", "Registration", Not("the site's to say")),
    Item(
        "18e",
        "Access to the data",
        Not("the run's directory holds what was counted; whether it may be shared is the site's"),
    ),
    Item("18f", "Access to the code", Told("this repository; program and commit in section 1")),
    Item("19", "Part of patients and the public", Not("they had none in this software")),
    Item(
        "20a",
        "The way of the patients through the study",
        Told("sections 1 and 3; `reconciliation.json` of the run accounts for every row"),
    ),
    Item(
        "20b",
        "What the patients were like",
        WithOutcomes("section 6 by age, sex and care unit; no other characteristics"),
    ),
    Item(
        "20c",
        "Predictors here beside those of training",
        WithProfile("section 7, as far as the profile is of training stays"),
    ),
    Item(
        "21",
        "Patients and outcomes in each analysis",
        WithOutcomes("section 6, beside each figure"),
    ),
    Item(
        "22",
        "The whole model, so that others can use it",
        Told(
            "the model's directory: weights, noise, normalisers, calibration; digest in section 1",
        ),
    ),
    Item(
        "23a",
        "Performance with intervals, in subgroups too",
        WithOutcomes("section 6: 95 % intervals over resampled patients"),
    ),
    Item(
        "23b",
        "How performance differs between centres",
        WithOutcomes("section 6 by care unit; one site"),
    ),
    Item("24", "Results of updating", Not("nothing was updated in this run")),
    Item("25", "What the results mean", Not("left to the committee")),
    Item("26", "Limits", Told("section 8")),
    Item(
        "27a",
        "What happens when inputs are poor or absent",
        Told("sections 3 and 4: rejected with a reason, or scored with less and marked degraded"),
    ),
    Item(
        "27b",
        "What users must do and know",
        Told("nothing: nobody is shown a score in silent mode"),
    ),
    Item("27c", "What is to be studied next", Not("left to the committee")),
];

/// Every item as it stands in `trial`.
pub(super) fn audit(trial: &SilentTrial) -> Vec<Audited> {
    let answered = |Item(item, asks, answer): &Item| {
        let (reported, answer) = match answer {
            Told(text) => (true, (*text).to_owned()),
            WithOutcomes(text) if trial.evaluation.is_some() => (true, (*text).to_owned()),
            WithProfile(text) if trial.drift.is_some() => (true, (*text).to_owned()),
            WithOutcomes(_) => (false, "outcomes are not known to this report".to_owned()),
            WithProfile(_) => (false, "no profile was given".to_owned()),
            Not(why) => (false, (*why).to_owned()),
        };
        Audited { item, asks, reported, answer }
    };
    ITEMS.iter().map(answered).collect()
}

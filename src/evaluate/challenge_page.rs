//! The report of the Challenge's outcome models as one page that asks for nothing from anywhere.

use std::fmt::Write as _;

use super::challenge::{ChallengeEntry, ChallengeEvaluation};
use super::html::{cell, figure, frame};
use super::svg::{Mark, Row, escape, forest, reliability};

/// The page.
pub fn challenge_page(evaluation: &ChallengeEvaluation) -> String {
    let title = "PhysioNet Challenge 2012: death in hospital from 48 hours of EHR";
    let mut body = head(evaluation, title);
    body += &table(evaluation);
    body += &differences(evaluation);
    for entry in &evaluation.entries {
        body += &calibration(entry);
        body += &folds(entry);
    }
    body += &definitions(evaluation);
    frame(title, &body)
}

fn head(evaluation: &ChallengeEvaluation, title: &str) -> String {
    format!(
        "<header>\n<p class=\"kicker\">nowcxr evaluation</p>\n<h1>{title}</h1>\n<dl \
         class=\"cards\"><div><dt>stays</dt><dd>{}</dd></div><div><dt>in-hospital deaths</dt>\
         <dd>{}</dd></div></dl>\n<p>{} No film takes part. Research use only.</p>\n</header>\n",
        evaluation.stays,
        evaluation.died,
        escape(&evaluation.how)
    )
}

fn table(evaluation: &ChallengeEvaluation) -> String {
    let mut html = "<section>\n<h2>Encoders</h2>\n<div class=\"wide\"><table><thead><tr>\
        <th>encoder</th><th>AUROC</th><th>AUPRC</th><th>min(sensitivity, precision)</th>\
        <th>Brier</th><th>calibration slope</th></tr></thead><tbody>"
        .to_owned();
    for entry in &evaluation.entries {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            escape(&entry.name),
            cell(&entry.auroc, 3),
            cell(&entry.auprc, 3),
            cell(&entry.min_sensitivity_precision, 3),
            cell(&entry.brier, 3),
            cell(&entry.calibration_slope, 2)
        );
    }
    html + "</tbody></table></div>\n</section>\n"
}

fn differences(evaluation: &ChallengeEvaluation) -> String {
    if evaluation.differences.is_empty() {
        return String::new();
    }
    let rows: Vec<Row> = evaluation
        .differences
        .iter()
        .flat_map(|difference| {
            let figures = [
                ("AUROC", &difference.auroc),
                ("AUPRC", &difference.auprc),
                ("min(sens., prec.)", &difference.min_sensitivity_precision),
            ];
            figures.map(|(what, figure)| Row {
                label: what.to_owned(),
                note: difference.name.clone(),
                marks: vec![(Mark::Disc, figure.clone())],
            })
        })
        .collect();
    let plot = figure(
        "Paired differences over the same resampled stays, with 95 % intervals. Right of 0, the \
         first is better.",
        "",
        forest(&rows, "difference", &[0.0]),
    );
    format!("<section>\n<h2>In pairs</h2>\n{plot}</section>\n")
}

fn calibration(entry: &ChallengeEntry) -> String {
    let rows = [
        ("slope", &entry.calibration_slope, "1 right; below, scores too extreme"),
        ("intercept", &entry.calibration_intercept, "0 right, with the slope above"),
        ("in the large", &entry.calibration_in_the_large, "0 right; above, risks too low"),
        ("calibration error", &entry.expected_calibration_error, "ten groups of equal size"),
        ("Brier score", &entry.brier, "mean squared error; lower is better"),
    ];
    let mut html = format!(
        "<section>\n<h2>Calibration: {}</h2>\n<div class=\"pair\"><div><table \
         class=\"key\"><tbody>",
        escape(&entry.name)
    );
    for (name, value, meaning) in rows {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{name}</th><td>{}</td><td class=\"why\">{meaning}</td></tr>",
            cell(value, 3)
        );
    }
    html += "</tbody></table></div>\n";
    html += &figure(
        "Reliability in ten groups of equal size. The dashed line is perfect calibration.",
        "",
        Some(reliability(&entry.reliability)),
    );
    html + "</div>\n</section>\n"
}

fn folds(entry: &ChallengeEntry) -> String {
    let Some(mean) = entry.mean_of_folds else { return String::new() };
    let mut html = format!(
        "<section>\n<h2>Folds: {}</h2>\n<table><thead><tr><th>fold</th><th>AUROC</th>\
         <th>AUPRC</th><th>min(sensitivity, precision)</th></tr></thead><tbody>",
        escape(&entry.name)
    );
    let numbered = entry.folds.iter().enumerate();
    let numbered = numbered.map(|(i, ranking)| ((i + 1).to_string(), ranking));
    for (name, ranking) in numbered.chain([("mean".to_owned(), &mean)]) {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{name}</th><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td></tr>",
            ranking.auroc, ranking.auprc, ranking.min_sensitivity_precision
        );
    }
    html + "</tbody></table>\n</section>\n"
}

fn definitions(evaluation: &ChallengeEvaluation) -> String {
    format!(
        "<section>\n<h2>How this was measured</h2>\n<ul>\n<li>Figures of the first table are over \
         all stays at once; those of the folds, each by itself.</li>\n<li>min(sensitivity, \
         precision) is the best that a threshold reaches, the Challenge's first score; the \
         threshold is chosen on the scored stays, as the Challenge's own comparisons do.</li>\n\
         <li>Intervals: 2.5th and 97.5th percentile of {} resamples of stays, seed {}. They hold \
         the models as they are: what another training would give is not in them.</li>\n<li>The \
         probabilities are the networks' own, not recalibrated.</li>\n</ul>\n</section>\n",
        evaluation.options.replicates, evaluation.options.seed
    )
}

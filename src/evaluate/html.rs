//! The report as one page that asks for nothing from anywhere.

use std::fmt::Write as _;

use super::figures::{Evaluation, Figure, Figures, Set, Stratum, TWINS};
use super::html_films::{films, phenotypes, sampling};
use super::svg::{Mark, Row, escape, forest, reliability};

const STYLE: &str = include_str!("report.css");

/// The page. `title` names the run.
pub fn page(evaluation: &Evaluation, title: &str) -> String {
    let mut body = String::new();
    body += &head(evaluation, title);
    for set in &evaluation.sets {
        body += &section(set, &evaluation.warnings);
    }
    body += &landmarks(evaluation);
    if let Some(quality) = &evaluation.films {
        body += &films(quality, &evaluation.warnings);
    }
    if let Some(study) = &evaluation.sampling {
        body += &sampling(study, &evaluation.warnings);
    }
    body += &definitions(evaluation);
    frame(title, &body)
}

/// A whole page around its body.
pub(super) fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

pub(super) fn banner(warnings: &[&str]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = warnings.iter().map(|text| escape(text)).collect();
    format!("<p class=\"banner\" role=\"note\">{}</p>\n", lines.join("<br>"))
}

fn head(evaluation: &Evaluation, title: &str) -> String {
    let (counts, model) = (&evaluation.counts, &evaluation.provenance);
    let mut html = format!(
        "<header>\n<p class=\"kicker\">nowcxr evaluation</p>\n<h1>{}</h1>\n{}",
        escape(title),
        banner(&evaluation.warnings)
    );
    let digest: String = model.model_digest.chars().take(12).collect();
    let cards = [
        ("scored windows", counts.scored.to_string()),
        ("stays", counts.stays.to_string()),
        ("patients", counts.patients.to_string()),
        ("in-hospital deaths", counts.died.to_string()),
    ];
    html += "<dl class=\"cards\">";
    for (what, value) in cards {
        let _ = write!(html, "<div><dt>{what}</dt><dd>{value}</dd></div>");
    }
    let _ = write!(
        html,
        "</dl>\n<p>Model <b>{}</b> (<code>{}</code>). Of {} events, {} are unscored, {} are later \
         revisions and {} belong to stays without a label; these are left out. Research use \
         only.</p>\n</header>\n",
        escape(&model.model),
        escape(&digest),
        counts.events,
        counts.unscored,
        counts.revisions,
        counts.without_label
    );
    html
}

/// A value with its interval, or the reason why there is none.
pub(super) fn cell(figure: &Figure, digits: usize) -> String {
    match figure {
        Figure::Known(estimate) => {
            let value = format!("{:.*}", digits, estimate.value).replace('-', "−");
            let range = estimate.interval.map_or(String::new(), |(low, high)| {
                let text = format!("{low:.digits$} to {high:.digits$}").replace('-', "−");
                format!(" <span class=\"ci\">{text}</span>")
            });
            value + &range
        }
        Figure::Unknown { undefined } => {
            format!("<abbr title=\"{}\">n/a</abbr>", escape(undefined))
        }
    }
}

pub(super) fn key_figures(f: &Figures) -> String {
    let rows = [
        ("AUROC", &f.auroc, "the chance that a death outranks a survival"),
        ("AUPRC", &f.auprc, "average precision; a blind score gets the prevalence"),
        ("prevalence", &f.prevalence, "share of deaths"),
        ("lift", &f.lift, "AUPRC over prevalence; comparable between strata"),
        ("Brier score", &f.brier, "mean squared error; lower is better"),
        ("scaled Brier", &f.scaled_brier, "1 perfect, 0 no better than the prevalence"),
        ("calibration slope", &f.calibration_slope, "1 right; below, scores too extreme"),
        ("calibration intercept", &f.calibration_intercept, "0 right, with the slope above"),
        ("in the large", &f.calibration_in_the_large, "0 right; above, risks too low"),
        ("observed : expected", &f.observed_to_expected, "1 right"),
        ("calibration error", &f.expected_calibration_error, "ten groups of equal size"),
    ];
    let mut html =
        "<table class=\"key\"><thead><tr><th>figure</th><th>value and 95 % interval</th>\
                    <th>meaning</th></tr></thead><tbody>"
            .to_owned();
    for (name, figure, meaning) in rows {
        let value = cell(figure, 3);
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{name}</th><td>{value}</td><td class=\"why\">{meaning}</td></tr>"
        );
    }
    html + "</tbody></table>\n"
}

fn note(f: &Figures) -> String {
    format!("{} stays, {} deaths", f.stays, f.died)
}

fn twin_rows<'a>(parts: impl Iterator<Item = (&'a str, &'a Figures)>) -> Vec<Row> {
    parts
        .filter(|(_, figures)| !figures.twins.is_empty())
        .map(|(name, figures)| Row {
            label: name.to_owned(),
            note: note(figures),
            marks: Mark::ALL
                .into_iter()
                .zip(&figures.twins)
                .map(|(mark, twin)| (mark, twin.auprc.clone()))
                .collect(),
        })
        .collect()
}

fn difference_rows<'a>(parts: impl Iterator<Item = (&'a str, &'a Figures)>) -> Vec<Row> {
    parts
        .filter(|(_, figures)| !figures.differences.is_empty())
        .map(|(name, figures)| Row {
            label: name.to_owned(),
            note: note(figures),
            // Against carry-forward with a square, against no film with a triangle: the marks of
            // those that the generated latent is compared with.
            marks: [Mark::Square, Mark::Triangle]
                .into_iter()
                .zip(&figures.differences)
                .map(|(mark, difference)| (mark, difference.auprc.clone()))
                .collect(),
        })
        .collect()
}

pub(super) fn legend(entries: &[(Mark, &str)]) -> String {
    let mut html = "<p class=\"legend\">".to_owned();
    for (mark, text) in entries {
        let _ = write!(
            html,
            "<span><svg viewBox='0 0 14 14' width='14' height='14' aria-hidden='true'>{}</svg> \
             {text}</span>",
            mark.at(7.0, 7.0)
        );
    }
    html + "</p>\n"
}

pub(super) fn figure(caption: &str, legend: &str, svg: Option<String>) -> String {
    svg.map_or(String::new(), |svg| {
        format!("<figure>\n{legend}{svg}\n<figcaption>{caption}</figcaption>\n</figure>\n")
    })
}

/// Overall first, then the strata of film age.
fn by_film_age(set: &Set) -> Vec<(&str, &Figures)> {
    let strata = set.strata.iter().filter(|stratum| stratum.by == "film age");
    let strata = strata.map(|stratum| (stratum.name.as_str(), &stratum.figures));
    std::iter::once(("all", &set.overall)).chain(strata).collect()
}

fn section(set: &Set, warnings: &[&str]) -> String {
    let mut html = format!(
        "<section>\n<h2>{}</h2>\n{}<p class=\"lead\">{}: {} windows of {} stays, {} deaths.</p>\n",
        escape(set.name),
        banner(warnings),
        escape(set.what),
        set.overall.windows,
        set.overall.stays,
        set.overall.died
    );
    html += "<div class=\"pair\"><div>";
    html += &key_figures(&set.overall);
    html += "</div>\n";
    html += &figure(
        "Reliability in ten groups of equal size. The dashed line is perfect calibration.",
        "",
        Some(reliability(&set.reliability)),
    );
    html += "</div>\n<h3>With the generated film, with the old film, without any</h3>\n";
    let parts = by_film_age(set);
    let rows = twin_rows(parts.iter().copied());
    let all = [(Mark::Disc, TWINS[0]), (Mark::Square, TWINS[1]), (Mark::Triangle, TWINS[2])];
    html += &figure(
        "AUPRC by the age of the last film, with 95 % intervals. Strata differ in prevalence: \
         compare marks within a row, not between rows.",
        &legend(&all),
        forest(&rows, "AUPRC", &[]),
    );
    let against = [
        (Mark::Square, "generated minus carried forward"),
        (Mark::Triangle, "generated minus EHR only"),
    ];
    html += &figure(
        "Paired differences of the AUPRC over the same resampled patients. Right of 0, the \
         generated film helps.",
        &legend(&against),
        forest(&difference_rows(parts.iter().copied()), "difference of AUPRC", &[0.0]),
    );
    if !set.strata.is_empty() {
        html += "<h3>Subgroups</h3>\n";
        html += &strata_table(&set.strata);
    }
    html + &phenotypes(set) + "</section>\n"
}

pub(super) fn strata_table(strata: &[Stratum]) -> String {
    let mut html = "<div class=\"wide\"><table><thead><tr><th>group</th><th>stays</th><th>deaths\
                    </th><th>AUROC</th><th>AUPRC</th><th>lift</th><th>Brier</th><th>slope</th>\
                    </tr></thead><tbody>"
        .to_owned();
    let mut by = "";
    for stratum in strata {
        if stratum.by != by {
            by = stratum.by;
            let _ = write!(
                html,
                "<tr class=\"by\"><th colspan=\"8\" scope=\"rowgroup\">{by}</th></tr>"
            );
        }
        let f = &stratum.figures;
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td></tr>",
            escape(&stratum.name),
            f.stays,
            f.died,
            cell(&f.auroc, 2),
            cell(&f.auprc, 2),
            cell(&f.lift, 1),
            cell(&f.brier, 3),
            cell(&f.calibration_slope, 2)
        );
    }
    html + "</tbody></table></div>\n"
}

fn landmarks(evaluation: &Evaluation) -> String {
    if evaluation.landmarks.is_empty() {
        return String::new();
    }
    let parts = || evaluation.landmarks.iter().map(|l| (l.name.as_str(), &l.figures));
    let all = [(Mark::Disc, TWINS[0]), (Mark::Square, TWINS[1]), (Mark::Triangle, TWINS[2])];
    let svg = forest(&twin_rows(parts()), "AUPRC", &[]);
    format!(
        "<section>\n<h2>At landmarks</h2>\n{}<p class=\"lead\">One score a stay, the last of the \
         hour before each landmark after admission. The method is defined at 48 h; other hours are \
         our extension of it.</p>\n{}{}</section>\n",
        banner(&evaluation.warnings),
        strata_table(&evaluation.landmarks),
        figure("AUPRC of the twins at each landmark.", &legend(&all), svg)
    )
}

fn definitions(evaluation: &Evaluation) -> String {
    format!(
        "<section>\n<h2>How this was measured</h2>\n{}<ul>\n<li>The outcome is in-hospital death \
         as the published benchmark defines it.</li>\n<li>First revisions only: what was said at \
         the time.</li>\n<li>Intervals: 2.5th and 97.5th percentile of {} resamples of patients, \
         seed {}; every figure of a group uses the same resamples.</li>\n<li>Twins are compared on \
         the windows that have all three scores.</li>\n<li>Groups of fewer than ten stays are not \
         shown. A figure that does not exist for its group is n/a, with the reason on \
         hover.</li>\n<li>Calibration over all hours has intervals only up to 20,000 \
         windows.</li>\n<li>Alerts are not part of this report; <code>nowcxr policy</code> weighs \
         them.</li>\n</ul>\n</section>\n",
        banner(&evaluation.warnings),
        evaluation.options.replicates,
        evaluation.options.seed
    )
}

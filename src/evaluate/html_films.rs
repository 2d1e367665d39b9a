//! The report's pages on phenotypes, generated films and samplers.

use super::figures::{Figure, Set};
use super::films::FilmQuality;
use super::html::{banner, cell, figure, legend};
use super::phenotypes::PhenotypeFigures;
use super::sampling::{SamplingPoint, SamplingStudy, WINDOWS_LEAST};
use super::svg::{Curve, Mark, Row, curves, escape, forest};
use super::truth::AgainstTruth;

/// A table of named cells; the first column is the row's name.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = "<div class=\"wide\"><table><thead><tr>".to_owned();
    head.iter().for_each(|name| html += &format!("<th>{name}</th>"));
    html += "</tr></thead><tbody>";
    for row in rows {
        for (n, text) in row.iter().enumerate() {
            let (open, close) =
                if n == 0 { ("<tr><th scope=\"row\">", "</th>") } else { ("<td>", "</td>") };
            html += &format!("{open}{text}{close}");
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>\n"
}

/// The same with cells that may break into lines.
pub(super) fn wrapped(head: &[&str], rows: &[Vec<String>]) -> String {
    table(head, rows).replace("class=\"wide\"", "class=\"wide prose\"")
}

/// The phenotypes of a set, where they are known.
pub(super) fn phenotypes(set: &Set) -> String {
    let Some(PhenotypeFigures { each, macro_auroc, macro_auprc, .. }) = &set.phenotypes else {
        return String::new();
    };
    let mut rows = vec![vec![
        "<b>macro average</b>".to_owned(),
        String::new(),
        cell(macro_auroc, 3),
        cell(macro_auprc, 3),
    ]];
    rows.extend(each.iter().map(|one| {
        let share = format!("{:.1} %", 100.0 * one.prevalence);
        vec![escape(one.name), share, cell(&one.auroc, 3), cell(&one.auprc, 3)]
    }));
    let marks = each.iter().filter(|one| one.auroc.known().is_some()).map(|one| Row {
        label: shortened(one.name),
        note: format!("{:.1} %", 100.0 * one.prevalence),
        marks: vec![(Mark::Disc, one.auroc.clone())],
    });
    let rows_of_plot: Vec<Row> = marks.collect();
    format!(
        "<h3>Phenotypes</h3>\n<p class=\"lead\">25 groups of discharge diagnoses of the whole \
         admission; no forecast in the narrow sense, since a diagnosis may be older than the \
         window. The macro average is over the groups that have both outcomes.</p>\n{}{}",
        figure(
            "AUROC of each phenotype with its 95 % interval; small, the share of windows that \
             have it.",
            "",
            forest(&rows_of_plot, "AUROC", &[0.5]),
        ),
        fold("All phenotypes as a table", &table(&["phenotype", "share", "AUROC", "AUPRC"], &rows)),
    )
}

/// A name that fits beside a plot.
fn shortened(name: &str) -> String {
    const MOST: usize = 24;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", name[..end].trim_end()),
        None => name.to_owned(),
    }
}

pub(super) fn fold(title: &str, html: &str) -> String {
    format!("<details><summary>{title}</summary>\n{html}</details>\n")
}

/// The quality of generated films.
pub(super) fn films(films: &FilmQuality, warnings: &[&str]) -> String {
    let digest: String = films.model_digest.chars().take(12).collect();
    let mut html = format!(
        "<section>\n<h2>Generated films</h2>\n{}<p class=\"lead\">{} windows of {} stays, drawn \
         again by {} (<code>{}</code>) from what the run was given. Beside each figure of the \
         generated film stands that of the last film as the autoencoder shows it: what both lose \
         is the autoencoder's.</p>\n",
        banner(warnings),
        films.windows,
        films.stays,
        escape(&films.model),
        escape(&digest)
    );
    html += "<h3>Known ways to fail</h3>\n";
    html += &failures(films);
    html += "<h3>As sets</h3>\n";
    html += &sets(films);
    html += "<h3>Course and anatomy</h3>\n";
    html += &course(films);
    if let Some(truth) = &films.truth {
        html += &against_truth(truth);
    }
    html + "</section>\n"
}

fn failures(films: &FilmQuality) -> String {
    let rows: Vec<Vec<String>> = films
        .signatures
        .iter()
        .map(|one| {
            let verdict = match one.found {
                Some(true) => "<b>found</b>",
                Some(false) => "not found",
                None => "cannot be told",
            };
            let what = format!("{}<br><span class=\"why\">{}</span>", one.name, one.what);
            vec![what, cell(&one.value, 3), one.bound.clone(), verdict.to_owned()]
        })
        .collect();
    wrapped(&["way to fail", "number", "sound if", "verdict"], &rows)
}

fn number(value: Option<f64>) -> String {
    value.map_or("n/a".to_owned(), |value| format!("{value:.3}"))
}

fn sets(films: &FilmQuality) -> String {
    let sets = &films.sets;
    let rows = [
        ("Fréchet distance (FD)", sets.generated_frechet, sets.carried_frechet),
        ("Wasserstein distance (WD)", sets.generated_wasserstein, sets.carried_wasserstein),
    ]
    .map(|(name, generated, carried)| vec![name.to_owned(), number(generated), number(carried)]);
    format!(
        "{}<p>Features: {}. Real films: {} ({}). FD is the Fréchet distance of the Gaussians \
         fitted to both sets, WD the mean over the features of the one-dimensional Wasserstein \
         distance; lower is better. Neither compares with an FID of Inception features or with a \
         figure of another extractor.{}</p>\n",
        table(&["distance to real films", "generated", "last film"], &rows),
        escape(&sets.extractor),
        sets.real_films,
        escape(&sets.real),
        match sets.real_films <= sets.features {
            true => " There are no more films than features: FD is coarse, and too high.",
            false => "",
        }
    )
}

fn course(films: &FilmQuality) -> String {
    let mut rows = vec![
        ("lung fields' overlap with the last film (Dice)", &films.lung_overlap),
        ("share of windows with an overlap below 0.8", &films.lungs_lost),
        ("sharpness, as a share of the last film's", &films.sharpness),
        ("change of the latent from the last film's, of its own size", &films.change),
        ("change when the EHR is another stay's", &films.ehr_effect),
        ("step from a window to the stay's next", &films.step),
    ];
    if let Some(truth) = &films.truth {
        rows.push((
            "the same step of the oracle, exposure and position included",
            &truth.oracle_step,
        ));
    }
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), cell(value, 3)]).collect();
    format!(
        "{}<p>Lung fields are the dark half of a picture's middle by Otsu's threshold; sharpness \
         is the mean squared step between neighbouring pixels. The heart's outline and devices \
         are not measured apart.</p>\n",
        table(&["figure", "mean and 95 % interval"], &rows)
    )
}

fn against_truth(truth: &AgainstTruth) -> String {
    let distance: Vec<Vec<String>> = truth
        .distances
        .iter()
        .map(|one| {
            vec![
                escape(&one.name),
                one.windows.to_string(),
                cell(&one.generated, 3),
                cell(&one.carried, 3),
                cell(&one.closed, 3),
                cell(&one.generated_film, 4),
                cell(&one.carried_film, 4),
            ]
        })
        .collect();
    let gap = &truth.auprc;
    let gap = [
        ("oracle's latent", &gap.oracle),
        ("generated latent", &gap.generated),
        ("last film's latent", &gap.carried),
        ("part of the oracle's gain", &gap.closed),
    ]
    .map(|(name, value)| vec![name.to_owned(), cell(value, 3)]);
    let mut reads: Vec<Row> = truth
        .severities
        .iter()
        .map(|one| row(one.severity, [&one.generated, &one.carried, &one.oracle]))
        .collect();
    reads.push(row(
        "course within stays",
        [&truth.course_generated, &truth.course_carried, &truth.course_oracle],
    ));
    let marks = [
        (Mark::Disc, "generated"),
        (Mark::Square, "last film"),
        (Mark::Triangle, "film that would have been taken"),
    ];
    format!(
        "<h3>Against the film that would have been taken</h3>\n<p class=\"lead\">Only a synthetic \
         ward knows that film. Distances of latents are root mean squares; of films, mean \
         absolute differences of the whole range from black to white.</p>\n{}{}<p>Mortality \
         AUPRC on the same windows, each stay weighing the same, with three latents:</p>\n{}",
        wrapped(
            &[
                "age of the last film",
                "windows",
                "latent, generated",
                "latent, last film",
                "part closed",
                "film, generated",
                "film, last film",
            ],
            &distance,
        ),
        figure(
            "Correlation of the true severity with what the findings head reads off a latent. The \
             last row is the mean correlation within stays.",
            &legend(&marks),
            forest(&reads, "correlation", &[0.0]),
        ),
        table(&["latent", "AUPRC and 95 % interval"], &gap)
    )
}

fn row(name: &str, figures: [&Figure; 3]) -> Row {
    let marks = Mark::ALL.into_iter().zip(figures).map(|(mark, one)| (mark, one.clone()));
    Row { label: name.replace('_', " "), note: String::new(), marks: marks.collect() }
}

/// The samplers compared.
pub(super) fn sampling(study: &SamplingStudy, warnings: &[&str]) -> String {
    let digest: String = study.model_digest.chars().take(12).collect();
    let few = match study.windows < WINDOWS_LEAST {
        true => format!(" The rule is meant for at least {WINDOWS_LEAST} windows."),
        false => String::new(),
    };
    let mut html = format!(
        "<section>\n<h2>How few network evaluations are enough</h2>\n{}<p class=\"lead\">{} \
         windows of {} stays, model {} (<code>{}</code>), each against {}, from the same noise, \
         the posterior mean of the last film and the same EHR.{few}</p>\n",
        banner(warnings),
        study.windows,
        study.stays,
        escape(&study.model),
        escape(&digest),
        escape(&study.reference),
    );
    html += &format!("<p>{}</p>\n", escape(&study.verdict()));
    let marks = [(Mark::Disc, "DDIM"), (Mark::Square, "DPM-Solver++ 2M")];
    let mut plot = |what: &str, axis: &str, of: fn(&SamplingPoint) -> f64, limit: Option<f64>| {
        let lines = marks.map(|(mark, name)| {
            let own = study.points.iter().filter(|point| point.choice.sampler == name);
            let points = own.map(|point| (point.choice.evaluations as f64, of(point)));
            Curve { mark, points: points.collect() }
        });
        html += &figure(what, &legend(&marks), curves(&lines, "network evaluations", axis, limit));
    };
    plot(
        "Mean absolute change of the mortality risk. Dashed: the rule's bound.",
        "change of risk",
        |point| point.risk_mean,
        Some(study.mean_most),
    );
    plot(
        "99th percentile of the absolute change of the mortality risk. Dashed: the rule's bound.",
        "change of risk",
        |point| point.risk_p99,
        Some(study.p99_most),
    );
    plot(
        "Mean absolute change of the decoded film, of the whole range from black to white.",
        "change of film",
        |point| point.film,
        None,
    );
    html += &fold("All points as a table", &points(study));
    html += &spread(study);
    html + "</section>\n"
}

fn points(study: &SamplingStudy) -> String {
    let rows: Vec<Vec<String>> = study
        .points
        .iter()
        .map(|point| {
            vec![
                point.choice.sampler.to_owned(),
                point.choice.evaluations.to_string(),
                format!("{:.5}", point.risk_mean),
                format!("{:.5}", point.risk_p99),
                format!("{:.5}", point.risk_most),
                format!("{:.4}", point.latent),
                format!("{:.4}", point.film),
                if point.keeps_rule() { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    let head = [
        "sampler",
        "evaluations",
        "risk, mean",
        "risk, 99 %",
        "risk, most",
        "latent",
        "film",
        "keeps the rule",
    ];
    table(&head, &rows)
}

fn spread(study: &SamplingStudy) -> String {
    let Some(spread) = &study.spread else { return String::new() };
    format!(
        "<p>The published sampler draws noise on the way (DDIM, 200 evaluations, η = 1). Over {} \
         seeds on {} windows the mortality risk of a window has a standard deviation of {:.4} on \
         average and {:.4} at most; it lies {:.4} on average from that of the walk without noise, \
         and the film {:.4}.</p>\n",
        spread.seeds,
        spread.windows,
        spread.risk_sd_mean,
        spread.risk_sd_most,
        spread.risk_change_mean,
        spread.film
    )
}

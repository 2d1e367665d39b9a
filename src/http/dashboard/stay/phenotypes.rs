//! The 25 phenotypes: codes of the whole stay, which have no onset and are no finding of now.

use maud::{Markup, html};

use super::StayPage;
use crate::http::dashboard::format;
use crate::http::phenotypes::PHENOTYPES;

/// Below this a condition is folded away.
const FOLDED: f32 = 0.05;

impl StayPage<'_> {
    /// Sorted by probability, each with a dot on its line and a tick at its usual share.
    pub fn phenotypes(&self) -> Markup {
        let scores = self.risk.and_then(|risk| risk.scores.as_ref());
        let mut all: Vec<(f32, &(&str, &str, f32))> = scores
            .map(|scores| scores.phenotypes.iter().copied().zip(&PHENOTYPES).collect())
            .unwrap_or_default();
        all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (shown, folded): (Vec<_>, Vec<_>) = all.into_iter().partition(|(p, _)| *p >= FOLDED);
        html! {
            section.card.phenotypes-card aria-labelledby="phenotypes-title" {
                h2 #phenotypes-title { "Likely coded conditions this stay" }
                p.faint { "Diagnosis codes that the whole stay may end with. They have no onset: \
                    none of them says what the patient has now." }
                @if shown.is_empty() && folded.is_empty() {
                    p { "No score at this moment." }
                } @else {
                    (list(&shown))
                    @if !folded.is_empty() {
                        details #phenotypes-rare {
                            summary { (folded.len()) " below 5 %" }
                            (list(&folded))
                        }
                    }
                    p.legend {
                        span.key { span.dot aria-hidden="true" {} "this stay" }
                        span.key { span.tick aria-hidden="true" {} "share in the published \
                            training stays" }
                    }
                }
            }
        }
    }
}

fn list(rows: &[(f32, &(&str, &str, f32))]) -> Markup {
    html! {
        table.dots {
            thead.hidden { tr { th scope="col" { "Condition" } th scope="col" { "Line" }
                th scope="col" { "Probability" } } }
            tbody { @for (p, (name, system, usual)) in rows { tr {
                th scope="row" { (name) " " span.faint { (system) } }
                td.plot { (dot(*p, *usual)) }
                td.number { (format::percent(*p)) }
            } } }
        }
    }
}

fn dot(p: f32, usual: f32) -> Markup {
    let x = |p: f32| (40.0 + p * 1_920.0).round() / 10.0;
    html! {
        svg viewBox="0 0 200 16" aria-hidden="true" preserveAspectRatio="none" {
            line.rail x1="4" x2="196" y1="8" y2="8" {}
            line.usual x1=(x(usual)) x2=(x(usual)) y1="2" y2="14" {}
            line.reach x1="4" x2=(x(p)) y1="8" y2="8" {}
            circle.dot cx=(x(p)) cy="8" r="4" {}
        }
    }
}

//! What the risk hangs on inside the model, and everything that one needs to doubt it.

use maud::{Markup, html};

use super::StayPage;
use crate::event::dictionary::Variable;
use crate::http::dashboard::format;
use crate::http::dashboard::ward::status_name;
use crate::wire::RiskRecord;

impl StayPage<'_> {
    /// Occlusion: how the risk changes when the fusion is not shown one variable.
    pub fn reasons(&self) -> Markup {
        let scores = self.risk.and_then(|risk| risk.scores.as_ref());
        let shown = scores.map(|scores| scores.attribution.as_slice()).unwrap_or_default();
        let largest = shown.iter().map(|one| one.change.abs()).fold(0.01, f32::max);
        html! {
            section.card.reasons-card aria-labelledby="reasons-title" {
                h2 #reasons-title { "Associated with this risk" }
                p.faint { "How the risk changes when the model is not shown one variable. An \
                    association inside this model, not a cause." }
                @if shown.is_empty() {
                    p { "No attribution at this moment." }
                } @else {
                    table.bars-table {
                        thead.hidden { tr { th scope="col" { "Variable" }
                            th scope="col" { "Bar" } th scope="col" { "Points" } } }
                        tbody { @for one in shown { tr {
                            th scope="row" { (self.name(&one.variable)) }
                            td.plot { (bar(one.change / largest)) }
                            td.number { (format::points(one.change)) }
                        } } }
                    }
                    p.legend {
                        span.key { "◀ lower risk with it" }
                        span.key { "▶ higher risk with it" }
                        span.key { "percentage points" }
                    }
                }
            }
        }
    }

    fn name(&self, code: &str) -> String {
        let variable = self.dictionary.by_code(code).and_then(|id| self.dictionary.variable(id));
        variable.map_or_else(|| code.to_owned(), Variable::label)
    }

    /// Provenance and validity: enough to find the prediction again, and to doubt it.
    pub fn basis(&self) -> Markup {
        html! {
            section.card.basis-card aria-labelledby="basis-title" {
                h2 #basis-title { "Basis" }
                @match self.risk {
                    None => p { "The record of this window is gone from the log." },
                    Some(risk) => {
                        (doubts(risk))
                        (provenance(risk))
                        p.links {
                            a href=(format!("/stay/{}/provenance.json{}", self.id, self.suffix())) {
                                "Provenance as JSON"
                            }
                            " · "
                            a href=(format!("/stay/{}/inputs.csv{}", self.id, self.suffix())) {
                                "Exact inputs as CSV"
                            }
                        }
                    },
                }
            }
        }
    }
}

fn bar(share: f32) -> Markup {
    let width = (share.abs() * 960.0).round() / 10.0;
    let x = if share < 0.0 { 100.0 - width } else { 100.0 };
    html! {
        svg viewBox="0 0 200 16" aria-hidden="true" preserveAspectRatio="none" {
            line.rail x1="100" x2="100" y1="0" y2="16" {}
            rect.up[share >= 0.0].down[share < 0.0] x=(x) y="3" width=(width) height="10" rx="2" {}
        }
    }
}

fn doubts(risk: &RiskRecord) -> Markup {
    html! {
        @if !risk.validity.is_empty() {
            h3 { "Outside what is validated" }
            ul.doubts { @for doubt in &risk.validity { li { (doubt.words()) } } }
        }
    }
}

fn provenance(risk: &RiskRecord) -> Markup {
    let generation = risk.scores.as_ref().and_then(|scores| scores.generation);
    let raw = risk.scores.as_ref().map(|scores| scores.mortality_raw);
    html! {
        dl.facts {
            div { dt { "As of" } dd { (format::stamp(risk.t)) } }
            div { dt { "Known at" } dd { (format::stamp(risk.known_at)) } }
            div { dt { "State" } dd { (status_name(risk.status))
                @if let Some(reason) = &risk.status_reason { ": " (reason) } } }
            div { dt { "Revision" } dd { (risk.revision)
                @if let Some(old) = &risk.supersedes { ", supersedes " code { (old) } } } }
            div { dt { "EHR used" } dd { (risk.series.n_facts) " observations from "
                (format::stamp(risk.series.from)) ", "
                (format!("{:.0} %", risk.series.imputed * 100.0)) " of the hourly cells imputed" } }
            @if let Some(film) = &risk.film {
                div { dt { "Film used" } dd { (format::view(film.view)) ", acquired "
                    (format::stamp(film.acquired_at)) ", available "
                    (format::stamp(film.available_at)) " " code { (short(&film.digest)) } } }
            }
            @if let Some(generation) = generation {
                div { dt { "Generated" } dd { (generation.evaluations) " evaluations, latent RMS "
                    (format!("{:.3}", generation.latent_rms)) ", seed "
                    code { (generation.seed) } } }
            }
            @if let Some(raw) = raw {
                div { dt { "Before calibration" } dd { (format::percent(raw)) } }
            }
            @if !risk.feed_missing.is_empty() {
                div { dt { "Silent feeds" } dd { (risk.feed_missing.join(", ")) } }
            }
            div { dt { "Model" } dd { (risk.model.name) " " (risk.model.version) " "
                code { (short(&risk.model.digest)) } } }
            div { dt { "Configuration" } dd { code { (short(&risk.config_digest)) } } }
            div { dt { "Input" } dd { code { (short(&risk.input_digest)) } } }
            div { dt { "Event" } dd { code { (risk.event_id) } } }
        }
    }
}

/// The first twelve digits: enough to compare by eye.
fn short(digest: &crate::ids::Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

//! Vitals and labs: what was measured, and what the model saw of it.

use maud::{Markup, html};

use super::StayPage;
use crate::event::dictionary::{Kind, Variable};
use crate::event::risk::Suspicion;
use crate::http::dashboard::chart::{self, Point};
use crate::http::dashboard::format;
use crate::time::{EventTime, Span};
use crate::wire::VariableSeries;

/// Hours that a variable's curve shows.
const SHOWN: Span = Span::hours(24);

/// One variable's newest part.
struct Measured<'a> {
    variable: &'a Variable,
    points: Vec<Point>,
    last: Option<(EventTime, f64)>,
    /// Hours shown without an observation: the model was given the value before.
    imputed: usize,
    suspect: Option<Suspicion>,
}

impl StayPage<'_> {
    /// A cell for each variable that the model reads.
    pub fn measured(&self) -> Markup {
        let given = self.view.and_then(|view| view.given.as_ref());
        let all: Vec<Measured<'_>> = self
            .dictionary
            .variables()
            .iter()
            .filter(|variable| variable.columns.is_some() && variable.trained)
            .map(|variable| {
                let series = given.and_then(|given| {
                    given.series.iter().find(|series| series.variable == variable.code)
                });
                self.one(variable, series)
            })
            .collect();
        let (seen, never): (Vec<_>, Vec<_>) = all.into_iter().partition(|m| m.last.is_some());
        html! {
            section.card.measured-card aria-labelledby="measured-title" {
                h2 #measured-title { "Vitals and labs, as the model saw them" }
                @if given.is_none() {
                    p.faint { "What the model was given at this moment is not kept: only the \
                        newest window of each stay carries it." }
                } @else {
                    div.variables { @for one in &seen { (self.cell(one)) } }
                    @if !never.is_empty() {
                        p.never { strong { "Never observed in this span, so a normal value stood \
                            in: " }
                            @for (n, one) in never.iter().enumerate() {
                                @if n > 0 { ", " }
                                (one.variable.label()) " ("
                                (shown(one.variable, normal(one.variable))) ")"
                            } "." }
                    }
                    p.legend {
                        span.key { span.dot aria-hidden="true" {} "observed" }
                        span.key { span.dot.hollow aria-hidden="true" {} "imputed: the hour had no \
                            observation" }
                        span.key { "⌈ ⌊ the model saw a value held inside its range" }
                        span.key { "last 24 h up to " (format::stamp(self.now)) }
                    }
                }
            }
        }
    }

    fn one<'v>(&self, variable: &'v Variable, series: Option<&VariableSeries>) -> Measured<'v> {
        let t = self.tile.scored.unwrap_or(self.tile.newest).t;
        let from = self.tile.begins.unwrap_or(t - SHOWN).max(t - SHOWN);
        let rows: Vec<(EventTime, f64)> = series
            .map(|one| one.at.iter().copied().zip(one.values.iter().copied()).collect())
            .unwrap_or_default();
        let mut points: Vec<Point> = rows
            .iter()
            .filter(|(at, _)| *at >= from)
            .map(|(at, value)| Point { at: *at, value: *value, observed: true })
            .collect();
        let mut imputed = 0;
        for hour in 1..=24 {
            let (begins, ends) = (t - Span::hours(hour), t - Span::hours(hour - 1));
            let observed = rows.iter().any(|(at, _)| *at > begins && *at <= ends);
            if begins < from || observed {
                continue;
            }
            imputed += 1;
            let before = rows.iter().rev().find(|(at, _)| *at <= begins);
            let value = before.map_or_else(|| normal(variable), |(_, value)| *value);
            points.push(Point { at: begins + Span::minutes(30), value, observed: false });
        }
        points.sort_by_key(|point| point.at);
        let newest = self.view.map_or(&[][..], |view| &view.risk.series.last_observed);
        let suspect = newest.iter().find(|newest| newest.variable == variable.code);
        let suspect = suspect.and_then(|newest| newest.suspect);
        Measured { variable, points, last: rows.last().copied(), imputed, suspect }
    }

    fn cell(&self, one: &Measured<'_>) -> Markup {
        let t = self.tile.scored.unwrap_or(self.tile.newest).t;
        let from = self.tile.begins.unwrap_or(t - SHOWN).max(t - SHOWN);
        let Some((at, value)) = one.last else { return html! {} };
        let clamp = match one.variable.kind {
            Kind::Numeric { clamp, .. } => Some(clamp),
            Kind::Categorical { .. } => None,
        };
        let seen = one.variable.clamped(value);
        let clamped = (seen - value).abs() > f64::EPSILON * value.abs().max(1.0);
        let old = t.since(at) > Span::hours(4);
        html! {
            article.variable {
                h3 { (one.variable.label()) }
                p.measure {
                    span.value { (shown(one.variable, value)) }
                    " " span.unit { (format::unit(&one.variable.unit)) }
                    span.faint.old[old] { " " (format::age(t.since(at))) " ago" }
                }
                @if let Some(suspect) = one.suspect {
                    p.suspect { strong { "Suspect: " } (suspect.words()) }
                }
                @if clamped {
                    p.saw { (if seen < value { "⌈" } else { "⌊" }) " model saw "
                        (shown(one.variable, seen)) }
                }
                (chart::series(&one.points, from, t, clamp))
                @if one.imputed > 0 {
                    p.hidden { (one.imputed) " of the last 24 hours imputed" }
                }
            }
        }
    }
}

/// What stands in before the first observation.
fn normal(variable: &Variable) -> f64 {
    match &variable.kind {
        Kind::Numeric { normal, .. } => *normal,
        Kind::Categorical { normal, .. } => *normal as f64,
    }
}

fn shown(variable: &Variable, value: f64) -> String {
    variable.category(value).map_or_else(|| format::value(value), str::to_owned)
}

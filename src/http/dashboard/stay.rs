//! The page of one stay: what the model says, what it saw, and on what ground.

mod alerts;
mod films;
mod measured;
mod phenotypes;
mod reasons;

pub use alerts::state as alert_state;
use maud::{Markup, html};

use super::board::{self, Tile};
use super::chart;
use super::format;
use super::page::{self, Chrome, Here};
use super::ward::{Band, Moment, StayLog, status_name};
use crate::event::dictionary::Dictionary;
use crate::ids::{AlertId, StayId};
use crate::time::EventTime;
use crate::wire::{RiskRecord, StayView};

/// Everything about a stay at one moment, read for one page.
pub struct StayPage<'a> {
    pub id: StayId,
    pub stay: &'a StayLog,
    pub tile: Tile<'a>,
    /// All windows known by then, in the order of time.
    pub known: Vec<&'a Moment>,
    /// The newest window in full; `None` if its record is gone.
    pub risk: Option<&'a RiskRecord>,
    /// What the model was given for it.
    pub view: Option<&'a StayView>,
    pub dictionary: &'a Dictionary,
    pub at: Option<EventTime>,
    pub now: EventTime,
    /// Whether the visitor may answer alerts, and which was answered a moment ago.
    pub may_answer: bool,
    pub told: Option<AlertId>,
}

/// The window that a page at `at` is about: the newest with a score, or else the newest.
pub fn moment_shown(stay: &StayLog, at: Option<EventTime>) -> Option<Moment> {
    let known = stay.known(at);
    let open = || known.iter().rev().filter(|moment| moment.end.is_none());
    let newest = open().next();
    let retracted = newest.is_some_and(|m| m.status == crate::wire::RiskStatus::Retracted);
    let scored = open().find(|moment| moment.mortality.is_some()).filter(|_| !retracted);
    scored.or(newest).or(known.last()).map(|moment| (*moment).clone())
}

impl StayPage<'_> {
    /// The whole page.
    pub fn page(&self, chrome: &Chrome) -> Markup {
        let body = html! {
            (self.banner())
            div.stay {
                (self.risk())
                (self.alerts())
                (self.films())
                (self.measured())
                (self.reasons())
                (self.phenotypes())
                (self.basis())
            }
        };
        page::frame(chrome, &format!("Stay {}", self.id), Here::Stay, body)
    }

    /// `?at=` of this page, to be kept by what it links to.
    fn suffix(&self) -> String {
        self.at.map_or_else(String::new, |at| format!("?at={}", format::machine(at)))
    }

    fn banner(&self) -> Markup {
        let tile = &self.tile;
        html! {
            header.patient {
                h1 { span.faint { "Stay " } span.id { (self.id) } }
                p.who {
                    @if let Some(years) = tile.age_years {
                        span { (format::years(years)) " years" }
                    }
                    @if let Some(sex) = tile.sex {
                        span {
                            @match sex {
                                crate::event::Sex::Female => "female",
                                crate::event::Sex::Male => "male",
                            }
                        }
                    }
                    @if let Some(unit) = tile.unit { span { (unit) } }
                    @if let Some(day) = tile.day() { span { "ICU day " (day) } }
                    @if let Some(begins) = tile.begins { span { "since " (format::stamp(begins)) } }
                }
                p.badges {
                    @if let (Some(risk), Some(band)) = (tile.risk(), tile.band()) {
                        span class=(format!("band big {}", band.code())) {
                            (page::bars(band)) (format::percent(risk)) " " (band.word())
                        }
                    }
                    (board::film_badge(tile.film_age))
                    (board::alert_badge(tile.alert))
                    @if let Some((end, at)) = tile.ended {
                        span.badge.end { (format::end(end)) " " (format::stamp(at)) }
                    }
                    span.badge { "as of " time datetime=(format::machine(self.now)) {
                        (format::stamp(self.now))
                    } }
                }
            }
        }
    }

    fn risk(&self) -> Markup {
        let tile = &self.tile;
        let alerts = self.stay.alerts(self.at);
        html! {
            section.card.risk-card aria-labelledby="risk-title" {
                h2 #risk-title { "Risk of death in hospital" }
                div.risk-head {
                    @match (tile.risk(), tile.band(), tile.scored) {
                        (Some(risk), Some(band), Some(moment)) => {
                            div.risk-now class=(band.code()) {
                                p.risk { (format::percent(risk)) }
                                div.risk-words {
                                    span class=(format!("band {}", band.code())) {
                                        (page::bars(band)) (band.word())
                                    }
                                    p { (format::frequency(risk)) }
                                    (board::arrow(tile.change))
                                }
                            }
                            (interval(moment))
                            (twins(moment))
                        },
                        _ => p.risk.no-score { "No score at this moment" },
                    }
                }
                div.scroll tabindex="0" role="region" aria-label="Curve of the risk" {
                    (chart::course(self.id, self.stay, &self.known, &alerts, self.now))
                }
                (course_key(&self.known, !alerts.is_empty()))
                details #risk-table {
                    summary { "All " (self.known.len()) " windows as a table" }
                    (self.windows())
                }
            }
        }
    }

    /// The same numbers as the curve, newest first.
    fn windows(&self) -> Markup {
        let percent = |p: Option<f32>| p.map_or_else(|| "–".to_owned(), format::percent);
        html! {
            div.scroll.tall tabindex="0" role="region" aria-label="All windows" { table {
                thead { tr {
                    th scope="col" { "As of" } th scope="col" { "Risk" }
                    th scope="col" { "EHR only" } th scope="col" { "Film carried forward" }
                    th scope="col" { "Film age" } th scope="col" { "State" }
                } }
                tbody { @for moment in self.known.iter().rev() { tr {
                    th scope="row" {
                        a href=(format!("/stay/{}?at={}", self.id,
                            format::machine(moment.known_at))) { (format::stamp(moment.t)) }
                    }
                    td { (percent(moment.mortality)) }
                    td { (percent(moment.ehr_only)) }
                    td { (percent(moment.carry_forward)) }
                    td { @match moment.film_age(moment.t) {
                        Some((age, _)) => (format::age(age)),
                        None => "none",
                    } }
                    td {
                        (status_name(moment.status))
                        @if moment.film_trigger { ", new film" }
                        @if moment.revision > 0 { ", revision " (moment.revision) }
                        @if let Some(end) = moment.end { ", " (format::end(end)) }
                    }
                } } }
            } }
        }
    }
}

fn interval(moment: &Moment) -> Markup {
    html! {
        @if let Some((low, high)) = moment.interval {
            p.interval-words {
                "95 % interval of the calibration: " strong { (format::percent(low)) " to "
                    (format::percent(high)) } "."
                span.faint { " It says how well the calibration is known, not how far this \
                    patient may lie from others like him." }
            }
        }
    }
}

/// What the generated film changes: the most honest number on this page.
fn twins(moment: &Moment) -> Markup {
    let rows = [
        ("With the generated film", moment.mortality, "main"),
        ("Last film carried forward", moment.carry_forward, "carry"),
        ("EHR only, no film", moment.ehr_only, "ehr"),
    ];
    let change = |p: Option<f32>| Some(moment.mortality? - p?);
    html! {
        table.twins {
            caption { "The same window, scored three ways" }
            thead.hidden { tr {
                th scope="col" { "Variant" } th scope="col" { "Risk" }
                th scope="col" { "The generated film adds" }
            } }
            tbody { @for (words, p, class) in rows { tr {
                th scope="row" {
                    span class=(format!("line {class}")) aria-hidden="true" {}
                    (words)
                }
                td.number { @match p { Some(p) => (format::percent(p)), None => "–" } }
                td.faint {
                    @if class != "main" {
                        @if let Some(change) = change(p) {
                            "generated adds " (format::points(change)) " points"
                        }
                    }
                }
            } } }
        }
    }
}

fn course_key(known: &[&Moment], has_alerts: bool) -> Markup {
    let corrected = known.iter().any(|moment| moment.revision > 0);
    html! {
        p.legend.course-key {
            span.key { span.line.main aria-hidden="true" {} "risk" }
            span.key { span.line.ehr aria-hidden="true" {} "EHR only" }
            span.key { span.line.carry aria-hidden="true" {} "film carried forward" }
            span.key { span.shape aria-hidden="true" { "▼" } " a film became available" }
            @if has_alerts {
                span.key { span.shape aria-hidden="true" { "△" } " an alert was raised" }
            }
            @if corrected { span.key { span.shape aria-hidden="true" { "◆" } " corrected" } }
            @for band in [Band::Raised, Band::High] {
                span.key { "dotted: edge of “" (band.word().to_lowercase()) "”" }
            }
        }
    }
}

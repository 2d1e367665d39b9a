//! One stay on the ward page.

use maud::{Markup, html};

use crate::event::Sex;
use crate::event::alert::Subject;
use crate::event::risk::{FilmAge, Mode, StayEnd};
use crate::http::dashboard::page::bars;
use crate::http::dashboard::stay::alert_state;
use crate::http::dashboard::ward::{AlertNote, Band, Moment, StayLog};
use crate::http::dashboard::{chart, format};
use crate::ids::StayId;
use crate::time::{EventTime, Span};
use crate::wire::RiskStatus;

/// The change of the risk is counted over this long.
const CHANGE: Span = Span::hours(4);
/// Changes below this are called steady.
const STEADY: f32 = 0.01;

/// What a tile says of a stay at one moment.
#[derive(Debug)]
pub struct Tile<'a> {
    pub id: StayId,
    pub age_years: Option<u8>,
    pub sex: Option<Sex>,
    pub unit: Option<&'a str>,
    pub begins: Option<EventTime>,
    pub ended: Option<(StayEnd, EventTime)>,
    /// The newest window with a score.
    pub scored: Option<&'a Moment>,
    /// The newest window that is no mere end of the stay.
    pub newest: &'a Moment,
    pub change: Option<f32>,
    pub film_age: Option<(Span, FilmAge)>,
    pub ehr_age: Option<Span>,
    pub now: EventTime,
    /// The alert that stands and was raised last.
    pub alert: Option<&'a AlertNote>,
    known: Vec<&'a Moment>,
}

impl<'a> Tile<'a> {
    /// `None` if nothing was known of the stay at `at`; `None` for `at` is now, which the ward's
    /// clock puts at `now`. A stay that has ended stands at its end.
    pub fn new(
        id: StayId,
        stay: &'a StayLog,
        at: Option<EventTime>,
        now: EventTime,
    ) -> Option<Self> {
        let known = stay.known(at);
        let ended = stay.ended(at);
        let now = ended.map_or(now, |(_, end)| end.min(now));
        let open = || known.iter().rev().filter(|moment| moment.end.is_none());
        let newest = *open().next().or(known.last())?;
        let retracted = newest.status == RiskStatus::Retracted;
        let scored = open().find(|m| m.mortality.is_some()).filter(|_| !retracted).copied();
        let film_at = known.iter().rev().find_map(|moment| moment.film);
        let film_age = film_at.map(|(acquired_at, _)| {
            let age = now.since(acquired_at);
            (age, FilmAge::of(age))
        });
        let ehr_at = known.iter().rev().find_map(|moment| moment.last_observed_at);
        Some(Tile {
            id,
            age_years: stay.age_years,
            sex: stay.sex,
            unit: stay.unit(at),
            begins: stay.begins(),
            ended,
            scored,
            newest,
            change: scored.and_then(|moment| change(&known, moment)),
            film_age,
            ehr_age: ehr_at.map(|at| now.since(at)),
            now,
            alert: stay.alerts(at).into_iter().find(|note| note.standing),
            known,
        })
    }

    pub fn risk(&self) -> Option<f32> {
        self.scored.and_then(|moment| moment.mortality)
    }

    pub fn band(&self) -> Option<Band> {
        self.risk().map(Band::of)
    }

    /// Day of the stay, from 1.
    pub fn day(&self) -> Option<i64> {
        Some(self.now.since(self.begins?).as_millis().max(0) / Span::hours(24).as_millis() + 1)
    }

    fn link(&self, at: Option<EventTime>) -> String {
        match at {
            Some(at) => format!("/stay/{}?at={}", self.id, format::machine(at)),
            None => format!("/stay/{}", self.id),
        }
    }

    fn class(&self) -> String {
        let band = self.band().map_or("none", Band::code);
        let ended = if self.ended.is_some() { " ended" } else { "" };
        format!("bed {band}{ended}")
    }
}

/// Against the newest score at least [`CHANGE`] before.
fn change(known: &[&Moment], moment: &Moment) -> Option<f32> {
    let before = moment.t - CHANGE;
    let then = known.iter().rev().find(|m| m.t <= before && m.mortality.is_some())?;
    // A gap in the scores must not pass for a change in four hours.
    (before.since(then.t) <= CHANGE).then_some(moment.mortality? - then.mortality?)
}

/// The change with an arrow that a reader without colours can tell.
pub fn arrow(change: Option<f32>) -> Markup {
    let Some(change) = change else {
        return html! { span.change { span.hidden { "no change known in 4 h" } "–" } };
    };
    let (sign, word) = match change {
        c if c >= STEADY => ("▲", "up"),
        c if c <= -STEADY => ("▼", "down"),
        _ => ("▬", "steady"),
    };
    html! {
        span class=(format!("change {word}")) title="Change in 4 h, percentage points" {
            span aria-hidden="true" { (sign) }
            span.hidden { (word) " by " }
            (format::points(change))
            span.faint { " in 4 h" }
        }
    }
}

/// Age of the film: shape and words.
pub fn film_badge(age: Option<(Span, FilmAge)>) -> Markup {
    let kind = age.map(|(_, kind)| kind);
    let class = match kind {
        Some(FilmAge::Under12h) => "f0",
        Some(FilmAge::From12h) => "f12",
        Some(FilmAge::From24h) => "f24",
        Some(FilmAge::From36h) => "f36",
        None => "fno",
    };
    html! {
        span class=(format!("badge film {class}")) {
            span.shape aria-hidden="true" { (format::film_shape(kind)) }
            @match age {
                Some((age, _)) => { "CXR " (format::age(age)) },
                None => "no CXR",
            }
        }
    }
}

fn ehr_badge(age: Option<Span>) -> Markup {
    let stale = age.is_none_or(|age| age > Span::hours(4));
    html! {
        span.badge.ehr.stale[stale] {
            @match age {
                Some(age) => { "EHR " (format::age(age)) },
                None => "no EHR",
            }
            @if stale { span.hidden { ", stale" } }
        }
    }
}

/// The alert's state in words and shape; where nobody was disturbed it says so.
pub fn alert_badge(alert: Option<&AlertNote>) -> Markup {
    html! {
        @if let Some(note) = alert {
            span.badge.flag.alert title=(note.summary) {
                span aria-hidden="true" { "△ " }
                @if note.delivery == Mode::Silent { "silent " }
                @if note.subject == Subject::DataQuality { "technical " }
                "alert " (alert_state(note.state))
            }
        }
    }
}

fn notes(tile: &Tile<'_>) -> Markup {
    html! {
        (alert_badge(tile.alert))
        @if tile.newest.feed_missing { span.badge.flag { "⚑ feed silent" } }
        @if tile.newest.status == RiskStatus::Degraded { span.badge.flag { "degraded" } }
        @if tile.newest.status == RiskStatus::Retracted { span.badge.flag { "retracted" } }
        @if tile.newest.revision > 0 { span.badge.flag { "◆ corrected" } }
        @if let Some((end, at)) = tile.ended {
            span.badge.end { (format::end(end)) " " (format::short_stamp(at)) }
        }
    }
}

fn who(tile: &Tile<'_>) -> Markup {
    html! {
        @if let Some(years) = tile.age_years { (format::years(years)) " y" }
        @if let Some(sex) = tile.sex { " " (format::sex(sex)) }
    }
}

/// The stay as a tile. `at` is carried into the link.
pub fn tile(tile: &Tile<'_>, at: Option<EventTime>) -> Markup {
    html! {
        li class=(tile.class()) data-stay=(tile.id) {
            article aria-labelledby=(format!("bed-{}", tile.id)) {
                header {
                    h2 #(format!("bed-{}", tile.id)) {
                        a.bed-link href=(tile.link(at)) { (tile.id) }
                    }
                    p.who {
                        @if tile.age_years.is_some() || tile.sex.is_some() { span { (who(tile)) } }
                        @if let Some(day) = tile.day() { span { "day " (day) } }
                        @if let Some(unit) = tile.unit { span.unit { (unit) } }
                    }
                }
                div.risk-line {
                    @match (tile.risk(), tile.band()) {
                        (Some(risk), Some(band)) => {
                            p.risk { (format::percent(risk)) }
                            p.risk-words {
                                span class=(format!("band {}", band.code())) {
                                    (bars(band)) (band.word())
                                }
                                (arrow(tile.change))
                            }
                        },
                        _ => p.risk.no-score { "no score" },
                    }
                }
                (chart::trend(&tile.known, tile.now))
                p.badges { (film_badge(tile.film_age)) (ehr_badge(tile.ehr_age)) (notes(tile)) }
            }
        }
    }
}

/// The stay as a row of the dense table.
pub fn row(tile: &Tile<'_>, at: Option<EventTime>) -> Markup {
    html! {
        tr class=(tile.class()) data-stay=(tile.id) {
            th scope="row" { a.bed-link href=(tile.link(at)) { (tile.id) } }
            td { (who(tile)) }
            td.number { @if let Some(day) = tile.day() { (day) } }
            td.risk-cell {
                @match (tile.risk(), tile.band()) {
                    (Some(risk), Some(band)) => {
                        strong { (format::percent(risk)) } " "
                        span class=(format!("band {}", band.code())) { (bars(band)) (band.word()) }
                    },
                    _ => "no score",
                }
            }
            td { (arrow(tile.change)) }
            td.trend-cell { (chart::trend(&tile.known, tile.now)) }
            td { (film_badge(tile.film_age)) }
            td { (ehr_badge(tile.ehr_age)) }
            td { (notes(tile)) }
        }
    }
}

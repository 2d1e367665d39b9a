//! The ward page: one tile, or one row, for each stay.

mod query;
mod tile;

use maud::{Markup, html};

pub use query::{Asked, BoardQuery, ViewAs};
pub use tile::{Tile, alert_badge, arrow, film_badge, row, tile};

use super::format;
use super::page::{self, Chrome};
use super::ward::{Band, Ward};
use crate::event::risk::FilmAge;
use crate::time::EventTime;

/// All stays that had begun at `at` (`None`: now), in the order of their ids.
pub fn tiles(ward: &Ward, at: Option<EventTime>) -> Vec<Tile<'_>> {
    let Some(now) = at.or(ward.clock()) else { return Vec::new() };
    ward.stays().filter_map(|(id, stay)| Tile::new(id, stay, at, now)).collect()
}

/// The moment with the most stays in the unit, the earliest of them; `None` if there was never
/// more than one at once.
pub fn busiest(ward: &Ward) -> Option<EventTime> {
    let mut steps: Vec<(EventTime, i32)> = Vec::new();
    for (_, stay) in ward.stays() {
        let Some(begins) = stay.times().next() else { continue };
        let ends = stay.ended(None).map(|(_, at)| at).or(ward.clock()).unwrap_or(begins);
        steps.extend([(begins, 1), (ends, -1)]);
    }
    steps.sort_unstable();
    let (mut n, mut most, mut when) = (0, 1, None);
    for (at, step) in steps {
        n += step;
        if n > most {
            (most, when) = (n, Some(at));
        }
    }
    when
}

/// How many there are of what, in one line.
pub fn summary(tiles: &[Tile<'_>], now: EventTime) -> Markup {
    let here: Vec<&Tile<'_>> = tiles.iter().filter(|tile| tile.ended.is_none()).collect();
    let of = |band: Band| here.iter().filter(|tile| tile.band() == Some(band)).count();
    let old = here.iter().filter(|t| matches!(t.film_age, Some((_, FilmAge::From36h)))).count();
    let none = here.iter().filter(|tile| tile.film_age.is_none()).count();
    html! {
        dl.figures {
            div { dt { "In the unit" } dd { (here.len()) } }
            @for band in [Band::High, Band::Raised, Band::Low] {
                div class=(band.code()) {
                    dt { (page::bars(band)) (band.word()) }
                    dd { (of(band)) }
                }
            }
            div { dt { "Film 36 h or older" } dd { (old) } }
            div { dt { "No film" } dd { (none) } }
            div.asof { dt { "As of" } dd { time datetime=(format::machine(now)) {
                (format::stamp(now))
            } } }
        }
    }
}

/// The whole page.
pub fn page(ward: &Ward, query: &BoardQuery, chrome: &Chrome) -> Markup {
    let all = tiles(ward, query.at);
    let shown = query.choose(&all, ward, chrome.finished);
    let units = units(&all);
    let body = html! {
        div.title-line {
            h1 { "Ward" }
            @if let Some(now) = query.at.or(ward.clock()) {
                div #summary { (summary(&all, now)) }
            }
        }
        (query.form(&units))
        @if shown.is_empty() {
            (nothing(&all, ward, query))
        } @else if query.view == ViewAs::Table {
            (table(&shown, query))
        } @else {
            ul.tiles #beds {
                @for one in &shown { (tile(one, query.at)) }
            }
        }
        (legend())
    };
    page::frame(chrome, "Ward", page::Here::Ward, body)
}

fn units(tiles: &[Tile<'_>]) -> Vec<String> {
    let mut units: Vec<String> =
        tiles.iter().filter_map(|tile| tile.unit.map(str::to_owned)).collect();
    units.sort();
    units.dedup();
    units
}

fn table(shown: &[&Tile<'_>], query: &BoardQuery) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Stays" {
            table.beds {
                caption.hidden { "Stays and their risk of death in hospital" }
                thead { tr {
                    th scope="col" { "Stay" }
                    th scope="col" { "Age, sex" }
                    th scope="col" { "Day" }
                    th scope="col" { "Risk" }
                    th scope="col" { "4 h" }
                    th scope="col" { "24 h" }
                    th scope="col" { "Film" }
                    th scope="col" { "EHR" }
                    th scope="col" { "Notes" }
                } }
                tbody #beds { @for one in shown { (row(one, query.at)) } }
            }
        }
    }
}

fn nothing(all: &[Tile<'_>], ward: &Ward, query: &BoardQuery) -> Markup {
    html! {
        section.empty {
            @if ward.is_empty() {
                h2 { "Waiting for the first stay" }
                p { "Nothing has been told yet. This page fills by itself when the first window \
                     of the first stay is answered." }
            } @else {
                h2 { "No stay matches" }
                p { (all.len()) " stays are known at this moment; the filters above hide them. " }
                @if let Some(at) = query.at {
                    p { a href=(format!("/ward?at={}", format::machine(at))) {
                        "Clear the filters"
                    } }
                } @else {
                    p { a href="/ward?show=all" { "Show all, those that have ended as well" } }
                }
            }
        }
    }
}

fn legend() -> Markup {
    let ages = [
        (Some(FilmAge::Under12h), "under 12 h"),
        (Some(FilmAge::From12h), "12–24 h"),
        (Some(FilmAge::From24h), "24–36 h"),
        (Some(FilmAge::From36h), "36 h or older"),
        (None, "no film"),
    ];
    html! {
        aside.legend aria-label="Legend" {
            p { strong { "Risk" } " of death in hospital, calibrated: "
                @for (band, range) in Band::ALL.into_iter()
                    .zip(["under 10 %", "10–30 %", "30 % and more"]) {
                    span.key { span class=(format!("band {}", band.code())) {
                        (page::bars(band)) (band.word())
                    } " " (range) }
                }
                span.key { "The arrow is the change in 4 h, in percentage points." }
            }
            p { strong { "Film age" } " "
                @for (age, words) in ages {
                    span.key { span.shape aria-hidden="true" { (format::film_shape(age)) } " "
                        (words) }
                }
            }
            p { "Band edges are conventions of this display, not validated thresholds. A tile \
                 is hatched where the stay has ended, or has no score at this moment." }
        }
    }
}

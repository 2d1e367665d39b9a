//! What a person chose on the ward page: it all stands in the address, so that it can be kept as a
//! bookmark and sent to others.

use maud::{Markup, html};
use serde::Deserialize;

use super::Tile;
use crate::event::risk::FilmAge;
use crate::http::dashboard::format;
use crate::http::dashboard::ward::{Band, Ward};
use crate::time::EventTime;

/// Characters that are taken of a filter; more are cut off.
const MAX_TEXT: usize = 60;

/// The address as it came; whatever cannot be understood falls back to its default.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    sort: String,
    #[serde(default)]
    band: String,
    #[serde(default)]
    film: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    show: String,
    #[serde(default)]
    view: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    at: String,
    #[serde(default)]
    speed: String,
}

/// The choice, valid.
#[derive(Clone, Debug, Default)]
pub struct BoardQuery {
    pub sort: Sort,
    pub band: Option<Band>,
    pub film: Option<&'static str>,
    pub unit: String,
    pub show: Show,
    pub view: ViewAs,
    pub q: String,
    pub at: Option<EventTime>,
    pub speed: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Bed,
    Risk,
    Change,
    Film,
}

/// Which stays are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// Those in the unit; of a finished recording all.
    #[default]
    Auto,
    Here,
    All,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViewAs {
    #[default]
    Tiles,
    Table,
}

const SORTS: [(&str, Sort, &str); 4] = [
    ("bed", Sort::Bed, "Stay"),
    ("risk", Sort::Risk, "Risk"),
    ("change", Sort::Change, "Change in 4 h"),
    ("film", Sort::Film, "Age of film"),
];
const SHOWS: [(&str, Show, &str); 3] = [
    ("", Show::Auto, "as fits"),
    ("here", Show::Here, "in the unit"),
    ("all", Show::All, "all, ended too"),
];
const VIEWS: [(&str, ViewAs, &str); 2] =
    [("tiles", ViewAs::Tiles, "Tiles"), ("table", ViewAs::Table, "Table")];
const FILMS: [(&str, &str, Option<FilmAge>); 5] = [
    ("<12h", "under 12 h", Some(FilmAge::Under12h)),
    ("12-24h", "12–24 h", Some(FilmAge::From12h)),
    ("24-36h", "24–36 h", Some(FilmAge::From24h)),
    (">=36h", "36 h or older", Some(FilmAge::From36h)),
    ("none", "no film", None),
];

fn chosen<T: Copy + Default>(of: &[(&str, T, &str)], code: &str) -> T {
    of.iter().find(|(known, ..)| *known == code).map(|(_, value, _)| *value).unwrap_or_default()
}

impl From<Asked> for BoardQuery {
    fn from(asked: Asked) -> Self {
        let cut = |text: &str| text.trim().chars().take(MAX_TEXT).collect::<String>();
        BoardQuery {
            sort: chosen(&SORTS, &asked.sort),
            band: Band::ALL.into_iter().find(|band| band.code() == asked.band),
            film: FILMS.iter().map(|(code, ..)| *code).find(|code| *code == asked.film),
            unit: cut(&asked.unit),
            show: chosen(&SHOWS, &asked.show),
            view: chosen(&VIEWS, &asked.view),
            q: cut(&asked.q),
            at: format::parse_time(&asked.at),
            speed: crate::http::dashboard::live::speed(&asked.speed),
        }
    }
}

impl BoardQuery {
    /// The tiles that are asked for, in order. The order is stable: equal ones stand by stay id.
    pub fn choose<'a, 'w>(
        &self,
        all: &'a [Tile<'w>],
        ward: &Ward,
        finished: bool,
    ) -> Vec<&'a Tile<'w>> {
        let over = finished && self.at.is_none() && ward.clock().is_some();
        let ended_too = self.show == Show::All || self.show == Show::Auto && over;
        let film = |tile: &Tile<'_>| match self.film {
            None => true,
            Some("none") => tile.film_age.is_none(),
            Some(code) => tile.film_age.is_some_and(|(_, age)| age.name() == code),
        };
        let mut shown: Vec<&Tile<'w>> = all
            .iter()
            .filter(|tile| ended_too || tile.ended.is_none())
            .filter(|tile| self.band.is_none() || tile.band() == self.band)
            .filter(|tile| film(tile))
            .filter(|tile| self.unit.is_empty() || tile.unit == Some(self.unit.as_str()))
            .filter(|tile| self.q.is_empty() || tile.id.to_string().contains(&self.q))
            .collect();
        let least = f32::NEG_INFINITY;
        match self.sort {
            Sort::Bed => {}
            Sort::Risk => shown
                .sort_by(|a, b| b.risk().unwrap_or(least).total_cmp(&a.risk().unwrap_or(least))),
            Sort::Change => shown
                .sort_by(|a, b| b.change.unwrap_or(least).total_cmp(&a.change.unwrap_or(least))),
            Sort::Film => {
                shown.sort_by_key(|tile| {
                    std::cmp::Reverse(tile.film_age.map_or(i64::MAX, |(age, _)| age.as_millis()))
                });
            }
        }
        shown
    }

    /// The controls. They work without script: the button sends them.
    pub fn form(&self, units: &[String]) -> Markup {
        let view = VIEWS.iter().find(|(_, view, _)| *view == self.view).map_or("", |(c, ..)| c);
        html! {
            form.controls action="/ward" method="get" role="search" data-auto="" {
                @if let Some(at) = self.at {
                    input type="hidden" name="at" value=(format::machine(at));
                }
                label { span { "Find stay" }
                    input type="search" name="q" value=(self.q) inputmode="numeric"
                        maxlength="20" size="10" data-find="";
                }
                label { span { "Sort by" } select name="sort" {
                    @for (code, sort, words) in SORTS {
                        option value=(code) selected[sort == self.sort] { (words) }
                    }
                } }
                label { span { "Risk" } select name="band" {
                    option value="" { "any" }
                    @for band in Band::ALL {
                        option value=(band.code()) selected[self.band == Some(band)] {
                            (band.word())
                        }
                    }
                } }
                label { span { "Film" } select name="film" {
                    option value="" { "any" }
                    @for (code, words, _) in FILMS {
                        option value=(code) selected[self.film == Some(code)] { (words) }
                    }
                } }
                @if units.len() > 1 || !self.unit.is_empty() {
                    label { span { "Unit" } select name="unit" {
                        option value="" { "any" }
                        @for unit in units {
                            option value=(unit) selected[*unit == self.unit] { (unit) }
                        }
                    } }
                }
                label { span { "Stays" } select name="show" {
                    @for (code, show, words) in SHOWS {
                        option value=(code) selected[show == self.show] { (words) }
                    }
                } }
                fieldset.switch {
                    legend.hidden { "View" }
                    @for (code, _, words) in VIEWS {
                        label { input type="radio" name="view" value=(code)
                            checked[code == view]; span { (words) } }
                    }
                }
                button type="submit" { "Apply" }
            }
        }
    }
}

//! What is counted of the windows, and into which bins.

use serde::{Deserialize, Serialize};

use super::psi::{BINS_MAX, Distribution, bin, edges};
use super::seen::Seen;
use crate::event::risk::FilmAge;
use crate::metrics::Undefined;

/// Variables of a profile, at most; the dictionary has a third of them.
pub const VARIABLES_MAX: usize = 64;

/// The bin behind the strata of film age.
const NO_FILM: &str = "no film";

/// What a measure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Probability of in-hospital death.
    Score,
    /// Stratum of the film's age.
    FilmAge,
    /// Observations in the series.
    Facts,
    /// The newest value of a variable.
    Value,
    /// Whether a variable was not observed at all.
    Missing,
    /// Hours since a variable was last observed.
    Age,
}

/// A measure's bins and how the windows of the reference fell into them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    pub kind: Kind,
    /// Code in the dictionary, of what is measured of each variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// Of numbers, ascending; empty for the film's age and for missing ones, whose bins are fixed.
    pub edges: Vec<f64>,
    pub found: Distribution,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Score => "score",
            Kind::FilmAge => "film age",
            Kind::Facts => "facts in the series",
            Kind::Value => "value",
            Kind::Missing => "missing",
            Kind::Age => "hours since observed",
        }
    }

    /// Whether it is measured of each variable.
    pub const fn is_of_variable(self) -> bool {
        matches!(self, Kind::Value | Kind::Missing | Kind::Age)
    }

    /// Bins with the given edges.
    fn bins(self, edges: &[f64]) -> usize {
        match self {
            Kind::FilmAge => FilmAge::ALL.len() + 1,
            Kind::Missing => 2,
            Kind::Score | Kind::Facts | Kind::Value | Kind::Age => edges.len() + 1,
        }
    }

    /// The number of a window; `None` where the window has none.
    fn number(self, variable: &str, window: &Seen) -> Option<f64> {
        match self {
            Kind::Score => Some(window.score),
            Kind::Facts => Some(window.facts),
            Kind::Value => window.values.as_ref()?.get(variable).copied(),
            Kind::Age => window.ages.get(variable).copied(),
            Kind::FilmAge | Kind::Missing => None,
        }
    }

    /// The bin of a window; `None` where the window has no such number.
    fn bin(self, variable: &str, edges: &[f64], window: &Seen) -> Result<Option<usize>, Undefined> {
        match self {
            Kind::FilmAge => {
                let place = FilmAge::ALL.iter().position(|age| Some(*age) == window.film_age);
                Ok(Some(place.unwrap_or(FilmAge::ALL.len())))
            }
            Kind::Missing => Ok(Some(usize::from(!window.ages.contains_key(variable)))),
            _ => self.number(variable, window).map(|value| bin(edges, value)).transpose(),
        }
    }

    /// How the windows fall into bins with the given edges. Windows come in order of stay.
    pub(super) fn count(
        self,
        variable: &str,
        edges: &[f64],
        windows: &[Seen],
    ) -> Result<Distribution, Undefined> {
        let mut stays = Vec::new();
        for run in windows.chunk_by(|a, b| a.stay == b.stay) {
            let bins = run.iter().map(|window| self.bin(variable, edges, window));
            let bins: Vec<Option<usize>> = bins.collect::<Result<_, _>>()?;
            stays.push(bins.into_iter().flatten().collect());
        }
        Distribution::of(&stays, self.bins(edges))
    }

    /// Edges at the quantiles, each stay weighing the same.
    fn edges(self, variable: &str, windows: &[Seen]) -> Result<Vec<f64>, Undefined> {
        if matches!(self, Kind::FilmAge | Kind::Missing) {
            return Ok(Vec::new());
        }
        let mut weighted = Vec::new();
        for run in windows.chunk_by(|a, b| a.stay == b.stay) {
            let numbers: Vec<f64> =
                run.iter().filter_map(|window| self.number(variable, window)).collect();
            let weight = 1.0 / numbers.len().max(1) as f64;
            weighted.extend(numbers.into_iter().map(|number| (number, weight)));
        }
        edges(&weighted)
    }
}

impl Measure {
    /// `None` where too few stays have such a number for a share.
    pub(super) fn of(
        kind: Kind,
        variable: Option<&str>,
        windows: &[Seen],
    ) -> Result<Option<Self>, Undefined> {
        let code = variable.unwrap_or_default();
        let told = kind.edges(code, windows).and_then(|edges| {
            let found = kind.count(code, &edges, windows)?;
            Ok(Measure { kind, variable: variable.map(str::to_owned), edges, found })
        });
        match told {
            Ok(measure) => Ok(Some(measure)),
            Err(Undefined::Empty | Undefined::TooFew) => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// How other windows fall into the same bins.
    pub(super) fn again(&self, windows: &[Seen]) -> Result<Distribution, Undefined> {
        self.kind.count(self.variable.as_deref().unwrap_or_default(), &self.edges, windows)
    }

    /// Whether a measure that was read can be one.
    pub(super) fn holds(&self) -> bool {
        let ascending = self.edges.windows(2).all(|pair| pair.first() < pair.last());
        let finite = self.edges.iter().all(|edge| edge.is_finite());
        let bins = self.kind.bins(&self.edges);
        let fixed = matches!(self.kind, Kind::FilmAge | Kind::Missing);
        ascending
            && finite
            && (!fixed || self.edges.is_empty())
            && bins <= BINS_MAX
            && self.kind.is_of_variable() == self.variable.is_some()
            && self.found.shares.len() == bins
            && self.found.holds()
    }

    /// What each bin holds, in words.
    pub fn labels(&self) -> Vec<String> {
        match self.kind {
            Kind::FilmAge => {
                let ages = FilmAge::ALL.iter().map(|age| age.name().to_owned());
                ages.chain([NO_FILM.to_owned()]).collect()
            }
            Kind::Missing => ["observed", "missing"].map(str::to_owned).into(),
            _ => {
                let mut labels: Vec<String> =
                    self.edges.iter().map(|edge| format!("to {}", short(*edge))).collect();
                let above = self.edges.last().map(|edge| format!("above {}", short(*edge)));
                labels.push(above.unwrap_or_else(|| "all".to_owned()));
                labels
            }
        }
    }
}

/// Three significant digits.
fn short(value: f64) -> String {
    let digits = 2 - value.abs().max(1e-3).log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 5) as usize)
}

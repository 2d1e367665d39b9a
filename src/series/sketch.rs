//! The irregular series itself as a model input: for each variable, where its observations lie in
//! (value, age), without hours, imputation or a carried-forward value.
//!
//! Every observation is spread over the four knots around it in the ratio of its distances (linear
//! binning; Wand, "Fast computation of multivariate kernel estimators", 1994), so the sketch moves
//! continuously with time and value. What can be learned from it are weighted statistics of a
//! variable: means, counts, exceedances, recent against early, each with weights that are free
//! over both axes. Some plain statistics stand beside the cells. The age of an observation is
//! counted back from the moment of the prediction, so that a window at any hour reads alike.

use serde::{Deserialize, Serialize};

use crate::event::Sex;
use crate::event::dictionary::{Dictionary, Kind};
use crate::ids::VariableId;

/// Knots of the age axis, hours before the prediction. Older observations count as the oldest.
pub const AGES: [f64; 10] = [0.0, 2.0, 6.0, 12.0, 18.0, 24.0, 30.0, 36.0, 42.0, 48.0];

/// Where the knots of a numeric variable lie among its training values.
pub const QUANTILES: [f64; 9] = [0.005, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.995];

/// The standard normal's values at these quantiles: the scale of the plain statistics.
const NORMAL_SCORES: [f64; 9] =
    [-2.5758, -1.6449, -1.0364, -0.5244, 0.0, 0.5244, 1.0364, 1.6449, 2.5758];

/// Plain statistics behind the cells: first, last, least and greatest score, half the log of
/// 1 + count, recency of the newest (1 now, −1 at 48 h), the scores' deviation.
pub const PLAIN: usize = 7;

/// Two knots of one variable are at least this share of their size apart.
const KNOT_GAP: f64 = 1e-4;

/// Half of the age axis, hours.
const HALF_H: f64 = 24.0;

/// A number with so few decimals that its text reads back as the same number: with all of them,
/// the JSON reader may miss the last bit.
pub fn legible(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// One observation, as a sketch sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// Index in the scale: the dictionary's variables, then age, then sex.
    pub variable: usize,
    /// Hours before the prediction.
    pub age_h: f64,
    /// Canonical unit, or category index.
    pub value: f64,
}

/// The value axis of every variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Axis>", into = "Vec<Axis>")]
pub struct ValueScale {
    axes: Vec<Axis>,
    /// Knots of the longest axis.
    width: usize,
}

/// The knots of one variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    pub code: String,
    /// Ascending, in the variable's unit; the indices of a categorical variable.
    pub knots: Vec<f64>,
    /// What each knot counts as in the plain statistics.
    pub scores: Vec<f64>,
}

/// A scale that cannot place a value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the axis of {0} needs two or more ascending knots and as many finite scores")]
pub struct ScaleError(String);

/// The rows of one series, a row for each variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    /// Row-major, variables × [`ValueScale::features`]: cells age by age, then the plain ones.
    pub values: Vec<f32>,
    /// 1 for each variable that was observed.
    pub seen: Vec<f32>,
}

/// Index of the age of the patient behind the dictionary's variables.
pub fn age_index(dict: &Dictionary) -> usize {
    dict.variables().len()
}

/// Index of the sex behind the dictionary's variables.
pub fn sex_index(dict: &Dictionary) -> usize {
    dict.variables().len() + 1
}

/// The index that a sex counts as.
pub fn sex_value(sex: Sex) -> f64 {
    match sex {
        Sex::Female => 0.0,
        Sex::Male => 1.0,
    }
}

impl ValueScale {
    /// Knots at the quantiles of what was seen. A numeric variable that was never seen gets its
    /// plausible range.
    pub fn fit<'a>(dict: &Dictionary, seen: impl IntoIterator<Item = &'a Sighting>) -> Self {
        let mut values = vec![Vec::new(); dict.variables().len() + 2];
        for sighting in seen {
            if let Some(values) = values.get_mut(sighting.variable) {
                values.push(sighting.value);
            }
        }
        let mut values = values.into_iter();
        let mut axes = Vec::with_capacity(values.len());
        for variable in dict.variables() {
            let values = values.next().unwrap_or_default();
            axes.push(match &variable.kind {
                Kind::Numeric { plausible, .. } => {
                    Axis::numeric(&variable.code, values, *plausible)
                }
                Kind::Categorical { categories, .. } => {
                    Axis::categorical(&variable.code, categories.len())
                }
            });
        }
        let ages = values.next().unwrap_or_default();
        axes.push(Axis::numeric("age", ages, dict.statics().age_plausible));
        axes.push(Axis::categorical("sex", 2));
        ValueScale::of(axes)
    }

    fn of(axes: Vec<Axis>) -> Self {
        let width = axes.iter().map(|axis| axis.knots.len()).max().unwrap_or(0);
        ValueScale { axes, width }
    }

    /// Rows of a sketch.
    pub fn variables(&self) -> usize {
        self.axes.len()
    }

    /// Cells of a row.
    pub fn cells(&self) -> usize {
        AGES.len() * self.width
    }

    /// Numbers of a row.
    pub fn features(&self) -> usize {
        self.cells() + PLAIN
    }

    /// Scores of a value axis, one for each of the `width` places; for first weights.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// The sketch of a series, whatever the order of its observations. Those of variables that the
    /// scale does not have are left out.
    pub fn sketch(&self, seen: &[Sighting]) -> Sketch {
        let mut order: Vec<&Sighting> =
            seen.iter().filter(|sighting| sighting.variable < self.axes.len()).collect();
        // Oldest first; what was observed at one moment by value, so no order of arrival shows.
        order.sort_by(|a, b| {
            let by_age = b.age_h.total_cmp(&a.age_h);
            a.variable.cmp(&b.variable).then(by_age).then(a.value.total_cmp(&b.value))
        });
        let features = self.features();
        let mut values = vec![0.0; self.axes.len() * features];
        let mut present = vec![0.0; self.axes.len()];
        for run in order.chunk_by(|a, b| a.variable == b.variable) {
            let Some(first) = run.first() else { continue };
            let row = &mut values[first.variable * features..][..features];
            self.fill(row, run);
            present[first.variable] = 1.0;
        }
        Sketch { values, seen: present }
    }

    /// One variable's row of observations in order.
    fn fill(&self, row: &mut [f32], run: &[&Sighting]) {
        let (cells, plain) = row.split_at_mut(self.cells());
        let (mut sum, mut squares) = (0.0, 0.0);
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut oldest, mut newest) = (0.0, 0.0);
        for (i, sighting) in run.iter().enumerate() {
            let axis = &self.axes[sighting.variable];
            let (value, beyond) = place(&axis.knots, sighting.value);
            let (age, older) = place(&AGES, sighting.age_h);
            for (age, share) in [(age, 1.0 - older), (age + 1, older)] {
                cells[age * self.width + value] += (share * (1.0 - beyond)) as f32;
                cells[age * self.width + value + 1] += (share * beyond) as f32;
            }
            let score = axis.scores[value] * (1.0 - beyond) + axis.scores[value + 1] * beyond;
            (sum, squares) = (sum + score, squares + score * score);
            (least, greatest) = (f64::min(least, score), f64::max(greatest, score));
            if i == 0 {
                oldest = score;
            }
            newest = score;
        }
        let n = run.len() as f64;
        let age_h = run.last().map_or(0.0, |last| last.age_h.clamp(0.0, 2.0 * HALF_H));
        let deviation = (squares / n - (sum / n).powi(2)).max(0.0).sqrt();
        let all =
            [oldest, newest, least, greatest, 0.5 * n.ln_1p(), 1.0 - age_h / HALF_H, deviation];
        for (place, value) in plain.iter_mut().zip(all) {
            *place = value as f32;
        }
    }
}

/// The knot below a value and how far it lies towards the next, 0 to 1.
fn place(knots: &[f64], value: f64) -> (usize, f64) {
    let last = knots.len().saturating_sub(2);
    let above = knots.partition_point(|&knot| knot <= value);
    let below = above.saturating_sub(1).min(last);
    match (knots.get(below), knots.get(below + 1)) {
        (Some(&low), Some(&high)) => (below, ((value - low) / (high - low)).clamp(0.0, 1.0)),
        _ => (0, 0.0),
    }
}

impl Axis {
    fn numeric(code: &str, mut values: Vec<f64>, plausible: (f64, f64)) -> Self {
        values.sort_by(f64::total_cmp);
        let mut knots: Vec<f64> = QUANTILES
            .iter()
            .map(|&share| match values.len() {
                0 => plausible.0 + share * (plausible.1 - plausible.0),
                n => values[((n - 1) as f64 * share).round() as usize],
            })
            .collect();
        for i in 1..knots.len() {
            let least = knots[i - 1] + KNOT_GAP * knots[i - 1].abs().max(1.0);
            knots[i] = knots[i].max(least);
        }
        let knots = knots.into_iter().map(legible).collect();
        Axis { code: code.to_owned(), knots, scores: NORMAL_SCORES.to_vec() }
    }

    fn categorical(code: &str, n: usize) -> Self {
        // A second knot so that a variable of one category has a place, too.
        let n = n.max(2);
        let score = |i: usize| legible(2.0 * i as f64 / (n - 1) as f64 - 1.0);
        Axis {
            code: code.to_owned(),
            knots: (0..n).map(|i| i as f64).collect(),
            scores: (0..n).map(score).collect(),
        }
    }

    fn is_sound(&self) -> bool {
        let all = || self.knots.iter().chain(&self.scores);
        self.knots.len() >= 2
            && self.knots.len() == self.scores.len()
            && all().all(|number| number.is_finite())
            && self.knots.windows(2).all(|pair| pair[0] < pair[1])
    }
}

impl TryFrom<Vec<Axis>> for ValueScale {
    type Error = ScaleError;

    fn try_from(axes: Vec<Axis>) -> Result<Self, ScaleError> {
        match axes.iter().find(|axis| !axis.is_sound()) {
            Some(axis) => Err(ScaleError(axis.code.clone())),
            None => Ok(ValueScale::of(axes)),
        }
    }
}

impl From<ValueScale> for Vec<Axis> {
    fn from(scale: ValueScale) -> Self {
        scale.axes
    }
}

/// Sightings of a series at `hours` after its start, of age and of sex where they are known.
pub fn sightings(
    rows: impl IntoIterator<Item = (VariableId, f64, f64)>,
    age_years: Option<u8>,
    sex: Option<Sex>,
    dict: &Dictionary,
) -> Vec<Sighting> {
    let series = rows.into_iter().map(|(variable, age_h, value)| Sighting {
        variable: usize::from(variable.0),
        age_h,
        value,
    });
    let age = age_years.map(|years| (age_index(dict), f64::from(years)));
    let sex = sex.map(|sex| (sex_index(dict), sex_value(sex)));
    let oldest = 2.0 * HALF_H;
    let fixed = age.into_iter().chain(sex);
    let fixed = fixed.map(|(variable, value)| Sighting { variable, age_h: oldest, value });
    series.chain(fixed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> (Dictionary, ValueScale) {
        let dict = Dictionary::physionet2012().unwrap();
        let heart = usize::from(dict.by_code("heart_rate").unwrap().0);
        let seen: Vec<Sighting> = (0..=200)
            .map(|i| Sighting { variable: heart, age_h: 1.0, value: 40.0 + f64::from(i) / 2.0 })
            .collect();
        let scale = ValueScale::fit(&dict, &seen);
        (dict, scale)
    }

    fn sighting(dict: &Dictionary, code: &str, age_h: f64, value: f64) -> Sighting {
        Sighting { variable: usize::from(dict.by_code(code).unwrap().0), age_h, value }
    }

    #[test]
    fn knots_lie_at_the_quantiles_and_categories_at_their_indices() {
        let (dict, scale) = scale();
        let axis = |index: usize| &scale.axes()[index];
        let heart = axis(usize::from(dict.by_code("heart_rate").unwrap().0));
        assert_eq!((heart.knots[0], heart.knots[4], heart.knots[8]), (40.5, 90.0, 139.5));
        let icu = axis(usize::from(dict.by_code("icu_type").unwrap().0));
        assert_eq!(icu.knots, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(axis(sex_index(&dict)).scores, [-1.0, 1.0]);
        let json = serde_json::to_string(&scale).unwrap();
        assert_eq!(serde_json::from_str::<ValueScale>(&json).unwrap(), scale);
        let bad = json.replacen("40.5", "400.5", 1);
        assert!(serde_json::from_str::<ValueScale>(&bad).is_err());
    }

    #[test]
    fn each_observation_weighs_one_and_moves_continuously() {
        let (dict, scale) = scale();
        let of = |age_h: f64, value: f64| {
            scale.sketch(&[sighting(&dict, "heart_rate", age_h, value)]).values
        };
        for (age_h, value) in [(0.0, 90.0), (3.1, 47.0), (47.9, 500.0), (300.0, -2.0)] {
            let (here, near) = (of(age_h, value), of(age_h + 1e-4, value + 1e-4));
            let row = usize::from(dict.by_code("heart_rate").unwrap().0) * scale.features();
            let cells: f32 = here[row..row + scale.cells()].iter().sum();
            assert!((cells - 1.0).abs() < 1e-6, "{cells}");
            let moved = here.iter().zip(&near).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(moved < 1e-3, "{moved}");
            assert!(here[..row].iter().all(|other| *other == 0.0), "other variables are empty");
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_show() {
        let (dict, scale) = scale();
        let all = [
            sighting(&dict, "heart_rate", 3.0, 80.0),
            sighting(&dict, "heart_rate", 3.0, 120.0),
            sighting(&dict, "lactate", 3.0, 2.0),
            sighting(&dict, "heart_rate", 30.0, 60.0),
        ];
        let mut turned = all;
        turned.reverse();
        assert_eq!(scale.sketch(&all), scale.sketch(&turned));
        turned.swap(0, 2);
        let sketch = scale.sketch(&all);
        assert_eq!(sketch, scale.sketch(&turned));
        assert_eq!(sketch.seen.iter().sum::<f32>(), 2.0);
        let row = usize::from(dict.by_code("heart_rate").unwrap().0) * scale.features();
        let plain = &sketch.values[row + scale.cells()..][..PLAIN];
        // Oldest and least 60, greatest 120, three of them, the newest 3 h ago.
        assert_eq!(plain[0], plain[2]);
        assert!(plain[3] > plain[0] && (plain[4] - 0.5 * 4f32.ln()).abs() < 1e-6);
        assert!((plain[5] - 0.875).abs() < 1e-6);
    }
}

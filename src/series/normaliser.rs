//! Scaling of the grid's numeric columns to zero mean and unit deviation.
//!
//! The files of the published pipeline hold 79 entries, of which 66 (one-hot, sex and mask
//! columns, some with a deviation of 1e-7) must not be applied (`reference/ddl-cxr.md` 1.8).

use serde::{Deserialize, Serialize};

use super::Grid;
use crate::event::dictionary::GRID_COLUMNS;

/// The columns that are scaled: the numeric variables and the age.
pub const NORMALISED_COLUMNS: [usize; 13] = [2, 3, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 61];

/// Deviations below this come from a column that never varied; it is then left at 1.
const STD_MIN: f64 = 1e-7;

/// Mean and standard deviation of each of the 79 columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Columns", into = "Columns")]
pub struct Normaliser {
    mean: [f64; GRID_COLUMNS],
    std: [f64; GRID_COLUMNS],
}

#[derive(Debug, thiserror::Error)]
pub enum NormaliserError {
    #[error("a normaliser has {GRID_COLUMNS} means and deviations, this one has {0} and {1}")]
    Columns(usize, usize),
    #[error("column {0} of the normaliser needs a finite mean and a deviation above {STD_MIN}")]
    Value(usize),
}

/// How it is written.
#[derive(Serialize, Deserialize)]
struct Columns {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Normaliser {
    /// From 79 means and 79 standard deviations; those of columns that are not scaled are ignored.
    pub fn new(mean: &[f64], std: &[f64]) -> Result<Self, NormaliserError> {
        let wrong = || NormaliserError::Columns(mean.len(), std.len());
        let (mean, std) = (
            <[f64; GRID_COLUMNS]>::try_from(mean).map_err(|_| wrong())?,
            <[f64; GRID_COLUMNS]>::try_from(std).map_err(|_| wrong())?,
        );
        let sound = |&c: &usize| mean[c].is_finite() && std[c].is_finite() && std[c] > STD_MIN;
        match NORMALISED_COLUMNS.iter().find(|column| !sound(column)) {
            Some(&column) => Err(NormaliserError::Value(column)),
            None => Ok(Normaliser { mean, std }),
        }
    }

    /// Mean and deviation over all hours of the grids.
    pub fn fit<'a>(grids: impl IntoIterator<Item = &'a Grid>) -> Self {
        let mut fit = NormaliserFit::default();
        grids.into_iter().for_each(|grid| fit.add(&grid.values));
        fit.finish()
    }

    pub fn mean(&self) -> &[f64; GRID_COLUMNS] {
        &self.mean
    }

    pub fn std(&self) -> &[f64; GRID_COLUMNS] {
        &self.std
    }

    /// Scales the numeric columns in place; the 0/1 columns stay as they are.
    pub fn apply(&self, grid: &mut Grid) {
        self.apply_to(&mut grid.values);
    }

    /// The same for a grid's values alone, row by row with 79 columns.
    pub fn apply_to(&self, values: &mut [f64]) {
        for line in values.chunks_exact_mut(GRID_COLUMNS) {
            for column in NORMALISED_COLUMNS {
                line[column] = (line[column] - self.mean[column]) / self.std[column];
            }
        }
    }
}

/// Mean and deviation of grids that are shown one after the other (Welford, so that no sum grows
/// large).
pub struct NormaliserFit {
    mean: [f64; GRID_COLUMNS],
    squares: [f64; GRID_COLUMNS],
    n: f64,
}

impl Default for NormaliserFit {
    fn default() -> Self {
        NormaliserFit { mean: [0.0; GRID_COLUMNS], squares: [0.0; GRID_COLUMNS], n: 0.0 }
    }
}

impl NormaliserFit {
    /// One grid's values, row by row with 79 columns.
    pub fn add(&mut self, values: &[f64]) {
        for line in values.chunks_exact(GRID_COLUMNS) {
            self.n += 1.0;
            for column in NORMALISED_COLUMNS {
                let off = line[column] - self.mean[column];
                self.mean[column] += off / self.n;
                self.squares[column] += off * (line[column] - self.mean[column]);
            }
        }
    }

    pub fn finish(self) -> Normaliser {
        let std = self.squares.map(|sum: f64| {
            let std = (sum / (self.n - 1.0_f64).max(1.0)).sqrt();
            if std > STD_MIN { std } else { 1.0 }
        });
        Normaliser { mean: self.mean, std }
    }
}

impl TryFrom<Columns> for Normaliser {
    type Error = NormaliserError;

    fn try_from(columns: Columns) -> Result<Self, NormaliserError> {
        Normaliser::new(&columns.mean, &columns.std)
    }
}

impl From<Normaliser> for Columns {
    fn from(normaliser: Normaliser) -> Self {
        Columns { mean: normaliser.mean.to_vec(), std: normaliser.std.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Sex;
    use crate::event::dictionary::{Dictionary, Profile};
    use crate::ids::VariableId;
    use crate::series::{GridSpan, Row, StaticFacts, hourly};
    use crate::time::EventTime;

    fn grid(age_years: u8) -> Grid {
        let dict = Dictionary::builtin(Profile::Clinical).unwrap();
        let statics = StaticFacts { age_years, sex: Sex::Female };
        let at = |hour: i64| EventTime::from_millis(hour * 3_600_000);
        let rows: Vec<Row> = (1..20)
            .map(|h| Row { at: at(h), variable: VariableId(8), value: 60.0 + h as f64 })
            .collect();
        hourly(&rows, GridSpan::prediction(at(0), at(20)), statics, &dict)
    }

    #[test]
    fn what_was_fitted_has_mean_0_and_deviation_1() {
        let mut grids = [grid(40), grid(80)];
        let fitted = Normaliser::fit(&grids);
        grids.iter_mut().for_each(|grid| fitted.apply(grid));
        for column in [50, 61] {
            let all: Vec<f64> = grids
                .iter()
                .flat_map(|grid| grid.values.chunks_exact(GRID_COLUMNS))
                .map(|line| line[column])
                .collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let var = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (all.len() - 1) as f64;
            assert!(mean.abs() < 1e-12 && (var - 1.0).abs() < 1e-12, "{column}: {mean} {var}");
        }
        assert_eq!(grids[0].bin(0)[7], 1.0);
        assert_eq!(grids[0].bin(0)[2], 0.0);
    }

    #[test]
    fn it_round_trips_and_refuses_what_cannot_scale() {
        let fitted = Normaliser::fit([&grid(40)]);
        let json = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<Normaliser>(&json).unwrap(), fitted);
        assert!(Normaliser::new(&[0.0; 78], &[1.0; 79]).is_err());
        let mut std = [1.0; 79];
        std[0] = 0.0;
        assert!(Normaliser::new(&[0.0; 79], &std).is_ok());
        std[50] = 0.0;
        assert!(Normaliser::new(&[0.0; 79], &std).is_err());
        std[50] = f64::NAN;
        assert!(Normaliser::new(&[0.0; 79], &std).is_err());
    }
}

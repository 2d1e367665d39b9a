//! From stays to what an encoder reads, and what both kinds learn of the training stays first: the
//! value axes of a sketch, or means and deviations of the hourly grid.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::recipe::{EhrRecipe, EncoderKind};
use super::record::{HOURS, Record};
use crate::event::Sex;
use crate::event::dictionary::{Dictionary, Kind};
use crate::model::config::{EhrEncoderConfig, EventEncoderConfig, Pool, SeriesEncoderConfig};
use crate::series::sketch::{AGES, PLAIN, Sighting, Sketch, ValueScale, legible, sightings};
use crate::series::{GridSpan, StaticFacts, hourly};
use crate::time::{EventTime, Span};

/// A column of the grid that hardly varies is not stretched.
const DEVIATION_MIN: f64 = 1e-5;

/// What was learned of the training stays before any network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    Events(ValueScale),
    Grid(GridScale),
}

/// Mean and deviation of each column of the grid; 0 and 1 for those that hold 0 or 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridScale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// A stay, ready to become rows.
#[derive(Clone, Debug)]
pub(super) enum Prepared {
    Events(Vec<Sighting>),
    /// 48 hours × columns, scaled.
    Grid(Vec<f32>),
}

/// How much of a series is left out while learning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drops {
    pub(super) observations: f64,
    pub(super) variables: f64,
}

/// Rows of a batch, stay by stay.
pub(super) struct Rows {
    /// `[batch, rows, features]`
    pub(super) values: Vec<f32>,
    /// `[batch, rows]`
    pub(super) keep: Vec<f32>,
    pub(super) shape: [usize; 3],
}

impl Scaling {
    /// Learned of the training stays only.
    pub(super) fn fit(kind: EncoderKind, records: &[&Record], dict: &Dictionary) -> Self {
        match kind {
            EncoderKind::Events => {
                let seen: Vec<Sighting> =
                    records.iter().flat_map(|record| seen(record, dict)).collect();
                Scaling::Events(ValueScale::fit(dict, &seen))
            }
            EncoderKind::Grid => {
                let grids: Vec<Vec<f64>> =
                    records.iter().map(|record| grid(record, dict)).collect();
                Scaling::Grid(GridScale::fit(&grids, dict))
            }
        }
    }

    /// The encoder of the recipe's sizes for these inputs.
    pub(super) fn encoder(&self, recipe: &EhrRecipe, dict: &Dictionary) -> SeriesEncoderConfig {
        match self {
            Scaling::Events(scale) => SeriesEncoderConfig::Events(EventEncoderConfig {
                variables: scale.variables(),
                knots: scale.cells() / AGES.len(),
                ages: AGES.len(),
                plain: PLAIN,
                statistics: recipe.events.statistics,
                d_model: recipe.events.d_model,
                squeeze: recipe.events.squeeze,
                dropout: recipe.events.dropout,
                labels: None,
            }),
            Scaling::Grid(_) => SeriesEncoderConfig::Grid(EhrEncoderConfig {
                feat_dim: dict.columns(),
                max_len: HOURS as usize,
                d_model: recipe.grid.d_model,
                n_heads: recipe.grid.n_heads,
                num_layers: recipe.grid.num_layers,
                dim_feedforward: recipe.grid.dim_feedforward,
                dropout: recipe.grid.dropout,
                pool: Pool::Mean,
                labels: None,
            }),
        }
    }

    pub(super) fn prepare(&self, record: &Record, dict: &Dictionary) -> Prepared {
        match self {
            Scaling::Events(_) => Prepared::Events(seen(record, dict)),
            Scaling::Grid(scale) => Prepared::Grid(scale.apply(&grid(record, dict))),
        }
    }

    /// The rows of a batch. With `drops`, sketches lose part of what was seen.
    pub(super) fn rows(
        &self,
        stays: &[&Prepared],
        mut drops: Option<(Drops, &mut ChaCha8Rng)>,
    ) -> Rows {
        let (mut values, mut keep) = (Vec::new(), Vec::new());
        for stay in stays {
            match (self, stay) {
                (Scaling::Events(scale), Prepared::Events(seen)) => {
                    let sketch = match &mut drops {
                        Some((drops, rng)) => drops.thinned(seen, scale, rng),
                        None => scale.sketch(seen),
                    };
                    values.extend(sketch.values);
                    keep.extend(sketch.seen);
                }
                (_, Prepared::Grid(hours)) => {
                    values.extend_from_slice(hours);
                    keep.extend([1.0; HOURS as usize]);
                }
                // A stay that was prepared for the other encoder has no rows here.
                (Scaling::Grid(_), Prepared::Events(_)) => {}
            }
        }
        let rows = keep.len() / stays.len().max(1);
        let features = values.len() / keep.len().max(1);
        Rows { values, keep, shape: [stays.len(), rows, features] }
    }
}

impl Drops {
    /// A sketch of part of the series; what was known at admission is never thinned.
    fn thinned(self, seen: &[Sighting], scale: &ValueScale, rng: &mut ChaCha8Rng) -> Sketch {
        let rate = self.observations * rng.random::<f64>();
        let mut stays = |sighting: &&Sighting| {
            let is_drawn = rng.random::<f64>() >= rate;
            is_drawn || sighting.age_h >= HOURS as f64
        };
        let left: Vec<Sighting> = seen.iter().filter(&mut stays).copied().collect();
        let mut sketch = scale.sketch(&left);
        for seen in &mut sketch.seen {
            if rng.random::<f64>() < self.variables {
                *seen = 0.0;
            }
        }
        sketch
    }
}

/// Everything of a record, with its age at the end of the record.
fn seen(record: &Record, dict: &Dictionary) -> Vec<Sighting> {
    let end = EventTime::from_millis(0).saturating_add(Span::hours(HOURS));
    let rows =
        record.rows.iter().map(|row| (row.variable, end.since(row.at).as_hours(), row.value));
    sightings(rows, record.age_years, record.sex, dict)
}

/// The hourly grid of a record, not scaled. Where age or sex is not known, the dictionary's normal
/// stands in, as for everything else in this grid.
fn grid(record: &Record, dict: &Dictionary) -> Vec<f64> {
    let start = EventTime::from_millis(0);
    let end = start.saturating_add(Span::hours(HOURS));
    let span = GridSpan::Fixed { from: start, to: end, bins: HOURS as usize };
    let rules = dict.statics();
    let normal = if rules.sex_normal == 0 { Sex::Female } else { Sex::Male };
    let facts = StaticFacts {
        age_years: record.age_years.unwrap_or(rules.age_normal as u8),
        sex: record.sex.unwrap_or(normal),
    };
    hourly(&record.rows, span, facts, dict).values
}

impl GridScale {
    fn fit(grids: &[Vec<f64>], dict: &Dictionary) -> Self {
        let columns = dict.columns();
        let (mut mean, mut deviation) = (vec![0.0; columns], vec![1.0; columns]);
        let numeric = dict.variables().iter().filter_map(|variable| match variable.kind {
            Kind::Numeric { .. } => variable.columns.map(|columns| columns.first),
            Kind::Categorical { .. } => None,
        });
        for column in numeric.chain([dict.statics().age_column]) {
            let values = || grids.iter().flat_map(|grid| grid.iter().skip(column).step_by(columns));
            let n = values().count().max(1) as f64;
            let middle = values().sum::<f64>() / n;
            let spread = (values().map(|v| (v - middle).powi(2)).sum::<f64>() / n).sqrt();
            mean[column] = legible(middle);
            deviation[column] = if spread > DEVIATION_MIN { legible(spread) } else { 1.0 };
        }
        GridScale { mean, deviation }
    }

    fn apply(&self, grid: &[f64]) -> Vec<f32> {
        let scales = self.mean.iter().zip(&self.deviation).cycle();
        grid.iter().zip(scales).map(|(v, (mean, spread))| ((v - mean) / spread) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::series::Row;

    fn record(values: &[(&str, i64, f64)]) -> Record {
        let dict = Dictionary::physionet2012().unwrap();
        let row = |&(code, minute, value): &(&str, i64, f64)| Row {
            at: EventTime::from_millis(minute * 60_000),
            variable: dict.by_code(code).unwrap(),
            value,
        };
        let rows = values.iter().map(row).collect();
        Record { id: 1, age_years: Some(70), sex: None, rows }
    }

    #[test]
    fn thinning_leaves_out_observations_but_not_who_the_patient_is() {
        let dict = Dictionary::physionet2012().unwrap();
        let beats: Vec<(&str, i64, f64)> =
            (0..48).map(|h| ("heart_rate", 60 * h + 30, 80.0)).collect();
        let record = record(&[&[("icu_type", 0, 1.0)], &beats[..]].concat());
        let scaling = Scaling::fit(EncoderKind::Events, &[&record], &dict);
        let (Scaling::Events(scale), Prepared::Events(seen)) =
            (&scaling, scaling.prepare(&record, &dict))
        else {
            panic!("another kind")
        };
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let heart = usize::from(dict.by_code("heart_rate").unwrap().0);
        let heart = heart * scale.features()..heart * scale.features() + scale.cells();
        let mut left = Vec::new();
        for _ in 0..40 {
            let drops = Drops { observations: 1.0, variables: 0.0 };
            let sketch = drops.thinned(&seen, scale, &mut rng);
            // The ICU and the age are always there; no sex is known.
            assert!((2.0..=3.0).contains(&sketch.seen.iter().sum::<f32>()));
            left.push(sketch.values[heart.clone()].iter().sum::<f32>());
        }
        let mean = left.iter().sum::<f32>() / 40.0;
        assert!((14.0..34.0).contains(&mean), "half of 48 on average: {mean}");
        let all = Drops { observations: 0.0, variables: 1.0 }.thinned(&seen, scale, &mut rng);
        assert_eq!(all.seen.iter().sum::<f32>(), 0.0);
    }

    #[test]
    fn rows_have_the_shape_that_the_encoder_asks_for() {
        let dict = Dictionary::physionet2012().unwrap();
        let records = [
            record(&[("heart_rate", 5, 70.0), ("heart_rate", 90, 80.0)]),
            record(&[("lactate", 2_880, 4.0), ("icu_type", 0, 1.0)]),
        ];
        let all: Vec<&Record> = records.iter().collect();
        for kind in [EncoderKind::Events, EncoderKind::Grid] {
            let scaling = Scaling::fit(kind, &all, &dict);
            let prepared: Vec<Prepared> = all.iter().map(|r| scaling.prepare(r, &dict)).collect();
            let stays: Vec<&Prepared> = prepared.iter().collect();
            let rows = scaling.rows(&stays, None);
            let wanted = match scaling.encoder(&EhrRecipe::parse("").unwrap(), &dict) {
                SeriesEncoderConfig::Events(config) => {
                    config.check().unwrap();
                    [2, config.variables, config.knots * config.ages + config.plain]
                }
                SeriesEncoderConfig::Grid(config) => {
                    config.check().unwrap();
                    [2, config.max_len, config.feat_dim]
                }
            };
            assert_eq!(rows.shape, wanted);
            assert!(rows.values.iter().all(|value| value.is_finite()));
            let counted: f32 = rows.keep.iter().sum();
            // Each stay has two variables and an age; no sex is known.
            assert_eq!(counted, if kind == EncoderKind::Events { 5.0 } else { 96.0 });
            let json = serde_json::to_string(&scaling).unwrap();
            assert_eq!(serde_json::from_str::<Scaling>(&json).unwrap(), scaling);
        }
    }
}

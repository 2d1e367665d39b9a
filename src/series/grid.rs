//! The hourly grid that the models read: 62 value columns and 17 observation masks an hour
//! (`reference/ddl-cxr.md` 1.8 and 1.9, the extension to other times in 4.1).
//!
//! The last value of an hour wins, earlier values are carried forward, the normal value stands in
//! before the first. Values are held inside the clamp here; scaling is the normaliser's business.

use super::{Row, StaticFacts};
use crate::event::Sex;
use crate::event::dictionary::{Columns, Dictionary, Kind, Profile, Variable};
use crate::time::{EventTime, Span};

/// Bins that the prediction model reads.
pub const PREDICTION_BINS: usize = 48;

/// Bins that the generation's EHR encoder has positions for.
pub const GENERATION_BINS_MAX: usize = 70;

/// `n_bins` rows of as many columns as the dictionary has: 79 for the DDL-CXR models.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub n_bins: usize,
    /// Row-major, `n_bins` × columns.
    pub values: Vec<f64>,
    /// (hour, variable) cells that hold an observation.
    pub n_observed: usize,
    /// Variables that could have been observed.
    n_channels: usize,
}

/// Which rows are used, and how their hours are counted. Both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridSpan {
    /// Hours counted from the first row, as many as there are: training pairs and generation.
    Relative { from: EventTime, to: EventTime, legacy: LegacyDrop },
    /// Exactly `bins` hours counted from `from`: prediction.
    Fixed { from: EventTime, to: EventTime, bins: usize },
}

/// The published code's defect B1: with hours counted from the first row it also drops the rows
/// whose time since that row is less than that row's time since admission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacyDrop {
    #[default]
    Off,
    /// Reproduces the defect, for an ablation.
    On { admitted_at: EventTime },
}

impl GridSpan {
    /// The generation's span; one longer than the encoder's 70 positions keeps its newest part.
    pub fn generation(from: EventTime, to: EventTime) -> Self {
        let cap = to - Span::hours(GENERATION_BINS_MAX as i64);
        GridSpan::Relative { from: from.max(cap), to, legacy: LegacyDrop::Off }
    }

    /// The prediction's span: the last min(48, ⌈t⌉) hours, counted from max(0, t − 48). At 48 h
    /// after admission this is the published input; elsewhere it is our extension of it.
    pub fn prediction(admitted_at: EventTime, t: EventTime) -> Self {
        let window = Span::hours(PREDICTION_BINS as i64);
        let from = admitted_at.max(t - window);
        let hours = hours_up(t.since(from));
        GridSpan::Fixed { from, to: t, bins: hours.clamp(1, PREDICTION_BINS) }
    }

    /// The same span with the published defect, if it is counted from the first row.
    pub fn with_legacy(self, legacy: LegacyDrop) -> Self {
        match self {
            GridSpan::Relative { from, to, .. } => GridSpan::Relative { from, to, legacy },
            fixed => fixed,
        }
    }

    fn ends(self) -> (EventTime, EventTime) {
        match self {
            GridSpan::Relative { from, to, .. } | GridSpan::Fixed { from, to, .. } => (from, to),
        }
    }
}

/// Whole hours, rounded up; 0 for a negative length.
fn hours_up(span: Span) -> usize {
    let (ms, hour) = (span.as_millis(), Span::HOUR.as_millis());
    usize::try_from(ms.div_euclid(hour) + i64::from(ms.rem_euclid(hour) > 0)).unwrap_or(0)
}

/// The published bin of a row: the hours since the start less 1e-6, cut towards zero, so that a
/// row exactly on the hour belongs to the hour that it ends and one at 0 to the first. 1e-6 h is
/// 3.6 ms; tenths of a millisecond make the arithmetic exact.
fn bin(ms: i64) -> i64 {
    (ms.saturating_mul(10).saturating_sub(36)) / (Span::HOUR.as_millis() * 10)
}

/// Where each row of a span falls.
struct Bins {
    start: EventTime,
    n: usize,
    to: EventTime,
    from: EventTime,
    /// Rows nearer to the start than this (tenths of a millisecond) are dropped: defect B1.
    drop_below: Option<i64>,
}

impl Bins {
    fn of(rows: &[Row], span: GridSpan) -> Self {
        let (from, to) = span.ends();
        match span {
            GridSpan::Fixed { bins, .. } => {
                Bins { start: from, n: bins.max(1), to, from, drop_below: None }
            }
            GridSpan::Relative { legacy, .. } => {
                let inside = || rows.iter().filter(|row| (from..=to).contains(&row.at));
                let first = inside().map(|row| row.at).min();
                let last = inside().map(|row| row.at).max();
                let (Some(first), Some(last)) = (first, last) else {
                    return Bins { start: from, n: 1, to, from, drop_below: None };
                };
                // int(span + 1 − 1e-6), and never none.
                let hours = bin(last.since(first).as_millis() + Span::HOUR.as_millis());
                let n = usize::try_from(hours).unwrap_or(0).clamp(1, GENERATION_BINS_MAX);
                let drop_below = match legacy {
                    LegacyDrop::Off => None,
                    LegacyDrop::On { admitted_at } => {
                        Some(first.since(admitted_at).as_millis().saturating_mul(10) + 36)
                    }
                };
                Bins { start: first, n, to, from, drop_below }
            }
        }
    }

    fn bin_of(&self, row: &Row) -> Option<usize> {
        if row.at < self.from || row.at > self.to {
            return None;
        }
        let ms = row.at.since(self.start).as_millis();
        if self.drop_below.is_some_and(|limit| ms.saturating_mul(10) < limit) {
            return None;
        }
        usize::try_from(bin(ms)).ok().filter(|&bin| bin < self.n)
    }
}

/// The variable of a row if the model may read it: one without training data is masked out, except
/// in the reference, which would feed it (`reference/clinical.md` 0.7).
fn seen_by_model(dict: &Dictionary, variable: &Variable) -> Option<Columns> {
    let fed = variable.trained || dict.profile == Profile::Reference;
    variable.columns.filter(|_| fed)
}

/// The grid of a series. `rows` must be in the order of observation; rows outside the span, of
/// variables that are no model input, or with a category that does not exist are left out.
///
/// Age and sex are known from admission. The published code knows them from the first row only,
/// and until then feeds a woman of 65: the profile `reference` repeats that.
pub fn hourly(rows: &[Row], span: GridSpan, statics: StaticFacts, dict: &Dictionary) -> Grid {
    let bins = Bins::of(rows, span);
    let columns = dict.columns();
    let mut values = vec![0.0; bins.n * columns];
    let mut n_observed = 0;
    let mut first_bin = bins.n;
    for row in rows {
        let Some(bin) = bins.bin_of(row) else { continue };
        first_bin = first_bin.min(bin);
        let Some(variable) = dict.variable(row.variable) else { continue };
        let Some(own) = seen_by_model(dict, variable) else { continue };
        let line = &mut values[bin * columns..][..columns];
        if write(line, variable, own, row.value) {
            n_observed += usize::from(line[own.mask] == 0.0);
            line[own.mask] = 1.0;
        }
    }
    fill_forward(&mut values, dict);
    let known_from = match dict.profile {
        Profile::Clinical => 0,
        Profile::Reference => first_bin,
    };
    fill_statics(&mut values, known_from, statics, dict);
    Grid { n_bins: bins.n, values, n_observed, n_channels: n_channels(dict) }
}

/// Writes one value into its columns; false if it is no value of this variable.
fn write(line: &mut [f64], variable: &Variable, columns: Columns, value: f64) -> bool {
    match &variable.kind {
        Kind::Numeric { .. } => {
            line[columns.first] = variable.clamped(value);
            true
        }
        Kind::Categorical { categories, .. } => {
            let index = value as usize;
            if index as f64 != value || index >= categories.len() {
                return false;
            }
            let one_hot = &mut line[columns.first..columns.first + categories.len()];
            one_hot.fill(0.0);
            one_hot[index] = 1.0;
            true
        }
    }
}

/// Carries each variable's last value into the hours without one, its normal value before that.
fn fill_forward(values: &mut [f64], dict: &Dictionary) {
    let mut last = vec![0.0; dict.columns()];
    for variable in dict.variables() {
        let Some(Columns { first, mask }) = variable.columns else { continue };
        let width = match &variable.kind {
            Kind::Numeric { normal, .. } => {
                last[first] = *normal;
                1
            }
            Kind::Categorical { categories, normal, .. } => {
                last[first + normal] = 1.0;
                categories.len()
            }
        };
        for line in values.chunks_exact_mut(dict.columns()) {
            let columns = first..first + width;
            match line[mask] == 1.0 {
                true => last[columns.clone()].copy_from_slice(&line[columns]),
                false => line[columns.clone()].copy_from_slice(&last[columns]),
            }
        }
    }
}

fn fill_statics(values: &mut [f64], known_from: usize, facts: StaticFacts, dict: &Dictionary) {
    let rules = dict.statics();
    let age = f64::from(facts.age_years).clamp(rules.age_clamp.0, rules.age_clamp.1);
    let sex = match facts.sex {
        Sex::Female => 0,
        Sex::Male => 1,
    };
    for (bin, line) in values.chunks_exact_mut(dict.columns()).enumerate() {
        let known = bin >= known_from;
        line[rules.sex_column + if known { sex } else { rules.sex_normal }] = 1.0;
        line[rules.age_column] = if known { age } else { rules.age_normal };
    }
}

fn n_channels(dict: &Dictionary) -> usize {
    dict.variables().iter().filter(|variable| seen_by_model(dict, variable).is_some()).count()
}

impl Grid {
    /// One hour: all columns.
    pub fn bin(&self, index: usize) -> &[f64] {
        let columns = self.values.len() / self.n_bins;
        &self.values[index * columns..][..columns]
    }

    /// Share of (hour, variable) cells without an observation, 0..=1.
    pub fn imputed(&self) -> f32 {
        share_imputed(self.n_observed, self.n_bins * self.n_channels)
    }
}

fn share_imputed(observed: usize, cells: usize) -> f32 {
    if cells == 0 { 1.0 } else { 1.0 - observed as f32 / cells as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VariableId;

    const STATICS: StaticFacts = StaticFacts { age_years: 70, sex: Sex::Male };

    fn dict(profile: Profile) -> Dictionary {
        Dictionary::builtin(profile).unwrap()
    }

    fn at(ms: i64) -> EventTime {
        EventTime::from_millis(ms)
    }

    fn hours(n: f64) -> EventTime {
        at((n * 3_600_000.0) as i64)
    }

    fn row(dict: &Dictionary, hour: f64, code: &str, value: f64) -> Row {
        Row { at: hours(hour), variable: dict.by_code(code).unwrap(), value }
    }

    #[test]
    fn bins_are_cut_towards_zero_after_an_epsilon() {
        assert_eq!([0, 1, 3].map(bin), [0, 0, 0]);
        assert_eq!(bin(3_600_000), 0);
        assert_eq!(bin(3_600_003), 0);
        assert_eq!(bin(3_600_004), 1);
        assert_eq!(bin(-3_599_000), 0);
        assert_eq!(bin(48 * 3_600_000), 47);
    }

    #[test]
    fn the_last_value_of_an_hour_wins_and_is_carried_forward() {
        let dict = dict(Profile::Clinical);
        let rows = [
            row(&dict, 0.2, "heart_rate", 70.0),
            row(&dict, 0.9, "heart_rate", 300.0),
            row(&dict, 2.5, "gcs_eye", 5.0),
        ];
        let grid = hourly(&rows, GridSpan::prediction(at(0), hours(4.0)), STATICS, &dict);
        assert_eq!((grid.n_bins, grid.n_observed), (4, 2));
        assert_eq!(grid.bin(0)[50], 143.61);
        assert_eq!(grid.bin(3)[50], 143.61);
        assert_eq!((grid.bin(0)[70], grid.bin(1)[70]), (1.0, 0.0));
        assert_eq!((grid.bin(1)[7], grid.bin(1)[9]), (1.0, 0.0));
        assert_eq!((grid.bin(2)[7], grid.bin(2)[9], grid.bin(3)[9]), (0.0, 1.0, 1.0));
        assert_eq!((grid.bin(0)[60], grid.bin(0)[61]), (1.0, 70.0));
        assert_eq!(grid.bin(0)[2], 59.0);
        assert!((grid.imputed() - (1.0 - 2.0 / 60.0)).abs() < 1e-6);
    }

    #[test]
    fn a_relative_start_counts_from_the_first_row() {
        let dict = dict(Profile::Clinical);
        let span = GridSpan::generation(hours(0.0), hours(40.0));
        let rows = [row(&dict, 10.5, "heart_rate", 70.0), row(&dict, 13.0, "heart_rate", 80.0)];
        assert_eq!(hourly(&rows, span, STATICS, &dict).n_bins, 3);
        assert_eq!(hourly(&rows[..1], span, STATICS, &dict).n_bins, 1);
        let none = hourly(&[], span, STATICS, &dict);
        assert_eq!((none.n_bins, none.n_observed, none.bin(0)[50]), (1, 0, 86.0));
        assert_eq!(none.imputed(), 1.0);
    }

    #[test]
    fn a_generation_never_exceeds_its_70_positions() {
        let dict = dict(Profile::Clinical);
        let rows: Vec<Row> =
            (0..100).map(|h| row(&dict, f64::from(h), "heart_rate", 80.0)).collect();
        let span = GridSpan::generation(hours(0.0), hours(99.0));
        assert_eq!(hourly(&rows, span, STATICS, &dict).n_bins, GENERATION_BINS_MAX);
    }

    #[test]
    fn the_legacy_defect_drops_the_first_hours_again() {
        let dict = dict(Profile::Clinical);
        let rows: Vec<Row> =
            (0..9).map(|h| row(&dict, f64::from(h) + 4.5, "heart_rate", 80.0)).collect();
        let span = GridSpan::generation(hours(0.0), hours(13.0));
        let right = hourly(&rows, span, STATICS, &dict);
        let legacy = span.with_legacy(LegacyDrop::On { admitted_at: at(0) });
        let wrong = hourly(&rows, legacy, STATICS, &dict);
        assert_eq!((right.n_bins, right.n_observed), (8, 8));
        assert_eq!((wrong.n_bins, wrong.n_observed), (8, 4));
    }

    #[test]
    fn at_other_times_the_last_48_hours_are_used() {
        let whole = |t: f64| GridSpan::prediction(at(0), hours(t));
        let span =
            |from: f64, to: f64, bins| GridSpan::Fixed { from: hours(from), to: hours(to), bins };
        assert_eq!(whole(48.0), span(0.0, 48.0, 48));
        assert_eq!(whole(5.5), span(0.0, 5.5, 6));
        assert_eq!(whole(60.0), span(12.0, 60.0, 48));
        assert_eq!(whole(0.0), span(0.0, 0.0, 1));
    }

    #[test]
    fn a_variable_that_no_model_was_trained_on_stays_out_of_its_input() {
        let clinical = dict(Profile::Clinical);
        let rows = [row(&clinical, 0.5, "gcs_total", 6.0)];
        let span = GridSpan::prediction(at(0), hours(1.0));
        assert_eq!(hourly(&rows, span, STATICS, &clinical).n_observed, 0);
        let reference = hourly(&rows, span, STATICS, &dict(Profile::Reference));
        assert_eq!((reference.n_observed, reference.bin(0)[30]), (1, 1.0));
    }

    #[test]
    fn what_is_no_value_is_left_out() {
        let dict = dict(Profile::Clinical);
        let rows = [
            row(&dict, 0.5, "gcs_eye", 8.0),
            row(&dict, 0.5, "gcs_eye", -1.0),
            row(&dict, 0.5, "gcs_eye", 0.5),
            Row { at: hours(0.5), variable: VariableId(99), value: 1.0 },
        ];
        let grid = hourly(&rows, GridSpan::prediction(at(0), hours(1.0)), STATICS, &dict);
        assert_eq!((grid.n_observed, grid.bin(0)[7]), (0, 1.0));
    }
}

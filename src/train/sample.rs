//! What the three stages learn from: plain lists, whoever filled them. Pictures and series lie in
//! memory (the synthetic ward drawn for a run) or in a file of samples (a replay), and are fetched
//! when a batch needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TrainError;
use super::store::Stored;
use crate::event::PreparedFilm;
use crate::event::risk::N_PHENOTYPES;
use crate::model::config::{EHR_COLUMNS, N_FINDINGS};
use crate::series::{Grid, Normaliser, NormaliserFit};

/// A film and what its report was labelled: 1 for positive, 0 for everything else
/// (`reference/ddl-cxr.md` 1.4).
#[derive(Clone, Debug)]
pub struct FilmSample {
    film: Picture,
    pub findings: [f32; N_FINDINGS],
}

#[derive(Clone, Debug)]
enum Picture {
    Here(PreparedFilm),
    There(Stored),
}

/// Hours of a series, and how they are scaled.
#[derive(Clone, Debug)]
pub struct Series {
    place: Place,
    scale: Option<Arc<Normaliser>>,
}

#[derive(Clone, Debug)]
enum Place {
    Here(Arc<[f64]>),
    /// Which of the series that lie there, counted from 0.
    There(Stored, usize),
}

/// Two films of one stay and the EHR between them (stage 2).
#[derive(Clone, Debug)]
pub struct PairSample {
    /// Index of the earlier film.
    pub reference: usize,
    /// Index of the later film, whose findings the EHR must tell.
    pub target: usize,
    pub ehr: Series,
    /// Hours from one to the other.
    pub gap_h: f64,
}

/// A window as it would be sealed at `t`, with what became of the stay (stage 3).
#[derive(Clone, Debug)]
pub struct WindowSample {
    /// Tells windows of one stay from those of another.
    pub stay: u64,
    /// Hours after admission.
    pub t_h: f64,
    /// The last film, and the EHR that the generation reads.
    pub film: Option<WindowFilm>,
    /// The prediction's EHR.
    pub ehr: Series,
    pub died: bool,
    pub phenotypes: [bool; N_PHENOTYPES],
}

/// The film part of a window.
#[derive(Clone, Debug)]
pub struct WindowFilm {
    pub film: usize,
    pub age_h: f64,
    pub ehr: Series,
}

/// Everything known of one set of stays.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    pub films: Vec<FilmSample>,
    pub pairs: Vec<PairSample>,
    pub windows: Vec<WindowSample>,
    pub stays: u64,
    /// Records that the serving rules refused, films and values together.
    pub refused: u64,
}

/// Training, validation and test: of different patients.
#[derive(Clone, Debug, Default)]
pub struct Splits {
    pub train: Samples,
    pub validate: Samples,
    pub test: Samples,
}

impl FilmSample {
    pub fn new(film: PreparedFilm, findings: [f32; N_FINDINGS]) -> Self {
        FilmSample { film: Picture::Here(film), findings }
    }

    pub(super) fn stored(place: Stored, findings: [f32; N_FINDINGS]) -> Self {
        FilmSample { film: Picture::There(place), findings }
    }

    /// Where the film lies, if not in memory.
    #[cfg(test)]
    pub(super) fn place(&self) -> Option<&Stored> {
        match &self.film {
            Picture::Here(_) => None,
            Picture::There(stored) => Some(stored),
        }
    }

    /// The prepared film.
    ///
    /// # Errors
    /// [`TrainError::Samples`] when the file of samples cannot be read any more.
    pub fn film(&self) -> Result<PreparedFilm, TrainError> {
        match &self.film {
            Picture::Here(film) => Ok(film.clone()),
            Picture::There(stored) => stored.film(),
        }
    }
}

impl From<Grid> for Series {
    fn from(grid: Grid) -> Self {
        Series { place: Place::Here(grid.values.into()), scale: None }
    }
}

impl Series {
    /// Of these numbers, hour by hour.
    #[cfg(test)]
    pub(super) fn of(values: Vec<f64>) -> Self {
        Series { place: Place::Here(values.into()), scale: None }
    }

    pub(super) fn stored(place: Stored, which: usize) -> Self {
        Series { place: Place::There(place, which), scale: None }
    }

    /// Not scaled, `bins` × 79.
    ///
    /// # Errors
    /// [`TrainError::Samples`] when the file of samples cannot be read any more.
    pub fn raw(&self) -> Result<Arc<[f64]>, TrainError> {
        match &self.place {
            Place::Here(values) => Ok(Arc::clone(values)),
            Place::There(stored, which) => stored.series(*which),
        }
    }

    /// As the networks take them, `bins` × 79.
    ///
    /// # Errors
    /// As [`Series::raw`].
    pub fn values(&self) -> Result<Vec<f32>, TrainError> {
        let raw = self.raw()?;
        debug_assert_eq!(raw.len() % EHR_COLUMNS, 0);
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        Ok(match &self.scale {
            None => narrow(&raw),
            Some(scale) => {
                let mut scaled = raw.to_vec();
                scale.apply_to(&mut scaled);
                narrow(&scaled)
            }
        })
    }

    /// Hours.
    ///
    /// # Errors
    /// As [`Series::raw`].
    pub fn bins(&self) -> Result<usize, TrainError> {
        Ok(self.raw()?.len() / EHR_COLUMNS)
    }
}

impl Samples {
    /// The normalisers of generation and of prediction, fitted on these samples.
    ///
    /// # Errors
    /// [`TrainError::Samples`] when the file of samples cannot be read any more.
    pub fn normalisers(&self) -> Result<(Normaliser, Normaliser), TrainError> {
        let fit = |series: &mut dyn Iterator<Item = &Series>| {
            let mut fit = NormaliserFit::default();
            for series in series {
                fit.add(&series.raw()?);
            }
            Ok::<_, TrainError>(fit.finish())
        };
        let generation = fit(&mut self.pairs.iter().map(|pair| &pair.ehr))?;
        let prediction = fit(&mut self.windows.iter().map(|window| &window.ehr))?;
        Ok((generation, prediction))
    }

    /// Scales every series from now on, each with the normaliser of its stage.
    pub fn normalise(&mut self, generation: &Normaliser, prediction: &Normaliser) {
        let (generation, prediction) = (Arc::new(generation.clone()), Arc::new(prediction.clone()));
        for pair in &mut self.pairs {
            pair.ehr.scale = Some(Arc::clone(&generation));
        }
        for window in &mut self.windows {
            window.ehr.scale = Some(Arc::clone(&prediction));
            if let Some(film) = &mut window.film {
                film.ehr.scale = Some(Arc::clone(&generation));
            }
        }
    }

    /// A weight for each window so that every stay weighs the same, whether it has one window or
    /// many; their mean is 1 (`reference/ddl-cxr.md` 4.1).
    pub fn window_weights(&self) -> Vec<f32> {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for window in &self.windows {
            *counts.entry(window.stay).or_default() += 1;
        }
        let mean = self.windows.len() as f64 / counts.len().max(1) as f64;
        let n = |window: &WindowSample| counts.get(&window.stay).copied().unwrap_or(1);
        self.windows.iter().map(|window| (mean / n(window) as f64) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(stay: u64) -> WindowSample {
        WindowSample {
            stay,
            t_h: 48.0,
            film: None,
            ehr: Series { place: Place::Here(vec![0.0; EHR_COLUMNS].into()), scale: None },
            died: false,
            phenotypes: [false; N_PHENOTYPES],
        }
    }

    #[test]
    fn every_stay_weighs_the_same() {
        let windows = [1, 1, 1, 2].map(window).to_vec();
        let samples = Samples { windows, ..Samples::default() };
        let weights = samples.window_weights();
        assert!((weights[0] * 3.0 - weights[3]).abs() < 1e-6);
        assert!((weights.iter().sum::<f32>() - 4.0).abs() < 1e-6);
        assert!(Samples::default().window_weights().is_empty());
    }
}

//! What the three stages learn from: plain lists, whoever filled them. The synthetic ward fills
//! them now; windows sealed by the engine over a replay fit the same lists.

use crate::event::PreparedFilm;
use crate::event::risk::N_PHENOTYPES;
use crate::model::config::{EHR_COLUMNS, N_FINDINGS};
use crate::series::{Grid, Normaliser};

/// A film and what its report was labelled: 1 for positive, 0 for everything else
/// (`reference/ddl-cxr.md` 1.4).
#[derive(Clone, Debug)]
pub struct FilmSample {
    pub film: PreparedFilm,
    pub findings: [f32; N_FINDINGS],
}

/// Two films of one stay and the EHR between them (stage 2).
#[derive(Clone, Debug)]
pub struct PairSample {
    /// Index of the earlier film.
    pub reference: usize,
    /// Index of the later film, whose findings the EHR must tell.
    pub target: usize,
    pub ehr: Grid,
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
    pub ehr: Grid,
    pub died: bool,
    pub phenotypes: [bool; N_PHENOTYPES],
}

/// The film part of a window.
#[derive(Clone, Debug)]
pub struct WindowFilm {
    pub film: usize,
    pub age_h: f64,
    pub ehr: Grid,
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

/// Training, validation and test: of different stays.
#[derive(Clone, Debug, Default)]
pub struct Splits {
    pub train: Samples,
    pub validate: Samples,
    pub test: Samples,
}

impl Samples {
    /// The normalisers of generation and of prediction, fitted on these samples.
    pub fn normalisers(&self) -> (Normaliser, Normaliser) {
        let generation = Normaliser::fit(self.pairs.iter().map(|pair| &pair.ehr));
        let prediction = Normaliser::fit(self.windows.iter().map(|window| &window.ehr));
        (generation, prediction)
    }

    /// Scales every grid, each with the normaliser of its stage.
    pub fn normalise(&mut self, generation: &Normaliser, prediction: &Normaliser) {
        for pair in &mut self.pairs {
            generation.apply(&mut pair.ehr);
        }
        for window in &mut self.windows {
            prediction.apply(&mut window.ehr);
            if let Some(film) = &mut window.film {
                generation.apply(&mut film.ehr);
            }
        }
    }
}

/// A grid's values as the networks take them, `bins` × 79.
pub fn values(grid: &Grid) -> Vec<f32> {
    debug_assert_eq!(grid.values.len() % EHR_COLUMNS, 0);
    grid.values.iter().map(|&value| value as f32).collect()
}

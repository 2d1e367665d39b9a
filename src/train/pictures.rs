//! Pictures to judge a model by eye.

use std::path::Path;

use burn::tensor::{Device, Tensor};

use super::ldm::Generator;
use super::sample::{FilmSample, Samples};
use super::{TrainError, batch, vae};
use crate::film::png;
use crate::model::Vae;
use crate::model::config::VaeConfig;
use crate::model::film_input::GreyImage;

/// Rows of a sheet.
const ROWS: usize = 6;
/// Black pixels between pictures.
const GAP: usize = 4;

/// Film beside reconstruction, for films not trained on.
pub(super) fn reconstructions(
    vae: &Vae,
    config: &VaeConfig,
    samples: &Samples,
    device: &Device,
    path: &Path,
) -> Result<(), TrainError> {
    let chosen = spread(samples.films.len(), ROWS);
    let films: Vec<&FilmSample> = chosen.iter().map(|&i| &samples.films[i]).collect();
    if films.is_empty() {
        return Ok(());
    }
    let images = batch::films(&films, config, device)?;
    let again = vae.decode(vae.encode(images.clone()).mean);
    sheet(&[images, again], path)
}

/// Earlier film, later film, the later film as generated, and how the last two differ (grey where
/// they do not), for pairs not trained on.
pub(super) fn generations(
    generator: &Generator<'_>,
    vae: &Vae,
    samples: &Samples,
    latents: &[Vec<f32>],
    path: &Path,
) -> Result<(), TrainError> {
    let chosen = spread(samples.pairs.len(), ROWS);
    if chosen.is_empty() {
        return Ok(());
    }
    let (config, device) = (&generator.config.vae, generator.device);
    let pick = Samples {
        pairs: chosen.iter().map(|&i| samples.pairs[i].clone()).collect(),
        ..Samples::default()
    };
    let films = |of: fn(&super::sample::PairSample) -> usize| {
        let films: Vec<&FilmSample> =
            pick.pairs.iter().map(|pair| &samples.films[of(pair)]).collect();
        batch::films(&films, config, device)
    };
    let generated = generator.of_pairs(&pick, latents, pick.pairs.len())?;
    let rows: Vec<Option<&[f32]>> = generated.iter().map(|row| Some(row.as_slice())).collect();
    let scale = generator.config.diffusion.scale_factor;
    let decoded = vae::decode(vae, batch::latents(&rows, config, device), scale);
    let (reference, target) = (films(|pair| pair.reference)?, films(|pair| pair.target)?);
    let difference = decoded.clone().sub(target.clone());
    sheet(&[reference, target, decoded, difference], path)
}

/// At most `most` indices below `n`, evenly spread.
fn spread(n: usize, most: usize) -> Vec<usize> {
    let count = most.min(n);
    (0..count).map(|i| i * n / count.max(1)).collect()
}

/// Columns of pictures side by side; row k holds the kth picture of each column.
fn sheet(columns: &[Tensor<4>], path: &Path) -> Result<(), TrainError> {
    let [rows, _, side, _] = columns.first().map_or([0; 4], Tensor::dims);
    let (width, height) = (columns.len() * (side + GAP), rows * (side + GAP));
    let mut pixels = vec![0u8; width * height];
    for (c, column) in columns.iter().enumerate() {
        for r in 0..rows {
            let image = GreyImage::from_tensor(column.clone().narrow(0, r, 1));
            for (y, line) in image.pixels.chunks(side.max(1)).enumerate() {
                let at = (r * (side + GAP) + y) * width + c * (side + GAP);
                pixels[at..at + line.len()].copy_from_slice(line);
            }
        }
    }
    let bytes = png::encode(&pixels, width as u32, height as u32)
        .map_err(|error| TrainError::Data(error.to_string()))?;
    std::fs::write(path, bytes).map_err(|error| TrainError::write(path, error))
}

/// Sides of one panel of curves.
const PANEL: (usize, usize) = (320, 120);

/// One panel for each loss, in the order of the log, each from its least value (below) to its
/// largest (above). What the values are stands in the log.
pub(super) fn curves(history: &[Vec<(String, f64)>], path: &Path) -> Result<(), TrainError> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in history.iter().flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    if history.len() < 2 || names.is_empty() {
        return Ok(());
    }
    let (width, height) = PANEL;
    let mut pixels = vec![255u8; width * (height + GAP) * names.len()];
    for (panel, name) in names.iter().enumerate() {
        let points: Vec<(usize, f64)> = history
            .iter()
            .enumerate()
            .filter_map(|(i, losses)| Some((i, losses.iter().find(|(n, _)| n == name)?.1)))
            .collect();
        let top = panel * (height + GAP);
        pixels[(top + height) * width..(top + height + GAP) * width].fill(0);
        draw(&points, history.len(), &mut pixels[top * width..][..width * height]);
    }
    let tall = (height + GAP) * names.len();
    let bytes = png::encode(&pixels, width as u32, tall as u32)
        .map_err(|error| TrainError::Data(error.to_string()))?;
    std::fs::write(path, bytes).map_err(|error| TrainError::write(path, error))
}

/// A line through the points, column by column.
fn draw(points: &[(usize, f64)], n: usize, panel: &mut [u8]) {
    let (width, height) = PANEL;
    let values = || points.iter().map(|(_, value)| *value);
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
    let spread = (high - low).max(1e-12);
    let row = |value: f64| ((high - value) / spread * (height - 1) as f64).round() as usize;
    let column = |i: usize| i * (width - 1) / (n - 1).max(1);
    for pair in points.windows(2) {
        let [(i, a), (j, b)] = [pair[0], pair[1]];
        let (from, to) = (column(i), column(j).max(column(i) + 1).min(width - 1));
        let mut before = row(a).min(height - 1);
        for x in from..=to {
            let share = (x - from) as f64 / (to - from).max(1) as f64;
            let y = row(a + (b - a) * share).min(height - 1);
            (before.min(y)..=before.max(y)).for_each(|y| panel[y * width + x] = 0);
            before = y;
        }
    }
}

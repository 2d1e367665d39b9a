//! Prepared films as the networks read them, and a network's picture as grey pixels again.
//!
//! The networks of CPU size look at films of fewer pixels than the prepared 224 × 224. Films are
//! then averaged over areas, on the host, so that the numbers are the same on every device.

use burn::tensor::{Device, Tensor, TensorData};

use super::config::{ResNetConfig, VaeConfig};
use crate::event::FILM_SIDE;

/// Mean and deviation of ImageNet's three channels (`reference/ddl-cxr.md` 1.10).
const IMAGENET: [(f32, f32); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];
/// The same of one grey channel.
const IMAGENET_GREY: (f32, f32) = (0.449, 0.226);

/// A film as 0..=1 at `side` × `side`, each pixel the mean of the area it covers.
///
/// `pixels` are 224 × 224, row by row; missing ones count as black.
pub fn resample(pixels: &[u8], side: usize) -> Vec<f32> {
    let weights = area_weights(FILM_SIDE, side);
    let mut rows = vec![0.0f32; FILM_SIDE * side];
    for (line, out) in pixels.chunks(FILM_SIDE).zip(rows.chunks_mut(side.max(1))) {
        for (value, parts) in out.iter_mut().zip(&weights) {
            let part = |(i, w): &(usize, f32)| f32::from(line.get(*i).copied().unwrap_or(0)) * w;
            *value = parts.iter().map(part).sum::<f32>() / 255.0;
        }
    }
    let mut out = Vec::with_capacity(side * side);
    for parts in &weights {
        for column in 0..side {
            out.push(parts.iter().map(|(row, w)| rows[row * side + column] * w).sum());
        }
    }
    out
}

/// For each of `to` cells, the cells of `from` that it covers and their shares.
fn area_weights(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = from as f64 / to.max(1) as f64;
    let cell = |i: usize| {
        let (start, end) = (i as f64 * scale, (i + 1) as f64 * scale);
        let covered = start.floor() as usize..(end.ceil() as usize).min(from);
        covered
            .map(|j| {
                let overlap = end.min((j + 1) as f64) - start.max(j as f64);
                (j, (overlap.max(0.0) / scale) as f32)
            })
            .collect()
    };
    (0..to).map(cell).collect()
}

/// One film for the autoencoder: `[1, channels, side, side]` in −1..=1, equal channels.
pub fn for_vae(pixels: &[u8], config: &VaeConfig, device: &Device) -> Tensor<4> {
    let side = config.resolution;
    let grey = resample(pixels, side);
    let channel: Vec<f32> = grey.iter().map(|x| (x - 0.5) / 0.5).collect();
    let data =
        TensorData::new(channel.repeat(config.in_channels), [1, config.in_channels, side, side]);
    Tensor::from_data(data, device)
}

/// One film for the image branch: `[1, channels, side, side]`, ImageNet's scaling.
pub fn for_resnet(pixels: &[u8], config: &ResNetConfig, device: &Device) -> Tensor<4> {
    let side = config.resolution;
    let grey = resample(pixels, side);
    let scaled =
        |(mean, sd): &(f32, f32)| -> Vec<f32> { grey.iter().map(|x| (x - mean) / sd).collect() };
    let values = match config.in_channels {
        3 => IMAGENET.iter().flat_map(scaled).collect(),
        _ => scaled(&IMAGENET_GREY),
    };
    Tensor::from_data(TensorData::new(values, [1, config.in_channels, side, side]), device)
}

/// A square grey picture, row by row, 0 black.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreyImage {
    pub side: usize,
    pub pixels: Vec<u8>,
}

impl GreyImage {
    /// The mean over channels of the first picture of a batch in −1..=1, clamped. What is not a
    /// number becomes black.
    pub fn from_tensor(picture: Tensor<4>) -> GreyImage {
        let [_, _, side, _] = picture.dims();
        let grey = picture.narrow(0, 0, 1).mean_dim(1);
        let values: Vec<f32> = grey.into_data().try_into_vec().unwrap_or_default();
        let pixel = |x: &f32| ((x.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
        GreyImage { side, pixels: values.iter().map(pixel).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DdlCxrConfig;

    #[test]
    fn an_even_film_stays_even_at_every_size() {
        let film = vec![51u8; FILM_SIDE * FILM_SIDE];
        for side in [224, 112, 100, 64, 28] {
            let out = resample(&film, side);
            assert_eq!(out.len(), side * side);
            assert!(out.iter().all(|x| (x - 0.2).abs() < 1e-5), "side {side}");
        }
    }

    #[test]
    fn resampling_keeps_left_and_up() {
        let mut film = vec![0u8; FILM_SIDE * FILM_SIDE];
        film[..2].fill(255);
        film[FILM_SIDE..FILM_SIDE + 2].fill(255);
        let out = resample(&film, 112);
        assert!((out[0] - 1.0).abs() < 1e-6);
        assert!(out[1..].iter().all(|x| *x == 0.0));
    }

    #[test]
    fn a_picture_survives_scaling_and_back() {
        let film: Vec<u8> = (0..FILM_SIDE * FILM_SIDE).map(|i| (i / 4 % 256) as u8).collect();
        let mut config = DdlCxrConfig::demo().vae;
        config.resolution = 224;
        let image = GreyImage::from_tensor(for_vae(&film, &config, &Device::flex()));
        assert_eq!(image, GreyImage { side: 224, pixels: film });
    }
}

//! The ways in which generation is known to fail, watched while it is learnt: on a few pairs not
//! trained on, each a number with a bound. `nowcxr evaluate` asks the same of a finished model, on
//! more films and with intervals.

use serde::Serialize;

use super::TrainError;
use super::ldm::Generator;
use super::sample::{Samples, Series};
use super::score::mean;
use super::{batch, vae};
use crate::metrics::anatomy::{lung_overlap, sharpness};
use crate::model::Vae;
use crate::model::film_input::GreyImage;

/// The latent must move at least so far when the EHR is another stay's, of its own size.
pub const EHR_EFFECT_LEAST: f64 = 0.05;
/// Lung fields that overlap less are another chest's.
pub const OVERLAP_LEAST: f64 = 0.8;
/// Share of films whose lung fields are another chest's, at most.
pub const LUNGS_LOST_MOST: f64 = 0.05;
/// Sharpness of the generated film, of the last one's, at least.
pub const SHARPNESS_LEAST: f64 = 0.8;
/// Pairs that are looked at.
const WATCHED: usize = 32;

/// One way to fail, that is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Symptom {
    pub name: &'static str,
    pub value: f64,
    /// The least or the most that would do.
    pub bound: f64,
}

/// Numbers that tell the symptoms, means over pairs.
#[derive(Clone, Copy, Debug)]
struct Signs {
    /// Mean squared distance of latents to the later film's.
    generated: f64,
    carried: f64,
    ehr_effect: f64,
    lungs_lost: f64,
    sharpness: f64,
}

impl Signs {
    fn symptoms(self) -> Vec<Symptom> {
        let Signs { generated, carried, ehr_effect, lungs_lost, sharpness } = self;
        let all = [
            (
                ehr_effect < EHR_EFFECT_LEAST,
                "no change although the EHR moved",
                ehr_effect,
                EHR_EFFECT_LEAST,
            ),
            (lungs_lost > LUNGS_LOST_MOST, "anatomy lost", lungs_lost, LUNGS_LOST_MOST),
            (sharpness < SHARPNESS_LEAST, "blurred", sharpness, SHARPNESS_LEAST),
            (generated >= carried, "no nearer than the last film", generated, carried),
        ];
        let there = all.into_iter().filter(|(is_there, ..)| *is_there);
        there.map(|(_, name, value, bound)| Symptom { name, value, bound }).collect()
    }
}

/// The symptoms on the first pairs of `samples`, whose films have these scaled latents.
pub(super) fn of_generation(
    generator: &Generator<'_>,
    vae: &Vae,
    samples: &Samples,
    latents: &[Vec<f32>],
) -> Result<Vec<Symptom>, TrainError> {
    let pairs = &samples.pairs[..WATCHED.min(samples.pairs.len())];
    if pairs.len() < 2 {
        return Ok(Vec::new());
    }
    let own: Vec<&Series> = pairs.iter().map(|pair| &pair.ehr).collect();
    // Half the list away: pairs of one stay lie side by side.
    let mut others = own.clone();
    others.rotate_left(pairs.len() / 2);
    let of = |film: usize| latents.get(film).map_or(&[][..], Vec::as_slice);
    let references: Vec<&[f32]> = pairs.iter().map(|pair| of(pair.reference)).collect();
    let targets: Vec<&[f32]> = pairs.iter().map(|pair| of(pair.target)).collect();
    let generated = generator.generate(&references, &own)?;
    let swapped = generator.generate(&references, &others)?;
    let ours: Vec<&[f32]> = generated.iter().map(Vec::as_slice).collect();
    let effects = ours.iter().zip(&swapped).map(|(a, b)| (apart(a, b) / size(a)).sqrt());
    let (new, old) = (pictures(generator, vae, &ours), pictures(generator, vae, &references));
    let lost =
        |(a, b): (&GreyImage, &GreyImage)| f64::from(u8::from(lung_overlap(a, b) < OVERLAP_LEAST));
    let sharp =
        |(a, b): (&GreyImage, &GreyImage)| sharpness(a) / sharpness(b).max(f64::MIN_POSITIVE);
    let far = |from: &[&[f32]]| mean(from.iter().zip(&targets).map(|(a, b)| apart(a, b)));
    let signs = Signs {
        generated: far(&ours),
        carried: far(&references),
        ehr_effect: mean(effects),
        lungs_lost: mean(new.iter().zip(&old).map(lost)),
        sharpness: mean(new.iter().zip(&old).map(sharp)),
    };
    Ok(signs.symptoms())
}

/// Mean squared difference.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    mean(a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)))
}

/// Mean square, above 0.
fn size(a: &[f32]) -> f64 {
    mean(a.iter().map(|&x| f64::from(x).powi(2))).max(f64::MIN_POSITIVE)
}

/// The pictures that scaled latents stand for.
fn pictures(generator: &Generator<'_>, vae: &Vae, latents: &[&[f32]]) -> Vec<GreyImage> {
    let rows: Vec<Option<&[f32]>> = latents.iter().map(|row| Some(*row)).collect();
    let z = batch::latents(&rows, &generator.config.vae, generator.device);
    let decoded = vae::decode(vae, z, generator.config.diffusion.scale_factor);
    (0..latents.len()).map(|i| GreyImage::from_tensor(decoded.clone().narrow(0, i, 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_tells_its_own_symptom() {
        let well = Signs {
            generated: 0.5,
            carried: 0.9,
            ehr_effect: 0.2,
            lungs_lost: 0.0,
            sharpness: 0.9,
        };
        assert_eq!(well.symptoms(), []);
        let names = |signs: Signs| -> Vec<&str> {
            signs.symptoms().into_iter().map(|symptom| symptom.name).collect()
        };
        assert_eq!(names(Signs { ehr_effect: 0.04, ..well }), ["no change although the EHR moved"]);
        assert_eq!(names(Signs { lungs_lost: 0.1, ..well }), ["anatomy lost"]);
        assert_eq!(names(Signs { sharpness: 0.5, ..well }), ["blurred"]);
        assert_eq!(names(Signs { generated: 0.9, ..well }), ["no nearer than the last film"]);
    }
}

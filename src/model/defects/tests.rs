//! Each repeated defect beside its repair: the difference is shown, not only the switch.

use burn::tensor::Device;

use super::*;
use crate::event::Sex;
use crate::event::dictionary::Dictionary;
use crate::ids::VariableId;
use crate::model::config::DdlCxrConfig;
use crate::model::layers::Init;
use crate::model::{Sampler, Schedule};
use crate::series::{Row, StaticFacts, hourly};
use crate::time::Span;

const BOTH: [Defects; 2] = [Defects::FIXED, Defects::PUBLISHED];

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().convert::<f32>().try_into_vec().expect("f32")
}

fn noise<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let data = TensorData::new(gaussian(seed, shape.iter().product()), shape);
    Tensor::from_data(data, device)
}

fn hour(n: i64) -> EventTime {
    EventTime::from_millis(0) + Span::hours(n)
}

/// A heart rate in the middle of every hour from admission.
fn rows(hours: i64) -> Vec<Row> {
    let row =
        |n: i64| Row { at: hour(n) + Span::minutes(30), variable: VariableId(8), value: 90.0 };
    (0..hours).map(row).collect()
}

fn observed(span: GridSpan, hours: i64) -> (usize, usize) {
    let dictionary = Dictionary::builtin(Profile::Reference).expect("a dictionary");
    let statics = StaticFacts { age_years: 70, sex: Sex::Female };
    let grid = hourly(&rows(hours), span, statics, &dictionary);
    (grid.n_bins, grid.n_observed)
}

#[test]
fn the_reference_profile_repeats_what_the_clinical_one_repairs() {
    assert_eq!(Defects::of(Profile::Clinical), Defects::FIXED);
    assert_eq!(Defects::of(Profile::Reference), Defects::PUBLISHED);
}

#[test]
fn b1_the_first_hours_of_the_ehr_are_dropped() {
    let seen = BOTH.map(|defects| {
        let span = defects.generation_span(hour(8), hour(24), hour(0));
        observed(span, 24)
    });
    // 15 hours from the row at half past eight (one on the hour belongs to the hour that it ends);
    // as published the first eight and a half are lost.
    assert_eq!(seen, [(15, 15), (15, 7)]);
    // A film of the last day leaves nothing at 48 h.
    let blank = Defects::PUBLISHED.generation_span(hour(30), hour(48), hour(0));
    assert_eq!(observed(blank, 48), (17, 0));
}

/// What the encoder makes of one series, padded to `length` beside another of that length, in
/// training; and how much of its neighbour's padding the denoising network may look at.
fn beside(defects: Defects, length: usize) -> (Vec<f32>, bool) {
    let device = Device::flex().autodiff();
    let mut config = DdlCxrConfig::demo().ehr_encoder;
    config.dropout = 0.0;
    let encoder = EhrEncoder::new(&config, &mut Init::seeded(4, &device));
    let x = noise(6, [1, 5, 79], &device);
    let padding = Tensor::zeros([1, length - 5, 79], &device);
    let x = Tensor::cat(vec![x, padding], 1);
    let keep: Vec<f32> = (0..length).map(|n| f32::from(n < 5)).collect();
    let keep = Tensor::from_data(TensorData::new(keep, [1, length]), &device);
    let context = defects.encode(&encoder, x, &keep);
    let masked = context.keep.is_some();
    (values(context.encoded.tokens.narrow(1, 0, 6)), masked)
}

#[test]
fn b3_padding_changes_what_is_made_of_a_series() {
    for (defects, independent) in [(Defects::FIXED, true), (Defects::PUBLISHED, false)] {
        let (short, masked) = beside(defects, 6);
        let (long, _) = beside(defects, 20);
        let off = short.iter().zip(&long).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert_eq!(masked, independent);
        assert_eq!(off < 1e-4, independent, "padding moves the tokens by {off}");
    }
}

#[test]
fn b4_the_findings_head_gets_no_gradient_and_the_encoder_does() {
    let device = Device::flex().autodiff();
    for (defects, learns) in [(Defects::FIXED, true), (Defects::PUBLISHED, false)] {
        let mut init = Init::seeded(3, &device);
        let below = Linear::new(4, 4, &mut init);
        let head = defects.findings_head(Linear::new(4, 2, &mut init));
        let loss = head.forward(below.forward(noise(5, [3, 4], &device))).square().sum();
        let gradients = loss.backward();
        assert_eq!(head.kernel.val().grad(&gradients).is_some(), learns);
        let passed = below.kernel.val().grad(&gradients).expect("a gradient");
        assert!(passed.abs().sum().into_scalar::<f32>() > 0.0);
    }
}

/// Latents of a deviation of 5.5, as an autoencoder of this recipe has: without scaling the
/// schedule's last step still shows them, and the sampler starts from noise that it never saw.
#[test]
fn b8_unscaled_latents_shine_through_the_last_step() {
    let device = Device::flex();
    let schedule = Schedule::new(&DdlCxrConfig::full().diffusion);
    let deviation = BOTH.map(|defects| {
        let z = noise(1, [4, 4, 14, 14], &device).mul_scalar(5.5 * defects.scale_factor(5.5));
        let noisy = schedule.q_sample(z, &[500; 4], noise(2, [4, 4, 14, 14], &device));
        f64::from(noisy.square().mean().sqrt().into_scalar::<f32>())
    });
    assert!((deviation[0] - 1.0).abs() < 0.05, "{deviation:?}");
    assert!(deviation[1] > 1.5, "{deviation:?}");
    assert_eq!(Defects::FIXED.scale_factor(0.0), 1.0);
}

#[test]
fn b9_the_starting_noise_is_another_in_each_run() {
    let model = gaussian(23, 12);
    let runs = |defects: Defects| [1, 2].map(|seed| defects.starting_noise(&model, seed));
    let fixed = runs(Defects::FIXED);
    assert_eq!(fixed, [model.clone(), model.clone()]);
    let published = runs(Defects::PUBLISHED);
    assert_ne!(published[0], published[1]);
    assert_eq!(published[0], Defects::PUBLISHED.starting_noise(&[0.0; 12], 1));
}

#[test]
fn b10_the_latent_is_one_sample_of_many() {
    let device = Device::flex();
    let posterior = Posterior {
        mean: noise(1, [1, 4, 3, 3], &device),
        logvar: Tensor::zeros([1, 4, 3, 3], &device),
    };
    let latents =
        |defects: Defects| [5, 6].map(|s| values(defects.reference_latent(&posterior, s)));
    let [a, b] = latents(Defects::FIXED);
    assert_eq!(a, b);
    let [a, b] = latents(Defects::PUBLISHED);
    assert_ne!(a, b);
    assert_eq!(a, latents(Defects::PUBLISHED)[0], "a function of the seed");
    let mut config = DdlCxrConfig::full().diffusion;
    config.eta = 0.0;
    let stochastic = BOTH.map(|defects| {
        let eta = defects.eta(&config);
        Sampler::new(&DiffusionConfig { eta, ..config.clone() }).is_stochastic()
    });
    assert_eq!(stochastic, [false, true]);
}

/// Kept in both profiles: a film of three hours ago is generated from twelve hours of EHR, nine of
/// them from before it, as the published cohort has it.
#[test]
fn b13_a_young_film_is_generated_from_ehr_before_it() {
    let t = hour(48);
    let film = t - Span::hours(3);
    let floor = t - Span::hours(12);
    for defects in [Defects::FIXED, Defects { early_hours_dropped: false, ..Defects::PUBLISHED }] {
        let since_film = observed(defects.generation_span(film, t, hour(0)), 48);
        let published = observed(defects.generation_span(film.min(floor), t, hour(0)), 48);
        assert_eq!((since_film, published), ((2, 2), (11, 11)));
    }
}

//! The pipeline on a model with random weights.

use std::process::Command;

use super::*;
use crate::event::dictionary::Profile;
use crate::event::{FILM_SIDE, Sex};
use crate::ids::{StayId, Ticket, VariableId};
use crate::model::artifact::tests::random;
use crate::model::weights::{tensors_of, with_tensors};
use crate::series::{Row, StaticFacts};
use crate::time::{EventTime, Span};

/// A window `hours` after admission, with a heart rate every 20 minutes.
fn window(hours: i64, film: Option<u8>) -> PredictionRequest {
    let admitted_at = EventTime::from_millis(1_000_000_000);
    let t = admitted_at + Span::hours(hours);
    let row = |i: i64| Row {
        at: admitted_at + Span::minutes(20 * i),
        variable: VariableId(7),
        value: 80.0 + (i % 11) as f64,
    };
    let pixels = |seed: u8| {
        let pixel = |i: usize| ((i / 3 + i / 224 * 7) as u8).wrapping_mul(seed);
        PreparedFilm::new((0..FILM_SIDE * FILM_SIDE).map(pixel).collect()).expect("film")
    };
    PredictionRequest {
        ticket: Ticket { stay: StayId(1), t, revision: 0 },
        epoch: 1,
        seed: 5,
        admitted_at,
        generation_start: t - Span::hours(12),
        rows: (0..hours * 3).map(row).collect(),
        static_facts: StaticFacts { age_years: 70, sex: Sex::Female },
        film: film.map(pixels),
    }
}

fn pipeline(model: Artifact) -> Pipeline {
    Pipeline::new(model, Device::flex(), 1 << 20).expect("pipeline")
}

#[test]
fn a_window_with_a_film_is_scored_three_ways() {
    let mut pipeline = pipeline(random(3));
    let Outcome::Scored(scores) = pipeline.score(&window(48, Some(1))) else {
        panic!("not scored");
    };
    let generation = scores.generation.expect("generated");
    assert_eq!(generation.evaluations as usize, pipeline.sampler.evaluations());
    assert!(generation.latent_rms > 0.0);
    let variants = [Some(scores.mortality), scores.carry_forward, scores.ehr_only];
    let variants: Vec<f32> = variants.into_iter().flatten().map(Probability::get).collect();
    assert_eq!(variants.len(), 3);
    assert!(variants[0] != variants[1] && variants[1] != variants[2], "{variants:?}");
    assert_eq!(pipeline.cache().len(), 1);
}

#[test]
fn without_a_film_the_ehr_alone_is_scored_and_said_so() {
    let mut pipeline = pipeline(random(3));
    for hours in [1, 20, 48, 100] {
        let outcome = pipeline.score(&window(hours, None));
        let Outcome::Degraded(scores, reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("no film"));
        assert_eq!(scores.ehr_only, Some(scores.mortality));
        assert!(scores.carry_forward.is_none() && scores.generation.is_none());
    }
}

#[test]
fn the_ehr_alone_does_not_see_the_film() {
    let mut pipeline = pipeline(random(3));
    let ehr_only = |outcome| match outcome {
        Outcome::Scored(scores) | Outcome::Degraded(scores, _) => {
            scores.ehr_only.expect("ehr only").get()
        }
        Outcome::Unscored(reason) => panic!("{reason}"),
    };
    let with = ehr_only(pipeline.score(&window(30, Some(3))));
    let without = ehr_only(pipeline.score(&window(30, None)));
    assert!((with - without).abs() < 1e-5, "{with} {without}");
}

/// Same bits in any order, from the cache or not, in a new pipeline or an old one.
#[test]
fn an_outcome_does_not_depend_on_what_was_scored_before() {
    let windows = [window(48, Some(1)), window(7, Some(2)), window(100, Some(1))];
    let fresh: Vec<Outcome> =
        windows.iter().map(|window| pipeline(random(3)).score(window)).collect();
    let mut shared = pipeline(random(3));
    for _ in 0..2 {
        for (window, want) in windows.iter().zip(&fresh).rev() {
            assert_eq!(&shared.score(window), want);
        }
    }
}

/// Prints an outcome's bits; run as a process of its own below.
#[test]
fn print_an_outcome() {
    println!("outcome {:?}", pipeline(random(3)).score(&window(48, Some(1))));
}

#[test]
fn an_outcome_does_not_depend_on_the_number_of_threads() {
    let run = |threads: &str| {
        let out = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "predict::pipeline::tests::print_an_outcome", "--nocapture"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .expect("child");
        let text = String::from_utf8(out.stdout).expect("text");
        let start = text.find("outcome ").expect("an outcome");
        text[start..].lines().next().map(str::to_owned)
    };
    let one = run("1");
    assert!(one.as_ref().is_some_and(|line| line.contains("Scored")), "{one:?}");
    assert_eq!(one, run("4"));
}

#[test]
fn a_latent_that_is_no_number_does_not_silence_the_rest() {
    let mut model = random(3);
    let mut tensors = tensors_of(&model.networks);
    let bias = tensors.get_mut("unet.out.2.bias").expect("the last bias");
    bias.values.fill(f32::MAX);
    model.networks = with_tensors(model.networks, &tensors).expect("fits");
    let outcome = pipeline(model).score(&window(48, Some(1)));
    let Outcome::Degraded(scores, reason) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("latent"), "{reason}");
    assert_eq!(Some(scores.mortality), scores.carry_forward);
    assert!(scores.generation.is_none());
}

#[test]
fn latents_decode_to_pictures() {
    let mut pipeline = pipeline(random(3));
    assert!(pipeline.generate(&window(48, None)).is_none());
    let latents = pipeline.generate(&window(48, Some(1))).expect("film");
    let image = pipeline.decode(latents.now);
    assert_eq!((image.side, image.pixels.len()), (112, 112 * 112));
}

/// A second variable beside the heart rate, so that something remains when one is left out.
fn two_variables(film: Option<u8>) -> PredictionRequest {
    let mut request = window(30, film);
    let mut rows = request.rows.to_vec();
    rows.extend((0..20).map(|i| Row {
        at: request.admitted_at + Span::minutes(61 * i),
        variable: VariableId(12),
        value: 22.0 + i as f64,
    }));
    rows.sort_by_key(|row| row.at);
    request.rows = rows.into();
    request
}

#[test]
fn a_contribution_is_what_leaving_the_variable_out_changes() {
    let mut pipeline = pipeline(random(3));
    let request = two_variables(None);
    let scores = |outcome| match outcome {
        Outcome::Scored(scores) | Outcome::Degraded(scores, _) => scores,
        Outcome::Unscored(reason) => panic!("{reason}"),
    };
    let whole = scores(pipeline.score(&request));
    assert_eq!(whole.attribution.len(), 2);
    let strengths: Vec<f32> = whole.attribution.iter().map(|c| c.change.abs()).collect();
    assert!(strengths[0] >= strengths[1] && strengths[1] > 0.0, "{strengths:?}");
    for contribution in &whole.attribution {
        let left_out = pipeline.dictionary.by_code(&contribution.variable).expect("code");
        let rows = request.rows.iter().filter(|row| row.variable != left_out).copied().collect();
        let without = scores(pipeline.score(&PredictionRequest { rows, ..request.clone() }));
        let change = whole.mortality.get() - without.mortality.get();
        assert!((contribution.change - change).abs() < 1e-6, "{contribution:?} {change}");
    }
}

#[test]
fn attribution_with_a_film_keeps_the_film() {
    let mut pipeline = pipeline(random(3));
    let Outcome::Scored(with) = pipeline.score(&two_variables(Some(2))) else { panic!("film") };
    let Outcome::Degraded(without, _) = pipeline.score(&two_variables(None)) else { panic!("no") };
    assert_eq!(with.attribution.len(), 2);
    assert_ne!(with.attribution, without.attribution);
}

#[test]
fn the_interval_holds_the_probability_and_widens_with_the_covariance() {
    let mut model = random(3);
    let mut widths = Vec::new();
    for scale in [0.1, 1.0] {
        model.calibration.mortality.covariance = Some([[scale, 0.0], [0.0, scale]]);
        let outcome = pipeline(model.clone()).score(&window(30, None));
        let Outcome::Degraded(scores, _) = outcome else { panic!("{outcome:?}") };
        let interval = scores.mortality_interval.expect("interval");
        assert!(interval.low() < scores.mortality && scores.mortality < interval.high());
        widths.push(interval.high().get() - interval.low().get());
    }
    assert!(widths[0] < widths[1]);
    model.calibration.mortality.covariance = None;
    let outcome = pipeline(model).score(&window(30, None));
    let Outcome::Degraded(scores, _) = outcome else { panic!("{outcome:?}") };
    assert_eq!(scores.mortality_interval, None);
}

/// A model of the reference profile repeats the published code's defects where it generates: the
/// first hours of the EHR are dropped (B1), and Z_t0 is a sample that depends on the seed (B10).
#[test]
fn the_reference_profile_repeats_published_defects() {
    let latents = |profile: Profile, hour: i64, seed: u64| {
        let mut parts = random(3);
        parts.about.profile = profile;
        let mut request = window(48, Some(1));
        request.seed = seed;
        // What happens early since the film decides whether the dropped hours are seen.
        let early = request.generation_start + Span::hours(hour);
        let rows = request.rows.iter().map(|row| match row.at < early {
            true => Row { value: 140.0, ..*row },
            false => *row,
        });
        request.rows = rows.collect();
        let latents = pipeline(parts).generate(&request).expect("a film");
        let numbers = |x: Tensor<4>| x.into_data().try_into_vec::<f32>().expect("f32");
        (numbers(latents.reference), numbers(latents.now))
    };
    let (clinical, reference) = (Profile::Clinical, Profile::Reference);
    assert_eq!(latents(clinical, 0, 5).0, latents(clinical, 0, 6).0);
    assert_ne!(latents(reference, 0, 5).0, latents(reference, 0, 6).0);
    assert_ne!(latents(clinical, 0, 5).1, latents(clinical, 3, 5).1);
    assert_eq!(latents(reference, 0, 5).1, latents(reference, 3, 5).1);
}

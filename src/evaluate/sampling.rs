//! How few network evaluations are enough: every sampler against 200 evaluations of DDIM without
//! noise, from the same x_T, the posterior mean of the last film and the same EHR.
//!
//! The rule: the fewest evaluations whose mean absolute change of the mortality risk is at most
//! 0.005 and whose 99th percentile is at most 0.03. The published sampler draws noise on the way
//! (η = 1), so what it says differs from seed to seed; that spread stands beside the curve.

use serde::Serialize;

use super::EvaluateError;
use super::team::{Open, shared};
use super::windows::GivenWindow;
use crate::model::Sampler;
use crate::model::config::SamplerKind;
use crate::predict::{Glance, Pipeline};

/// Evaluations tried of each sampler; divisors of the 1000 timesteps, so that they are met exactly.
const STEPS: [usize; 10] = [1, 2, 4, 5, 8, 10, 20, 40, 100, 200];
/// Evaluations of the walk that the others are compared with.
const REFERENCE: usize = 200;
/// The rule's bounds on the absolute change of the mortality risk.
pub const MEAN_MOST: f64 = 0.005;
pub const P99_MOST: f64 = 0.03;
/// The rule is to be judged on at least so many windows.
pub const WINDOWS_LEAST: usize = 500;
/// Seeds of the published sampler, and windows that it is tried on: it takes 200 evaluations each.
const SEEDS: [u64; 4] = [1, 2, 3, 4];
const SPREAD_WINDOWS: usize = 25;

/// The whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamplingStudy {
    pub model: String,
    pub model_digest: String,
    pub windows: usize,
    pub stays: usize,
    /// What every point is compared with.
    pub reference: String,
    pub mean_most: f64,
    pub p99_most: f64,
    /// In order of sampler and evaluations.
    pub points: Vec<SamplingPoint>,
    /// By the rule; `None` if nothing tried keeps it.
    pub chosen: Option<Choice>,
    /// What the model is set to.
    pub configured: Choice,
    /// Whether that keeps the rule; `None` if it draws noise and was not compared.
    pub configured_keeps_rule: Option<bool>,
    pub spread: Option<Spread>,
}

/// A sampler and how often it asks the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    pub sampler: &'static str,
    pub evaluations: usize,
}

/// One way to sample, over all windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamplingPoint {
    #[serde(flatten)]
    pub choice: Choice,
    /// Absolute change of the mortality risk.
    pub risk_mean: f64,
    pub risk_p99: f64,
    pub risk_most: f64,
    /// Root mean square of the latent's change, over that of the latent.
    pub latent: f64,
    /// Mean absolute change of the decoded film, of the whole range from black to white.
    pub film: f64,
}

/// The published sampler (DDIM, 200 evaluations, η = 1) over several seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub windows: usize,
    pub seeds: usize,
    /// Standard deviation of the mortality risk over the seeds: mean and largest over the windows.
    pub risk_sd_mean: f64,
    pub risk_sd_most: f64,
    /// Mean absolute change of the risk from the walk without noise.
    pub risk_change_mean: f64,
    /// As in [`SamplingPoint`], from the walk without noise.
    pub latent: f64,
    pub film: f64,
}

/// How far one sample lies from the reference.
#[derive(Clone, Copy)]
struct Apart {
    risk: f64,
    latent: f64,
    film: f64,
}

/// One window: a distance for each way, and risks and distances of the seeds.
struct Walked {
    ways: Vec<Apart>,
    seeds: Vec<(f64, Apart)>,
}

/// A way to sample that is tried.
struct Way {
    choice: Choice,
    sampler: Sampler,
}

const fn name(kind: SamplerKind) -> &'static str {
    match kind {
        SamplerKind::Ddim => "DDIM",
        SamplerKind::DpmSolver2m => "DPM-Solver++ 2M",
    }
}

/// Both samplers at every number of evaluations, and what the model is set to.
fn ways(pipeline: &Pipeline) -> Vec<Way> {
    let config = &pipeline.model().config.diffusion;
    let way = |kind, steps| {
        let sampler = pipeline.sampler(kind, steps, 0.0);
        Way { choice: Choice { sampler: name(kind), evaluations: sampler.evaluations() }, sampler }
    };
    let mut ways = Vec::new();
    for kind in [SamplerKind::Ddim, SamplerKind::DpmSolver2m] {
        let mut steps = STEPS.to_vec();
        if kind == config.sampler {
            steps.push(config.steps);
        }
        // 200 evaluations of DDIM are what the others are compared with.
        let compared = |n: &usize| kind != SamplerKind::Ddim || *n != REFERENCE;
        ways.extend(steps.into_iter().filter(compared).map(|n| way(kind, n)));
    }
    ways.sort_by_key(|way| (way.choice.sampler, way.choice.evaluations));
    ways.dedup_by_key(|way| way.choice);
    ways
}

/// Compares the samplers on `windows`, with networks that `open` opens for each thread.
///
/// # Errors
/// [`EvaluateError::Model`] if they cannot be opened, [`EvaluateError::Nothing`] if no window gave
/// a number.
pub fn sampling(
    windows: &[GivenWindow],
    open: &Open<'_>,
    report: &mut dyn FnMut(u64, u64),
) -> Result<SamplingStudy, EvaluateError> {
    let pipeline = open().map_err(EvaluateError::Model)?;
    let ways = ways(&pipeline);
    let spread_every = windows.len().div_ceil(SPREAD_WINDOWS).max(1);
    let work = |pipeline: &mut Pipeline, i: usize| {
        walk(pipeline, &windows[i], &ways, i.is_multiple_of(spread_every))
    };
    let walked = shared(windows.len(), open, &work, report)?;
    if walked.is_empty() {
        let why = "the model gave no number for any window; try another model";
        return Err(EvaluateError::Nothing(why.to_owned()));
    }
    let config = &pipeline.model().config.diffusion;
    let sampler = Sampler::new(config);
    let configured = Choice { sampler: name(config.sampler), evaluations: sampler.evaluations() };
    let points: Vec<SamplingPoint> = ways
        .iter()
        .enumerate()
        .map(|(n, way)| point(way.choice, walked.iter().map(|one| one.ways[n]).collect()))
        .collect();
    let of_config = points.iter().find(|point| point.choice == configured);
    let is_reference = configured == Choice { sampler: "DDIM", evaluations: REFERENCE };
    let keeps = of_config.map(SamplingPoint::keeps_rule).or(is_reference.then_some(true));
    let about = &pipeline.model().about;
    let mut stays: Vec<_> = windows.iter().map(GivenWindow::stay).collect();
    stays.dedup();
    Ok(SamplingStudy {
        model: format!("{} {}", about.name, about.version),
        model_digest: pipeline.model().digest().to_string(),
        windows: walked.len(),
        stays: stays.len(),
        reference: format!("DDIM, {REFERENCE} evaluations, no noise on the way"),
        mean_most: MEAN_MOST,
        p99_most: P99_MOST,
        chosen: chosen(&points),
        points,
        configured,
        configured_keeps_rule: keeps.filter(|_| !sampler.is_stochastic()),
        spread: spread(&walked),
    })
}

fn walk(
    pipeline: &mut Pipeline,
    window: &GivenWindow,
    ways: &[Way],
    with_seeds: bool,
) -> Option<Walked> {
    let prepared = pipeline.prepare(&window.request)?;
    let look = |sampler: &Sampler, seed: u64| {
        pipeline.glance(&prepared, pipeline.sampled(&prepared, None, Some(sampler), seed))
    };
    let reference = look(&pipeline.sampler(SamplerKind::Ddim, REFERENCE, 0.0), 0)?;
    let mut all = Vec::with_capacity(ways.len());
    for way in ways {
        all.push(Apart::of(&look(&way.sampler, 0)?, &reference));
    }
    let published = pipeline.sampler(SamplerKind::Ddim, REFERENCE, 1.0);
    let mut seeds = Vec::new();
    for seed in SEEDS.into_iter().filter(|_| with_seeds) {
        let seen = look(&published, seed)?;
        seeds.push((seen.mortality, Apart::of(&seen, &reference)));
    }
    Some(Walked { ways: all, seeds })
}

impl Apart {
    fn of(seen: &Glance, reference: &Glance) -> Self {
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let pairs = seen.latent.iter().zip(&reference.latent);
        let off = squares(&mut pairs.map(|(a, b)| f64::from(a - b)));
        let size = squares(&mut reference.latent.iter().map(|&x| f64::from(x)));
        let pixels = seen.picture.pixels.iter().zip(&reference.picture.pixels);
        let apart: f64 = pixels.map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        Apart {
            risk: (seen.mortality - reference.mortality).abs(),
            latent: (off / size.max(f64::MIN_POSITIVE)).sqrt(),
            film: apart / (255.0 * reference.picture.pixels.len().max(1) as f64),
        }
    }
}

impl SamplingStudy {
    /// What the rule says, in two sentences.
    pub fn verdict(&self) -> String {
        let rule = format!(
            "the fewest evaluations with a mean change of risk of at most {} and a 99th percentile \
             of at most {}",
            self.mean_most, self.p99_most
        );
        let chosen = match self.chosen {
            Some(choice) => format!("{} with {}", choice.sampler, choice.evaluations),
            None => "none of those tried".to_owned(),
        };
        let keeps = match self.configured_keeps_rule {
            Some(true) => "which keeps the rule",
            Some(false) => "which does not keep the rule",
            None => "which draws noise and is not judged by it",
        };
        format!(
            "By the rule ({rule}): {chosen}. The model is set to {} with {} evaluations, {keeps}.",
            self.configured.sampler, self.configured.evaluations
        )
    }
}

impl SamplingPoint {
    pub fn keeps_rule(&self) -> bool {
        self.risk_mean <= MEAN_MOST && self.risk_p99 <= P99_MOST
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

fn point(choice: Choice, apart: Vec<Apart>) -> SamplingPoint {
    let mut risks: Vec<f64> = apart.iter().map(|one| one.risk).collect();
    risks.sort_by(f64::total_cmp);
    // The smallest change that 99 % of the windows do not exceed.
    let place = (0.99 * risks.len() as f64).ceil() as usize;
    SamplingPoint {
        choice,
        risk_mean: mean(risks.iter().copied()),
        risk_p99: risks.get(place.saturating_sub(1)).copied().unwrap_or(0.0),
        risk_most: risks.last().copied().unwrap_or(0.0),
        latent: mean(apart.iter().map(|one| one.latent)),
        film: mean(apart.iter().map(|one| one.film)),
    }
}

/// The fewest evaluations that keep the rule; of two samplers with as many, the nearer one.
fn chosen(points: &[SamplingPoint]) -> Option<Choice> {
    let kept = points.iter().filter(|point| point.keeps_rule());
    let order = |a: &&SamplingPoint, b: &&SamplingPoint| {
        let fewer = a.choice.evaluations.cmp(&b.choice.evaluations);
        fewer.then(a.risk_mean.total_cmp(&b.risk_mean))
    };
    kept.min_by(order).map(|point| point.choice)
}

fn spread(walked: &[Walked]) -> Option<Spread> {
    let tried: Vec<&Walked> = walked.iter().filter(|one| !one.seeds.is_empty()).collect();
    if tried.is_empty() {
        return None;
    }
    let deviation = |one: &&Walked| {
        let m = mean(one.seeds.iter().map(|(risk, _)| *risk));
        let squares: f64 = one.seeds.iter().map(|(risk, _)| (risk - m).powi(2)).sum();
        (squares / (one.seeds.len() as f64 - 1.0).max(1.0)).sqrt()
    };
    let sds: Vec<f64> = tried.iter().map(deviation).collect();
    let all: Vec<Apart> =
        tried.iter().flat_map(|one| one.seeds.iter().map(|(_, apart)| *apart)).collect();
    Some(Spread {
        windows: tried.len(),
        seeds: SEEDS.len(),
        risk_sd_mean: mean(sds.iter().copied()),
        risk_sd_most: sds.iter().copied().fold(0.0, f64::max),
        risk_change_mean: mean(all.iter().map(|one| one.risk)),
        latent: mean(all.iter().map(|one| one.latent)),
        film: mean(all.iter().map(|one| one.film)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(evaluations: usize, risks: [f64; 2]) -> SamplingPoint {
        let apart = |risk| Apart { risk, latent: 0.1, film: 0.01 };
        let choice = Choice { sampler: "DDIM", evaluations };
        point(choice, [vec![apart(risks[0]); 98], vec![apart(risks[1]); 2]].concat())
    }

    #[test]
    fn the_rule_takes_the_fewest_evaluations_that_keep_both_bounds() {
        // The first is far off on average, the second in one window of fifty.
        let points = [at(1, [0.02, 0.02]), at(4, [0.001, 0.2]), at(8, [0.001, 0.02])];
        assert!(points[1].risk_mean <= MEAN_MOST && points[1].risk_p99 == 0.2);
        assert_eq!(chosen(&points).map(|choice| choice.evaluations), Some(8));
        assert_eq!(chosen(&points[..2]), None);
        let nearer = SamplingPoint {
            choice: Choice { sampler: "DPM-Solver++ 2M", evaluations: 8 },
            ..at(8, [0.0005, 0.02])
        };
        let [_, _, last] = points;
        assert_eq!(chosen(&[last, nearer]).map(|choice| choice.sampler), Some("DPM-Solver++ 2M"));
    }

    #[test]
    fn seeds_that_agree_have_no_spread() {
        let apart = Apart { risk: 0.1, latent: 0.2, film: 0.3 };
        let one = |risks: [f64; 2]| Walked {
            ways: Vec::new(),
            seeds: risks.map(|risk| (risk, apart)).to_vec(),
        };
        assert_eq!(spread(&[Walked { ways: Vec::new(), seeds: Vec::new() }]), None);
        let told = spread(&[one([0.3, 0.3]), one([0.2, 0.4])]).unwrap();
        assert!((told.risk_sd_most - 0.02f64.sqrt()).abs() < 1e-12);
        assert!((told.risk_sd_mean - told.risk_sd_most / 2.0).abs() < 1e-12);
        assert!((told.risk_change_mean - 0.1).abs() < 1e-12);
    }
}

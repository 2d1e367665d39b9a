//! The loop of every stage: batches, steps, checks on the validation set, checkpoints and
//! pictures. A stage says what its loss is; everything else is the same for all.
//!
//! A step is a function of the seed, its number and the state before it, and nothing random is
//! carried along: so a run that goes on after a checkpoint makes the same steps.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::checkpoint::{Keeper, State};
use super::learner::{Learner, Optimiser};
use super::pace::Pace;
use super::symptoms::Symptom;
use crate::model::weights::{Tensors, prefixed, tensors_of, under, with_tensors};

/// Pictures made while a stage runs.
const PICTURES: f64 = 4.0;

/// Symptoms are told from this share of a stage on: before it, all are there.
const WARNED_FROM: f64 = 0.5;

/// How long and in what pieces a stage learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// Samples shown at once.
    pub batch: usize,
    /// Batches whose gradients make one step.
    pub accumulate: u64,
    /// Steps of the stage; 0 for as many as fit in its seconds.
    pub steps: u64,
    pub seconds: f64,
    /// How often the validation set is asked, in equal parts of the stage; 0 for never.
    pub checks: u64,
    /// Checks without a better one after which the stage ends; 0 for never.
    pub patience: u64,
}

/// What a step says of itself.
pub(super) type Noted = Vec<(&'static str, f64)>;

/// One stage.
pub(super) trait Stage<M: Module> {
    /// The loss of one batch.
    fn loss(&mut self, net: &M, at: Moment) -> Result<(Tensor<1>, Noted), TrainError>;

    /// How good the network is on the validation set, more being better, and what to log.
    fn check(&mut self, _net: &M) -> Result<Option<(f64, Noted)>, TrainError> {
        Ok(None)
    }

    /// What a step depends on besides recipe and samples, for telling one run from another.
    fn besides(&self) -> String {
        String::new()
    }

    /// What the stage carries from step to step.
    fn carried(&self) -> Carried {
        Carried::default()
    }

    /// Takes that back.
    fn carry_on(&mut self, _carried: Carried) -> Result<(), TrainError> {
        Ok(())
    }

    /// In what ways the network fails, as far as one can see by now.
    fn symptoms(&self, _net: &M) -> Result<Vec<Symptom>, TrainError> {
        Ok(Vec::new())
    }

    /// Draws what a person wants to see of the network.
    fn draw(&mut self, _net: &M) -> Result<(), TrainError> {
        Ok(())
    }
}

/// What a stage carries from step to step besides its network: numbers, and the tensors of
/// whatever else learns.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) numbers: Vec<f64>,
    pub(super) tensors: Tensors,
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Counts batches, from 0.
    pub(super) batch: u64,
    /// Counts steps, from 0.
    pub(super) step: u64,
    /// How far the stage is, 0 to 1.
    pub(super) share: f64,
}

/// What a stage runs with.
pub(super) struct Running<'a, 'p> {
    pub(super) name: &'static str,
    pub(super) seed: u64,
    pub(super) device: &'a Device,
    pub(super) course: Course,
    pub(super) optimiser: Optimiser,
    /// The weights of the loss, as text: a stage goes on with the same ones only.
    pub(super) loss: String,
    pub(super) keeper: &'a Keeper,
    pub(super) pace: Pace<'p>,
    /// Asked after each step; a run that is to stop writes its state first.
    pub(super) stop: &'a dyn Fn(&str, u64) -> bool,
}

/// Runs a stage to its end, from its last state if it is to go on; the network and its steps.
pub(super) fn run<M: Module, S: Stage<M>>(
    stage: &mut S,
    net: M,
    mut running: Running<'_, '_>,
) -> Result<(M, u64), TrainError> {
    let name = running.name;
    let Running { course, optimiser, loss, .. } = &running;
    let recipe = format!("{course:?} {optimiser:?} {loss}{}", stage.besides());
    let mut learner = Learner::new(net, running.optimiser);
    let mut state = State::default();
    let mut best: Option<Tensors> = None;
    if let Some((saved, tensors)) = running.keeper.resumed(name, &recipe)? {
        if saved.done {
            let net = with_tensors(learner.net.valid(), &under(&tensors, "net."))?;
            return Ok((net, saved.step));
        }
        learner = learner.resume(&tensors, saved.counts, running.device)?;
        best = saved.best.is_some().then(|| under(&tensors, "best."));
        running.pace.resume(saved.step, saved.elapsed_s);
        let numbers = saved.carried.clone();
        stage.carry_on(Carried { numbers, tensors: under(&tensors, "stage.") })?;
        state = saved;
    }
    state.recipe = recipe;
    let mut rhythm = running.keeper.begin(state.step);
    let mut drawn = (running.pace.share() * PICTURES) as u64;
    while let Some(step) = running.pace.next() {
        learner = one_step(stage, learner, &mut running, step)?;
        state.step = step + 1;
        if checked(stage, &learner, &mut running, &mut state, &mut best)? {
            break;
        }
        let share = running.pace.share();
        if (share * PICTURES) as u64 > drawn {
            drawn = (share * PICTURES) as u64;
            let net = learner.usable()?;
            stage.draw(&net)?;
            if share >= WARNED_FROM {
                running.pace.warn(stage.symptoms(&net)?)?;
            }
        }
        let stops = (running.stop)(name, state.step);
        if stops || running.keeper.is_due(&rhythm, state.step) {
            save(&learner, &mut state, best.as_ref(), stage.carried(), &running)?;
            rhythm = running.keeper.begin(state.step);
        }
        if stops {
            return Err(TrainError::Stopped(name.to_owned(), state.step));
        }
    }
    let net = learner.usable()?;
    let net = match &best {
        Some(tensors) => with_tensors(net, tensors)?,
        None => net,
    };
    state.done = true;
    running.keeper.save(name, state.clone(), &prefixed(tensors_of(&net), "net."))?;
    Ok((net, state.step))
}

fn one_step<M: Module, S: Stage<M>>(
    stage: &mut S,
    learner: Learner<M>,
    running: &mut Running<'_, '_>,
    step: u64,
) -> Result<Learner<M>, TrainError> {
    // Dropout draws from the device's generator: it is set anew, so that it depends on the step.
    running.device.seed(mixed(running.seed, step));
    let pieces = running.course.accumulate.max(1);
    let share = running.pace.share();
    let mut gradients: GradientsAccumulator<M> = GradientsAccumulator::new();
    let mut noted: Noted = Vec::new();
    for piece in 0..pieces {
        let at = Moment { batch: step * pieces + piece, step, share };
        let (loss, said) = stage.loss(&learner.net, at)?;
        let loss = if pieces > 1 { loss.div_scalar(pieces as f64) } else { loss };
        let found = GradientsParams::from_grads(loss.backward(), &learner.net);
        gradients.accumulate(&learner.net, found);
        noted.extend(said);
    }
    let learner = learner.step(gradients.grads(), share);
    running.pace.note(&noted)?;
    Ok(learner)
}

/// Asks the validation set when it is time to, keeps the best network, and says whether to end.
fn checked<M: Module, S: Stage<M>>(
    stage: &mut S,
    learner: &Learner<M>,
    running: &mut Running<'_, '_>,
    state: &mut State,
    best: &mut Option<Tensors>,
) -> Result<bool, TrainError> {
    let Course { checks, patience, .. } = running.course;
    let due = (running.pace.share() * checks as f64) as u64;
    // The first part of a stage is never its best.
    if due <= state.checked || (due < 2 && checks > 2) {
        return Ok(false);
    }
    state.checked = due;
    let net = learner.usable()?;
    let Some((score, noted)) = stage.check(&net)? else { return Ok(false) };
    noted.into_iter().for_each(|(name, value)| running.pace.add(name, value));
    if state.best.is_none_or(|before| score > before) {
        (state.best, state.since_best) = (Some(score), 0);
        *best = Some(tensors_of(&net));
        return Ok(false);
    }
    state.since_best += 1;
    Ok(patience > 0 && state.since_best >= patience)
}

fn save<M: Module>(
    learner: &Learner<M>,
    state: &mut State,
    best: Option<&Tensors>,
    carried: Carried,
    running: &Running<'_, '_>,
) -> Result<(), TrainError> {
    let (mut tensors, counts) = learner.tensors();
    tensors.extend(prefixed(carried.tensors, "stage."));
    state.carried = carried.numbers;
    (state.counts, state.elapsed_s) = (counts, running.pace.elapsed());
    if let Some(best) = best {
        tensors.extend(prefixed(best.clone(), "best."));
    }
    running.keeper.save(running.name, state.clone(), &tensors)
}

/// A seed of a seed and a number, far from those of their neighbours.
pub(super) fn mixed(seed: u64, n: u64) -> u64 {
    let x = (seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 29)
}

/// Which samples make up which batch: a shuffle of all for each pass, the same whenever it is
/// asked, so the place in the data is the number of the batch.
pub(super) struct Order {
    seed: u64,
    n: usize,
    size: usize,
    pass: Option<(u64, Vec<usize>)>,
}

impl Order {
    pub(super) fn new(seed: u64, n: usize, size: usize) -> Self {
        Order { seed, n, size: size.clamp(1, n.max(1)), pass: None }
    }

    /// Batch `number`. What is left of a pass and makes no whole batch is passed over.
    pub(super) fn batch(&mut self, number: u64) -> &[usize] {
        let batches = (self.n / self.size).max(1) as u64;
        let (pass, place) = (number / batches, (number % batches) as usize);
        if self.pass.as_ref().is_none_or(|(held, _)| *held != pass) {
            let mut order: Vec<usize> = (0..self.n).collect();
            order.shuffle(&mut self.rng(pass ^ (1 << 63)));
            self.pass = Some((pass, order));
        }
        let order = self.pass.as_ref().map_or(&[][..], |(_, order)| order);
        order.get(place * self.size..(place + 1) * self.size).unwrap_or(&[])
    }

    /// What else a batch draws.
    pub(super) fn rng(&self, batch: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(mixed(self.seed, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    use crate::ids::Digest;
    use crate::model::Init;
    use crate::model::layers::Linear;
    use crate::train::optimise::{tensor, values};
    use crate::train::pace::{Budget, Log};
    use crate::train::recipe::{Checkpoints, Recipe};
    use std::path::Path;

    #[test]
    fn every_sample_comes_once_a_pass_whenever_it_is_asked() {
        let mut order = Order::new(3, 11, 5);
        let first: Vec<usize> = (0..2).flat_map(|n| order.batch(n).to_vec()).collect();
        let second: Vec<usize> = (2..4).flat_map(|n| order.batch(n).to_vec()).collect();
        let distinct: std::collections::BTreeSet<usize> = first.iter().copied().collect();
        assert_eq!((first.len(), distinct.len()), (10, 10));
        assert_ne!(first, second);
        let mut other = Order::new(3, 11, 5);
        assert_eq!(other.batch(3), &second[5..]);
        assert_eq!(other.batch(0), &first[..5]);
        assert_eq!(Order::new(1, 3, 8).batch(7).len(), 3, "fewer samples than a batch has");
        assert!(Order::new(1, 0, 8).batch(0).is_empty());
        let draw = |n: u64| Order::new(3, 11, 5).rng(n).random::<u64>();
        assert_eq!(draw(4), draw(4));
        assert_ne!(draw(4), draw(5));
    }

    /// Learns to map rows of three numbers to their sum; its checks say what they are told to.
    struct Toy {
        rows: usize,
        scores: Vec<f64>,
        checked: Vec<Tensors>,
    }

    impl Stage<Linear> for Toy {
        fn loss(&mut self, net: &Linear, at: Moment) -> Result<(Tensor<1>, Noted), TrainError> {
            let first = at.batch as usize * self.rows;
            let x: Vec<f32> =
                (first * 3..(first + self.rows) * 3).map(|i| (i as f32).sin()).collect();
            let y: Vec<f32> = x.chunks(3).map(|row| row.iter().sum()).collect();
            let device = Device::flex();
            let x: Tensor<2> = Tensor::from_inner(tensor(x, [self.rows, 3], &device));
            let y: Tensor<2> = Tensor::from_inner(tensor(y, [self.rows, 1], &device));
            Ok((net.forward(x).sub(y).square().mean(), Noted::new()))
        }

        fn check(&mut self, net: &Linear) -> Result<Option<(f64, Noted)>, TrainError> {
            self.checked.push(tensors_of(net));
            let n = self.checked.len() - 1;
            Ok(self.scores.get(n).map(|&score| (score, Noted::new())))
        }
    }

    fn trained(dir: &Path, toy: &mut Toy, course: Course) -> (Linear, u64) {
        let keeper = Keeper::new(
            dir.join("states"),
            Checkpoints { steps: 0, seconds: 0.0 },
            Digest([0; 32]),
            false,
        );
        let mut log = Log::create(&dir.join("log")).unwrap();
        let mut report = |_| ();
        let mut optimiser = Recipe::parse("").unwrap().fusion.optimiser;
        optimiser.clip = 0.0;
        let running = Running {
            name: "toy",
            seed: 1,
            device: &Device::flex(),
            course,
            optimiser,
            loss: String::new(),
            keeper: &keeper,
            pace: Pace::new(
                "toy",
                Budget::Steps(course.steps),
                &mut log,
                &mut report,
                dir.join("curves.png"),
            ),
            stop: &|_, _| false,
        };
        let net = Linear::new(3, 1, &mut Init::seeded(1, &Device::flex().autodiff()));
        run(toy, net, running).unwrap()
    }

    fn course(steps: u64, accumulate: u64, checks: u64) -> Course {
        Course { batch: 1, accumulate, steps, seconds: 0.0, checks, patience: 2 }
    }

    #[test]
    fn a_stage_ends_when_nothing_gets_better_and_keeps_the_best() {
        let dir = tempfile::tempdir().unwrap();
        let scores = vec![0.1, 0.5, 0.4, 0.3, 0.9, 0.9];
        let mut toy = Toy { rows: 2, scores, checked: Vec::new() };
        let (net, steps) = trained(dir.path(), &mut toy, course(70, 1, 7));
        // The first seventh is never asked about; the best is the second that is, then two worse.
        assert_eq!((toy.checked.len(), steps), (4, 50));
        assert_eq!(tensors_of(&net), toy.checked[1]);
    }

    #[test]
    fn batches_that_are_gathered_make_the_step_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut whole = Toy { rows: 4, scores: Vec::new(), checked: Vec::new() };
        let mut pieces = Toy { rows: 2, scores: Vec::new(), checked: Vec::new() };
        let (a, _) = trained(dir.path(), &mut whole, course(9, 1, 0));
        let (b, _) = trained(dir.path(), &mut pieces, course(9, 2, 0));
        let (a, b) = (values(a.kernel.val()), values(b.kernel.val()));
        for (a, b) in a.into_iter().zip(b) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}

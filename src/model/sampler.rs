//! From noise to a latent: the walk back through the noise schedule (`reference/ddl-cxr.md` 3.6).
//!
//! Both samplers take their noise from the caller, so that a latent is a function of its inputs.
//! The network is a function of (noisy latent, timestep); what conditions it is its own affair.

use burn::tensor::Tensor;

use super::config::{DiffusionConfig, Prediction, SamplerKind};
use super::layers::gaussian;
use super::schedule::{DdimTable, Schedule};

/// A walk of a fixed number of network evaluations.
#[derive(Clone, Debug)]
pub struct Sampler {
    kind: SamplerKind,
    prediction: Prediction,
    temperature: f64,
    table: DdimTable,
}

impl Sampler {
    pub fn new(config: &DiffusionConfig) -> Self {
        let eta = match config.sampler {
            SamplerKind::Ddim => config.eta,
            SamplerKind::DpmSolver2m => 0.0,
        };
        let table = Schedule::new(config).ddim(config.steps, eta);
        let DiffusionConfig { sampler: kind, prediction, temperature, .. } = *config;
        Sampler { kind, prediction, temperature, table }
    }

    /// Network evaluations of one sample.
    pub fn evaluations(&self) -> usize {
        self.table.timesteps.len()
    }

    /// Whether noise is drawn on the way.
    pub fn is_stochastic(&self) -> bool {
        self.table.sigmas.iter().any(|sigma| *sigma > 0.0)
    }

    /// Noise for [`Sampler::sample`], one vector of `len` numbers a step, none if deterministic.
    pub fn draw_noise(&self, seed: u64, len: usize) -> Vec<Vec<f32>> {
        if !self.is_stochastic() {
            return Vec::new();
        }
        let all = gaussian(seed, len * self.evaluations());
        all.chunks(len.max(1)).map(<[f32]>::to_vec).collect()
    }

    /// Walks from `x_t` (pure noise, `[batch, channels, h, w]`) to a latent of the same shape.
    ///
    /// `noise` holds one tensor of that shape for each evaluation, in the order of use; steps
    /// beyond its end add none. `network` is what the config's prediction says of a latent at a
    /// timestep.
    pub fn sample(
        &self,
        x_t: Tensor<4>,
        noise: &[Tensor<4>],
        mut network: impl FnMut(Tensor<4>, usize) -> Tensor<4>,
    ) -> Tensor<4> {
        let x_t = if self.temperature == 1.0 { x_t } else { x_t.mul_scalar(self.temperature) };
        let eps = |x: Tensor<4>, i: usize| {
            let output = network(x.clone(), self.table.timesteps[i]);
            match self.prediction {
                Prediction::Epsilon => output,
                Prediction::Velocity => {
                    let alpha = self.table.alphas[i];
                    output.mul_scalar(alpha.sqrt()).add(x.mul_scalar((1.0 - alpha).sqrt()))
                }
            }
        };
        match self.kind {
            SamplerKind::Ddim => self.ddim(x_t, noise, eps),
            SamplerKind::DpmSolver2m => self.dpm_solver(x_t, eps),
        }
    }

    /// DDIM. With x0 = (x − √(1−ᾱ) e) / √ᾱ the step is √ᾱ' x0 + √(1−ᾱ'−σ²) e + σ n; the two
    /// factors of x and e are put together on the host in f64.
    fn ddim(
        &self,
        x_t: Tensor<4>,
        noise: &[Tensor<4>],
        mut eps: impl FnMut(Tensor<4>, usize) -> Tensor<4>,
    ) -> Tensor<4> {
        let mut x = x_t;
        for (n, i) in (0..self.evaluations()).rev().enumerate() {
            let (alpha, prev) = (self.table.alphas[i], self.table.alphas_prev[i]);
            let sigma = self.table.sigmas[i];
            let e = eps(x.clone(), i);
            let of_x = (prev / alpha).sqrt();
            let toward = (1.0 - prev - sigma * sigma).max(0.0).sqrt();
            let of_e = toward - of_x * (1.0 - alpha).sqrt();
            x = x.mul_scalar(of_x).add(e.mul_scalar(of_e));
            if let Some(noise) = noise.get(n).filter(|_| sigma > 0.0) {
                x = x.add(noise.clone().mul_scalar(sigma));
            }
        }
        x
    }

    /// DPM-Solver++(2M): an exponential integrator in λ = ln(√ᾱ / √(1−ᾱ)) that extrapolates x0
    /// from the last two evaluations. Its first and last steps are of first order, which is DDIM.
    fn dpm_solver(
        &self,
        x_t: Tensor<4>,
        mut eps: impl FnMut(Tensor<4>, usize) -> Tensor<4>,
    ) -> Tensor<4> {
        let lambda = |alpha: f64| 0.5 * (alpha / (1.0 - alpha)).ln();
        let mut x = x_t;
        let mut before: Option<(Tensor<4>, f64)> = None;
        for i in (0..self.evaluations()).rev() {
            let (alpha, next) = (self.table.alphas[i], self.table.alphas_prev[i]);
            let e = eps(x.clone(), i);
            let spread = (1.0 - alpha).sqrt();
            let x0 = x.clone().sub(e.mul_scalar(spread)).mul_scalar(1.0 / alpha.sqrt());
            let step = lambda(next) - lambda(alpha);
            let target = match before.take().filter(|_| i > 0) {
                Some((old, old_step)) if step > 0.0 => {
                    let half = step / (2.0 * old_step);
                    x0.clone().mul_scalar(1.0 + half).sub(old.mul_scalar(half))
                }
                _ => x0.clone(),
            };
            let of_x = (1.0 - next).sqrt() / spread;
            let of_target = -next.sqrt() * (-step).exp_m1();
            x = x.mul_scalar(of_x).add(target.mul_scalar(of_target));
            before = Some((x0, step));
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::config::DdlCxrConfig;
    use super::*;

    /// Data N(0, s²): the best noise prediction and the exact end of the walk are known.
    const S2: f64 = 0.25;

    fn walk(kind: SamplerKind, steps: usize) -> f64 {
        let mut config = DdlCxrConfig::full().diffusion;
        (config.sampler, config.steps, config.eta) = (kind, steps, 0.0);
        let sampler = Sampler::new(&config);
        let schedule = Schedule::new(&config);
        let x = Tensor::<4>::ones([1, 1, 1, 1], &Device::flex());
        let out = sampler.sample(x, &[], |x, t| {
            let a = schedule.alpha_bar(t);
            x.mul_scalar((1.0 - a).sqrt() / (a * S2 + 1.0 - a))
        });
        let top = schedule.alpha_bar(*sampler.table.timesteps.last().expect("steps"));
        let spread = |a: f64| (a * S2 + 1.0 - a).sqrt();
        let exact = spread(schedule.alpha_bar(0)) / spread(top);
        let got = out.into_data().try_to_vec::<f32>().expect("f32")[0];
        (f64::from(got) - exact).abs() / exact
    }

    #[test]
    fn more_steps_come_closer_and_the_second_order_solver_closer_still() {
        let coarse = walk(SamplerKind::Ddim, 10);
        assert!(walk(SamplerKind::Ddim, 50) < coarse / 3.0);
        for steps in [10, 20, 50] {
            let (ddim, dpm) =
                (walk(SamplerKind::Ddim, steps), walk(SamplerKind::DpmSolver2m, steps));
            println!("{steps} steps: ddim {ddim:.2e}, dpm {dpm:.2e}");
            assert!(dpm < ddim, "{steps} steps: {dpm} {ddim}");
        }
    }

    #[test]
    fn a_velocity_says_the_same_as_the_noise_it_stands_for() {
        let run = |prediction| {
            let mut config = DdlCxrConfig::full().diffusion;
            (config.prediction, config.steps, config.eta) = (prediction, 10, 0.0);
            let (sampler, schedule) = (Sampler::new(&config), Schedule::new(&config));
            let x = Tensor::<4>::ones([1, 1, 1, 1], &Device::flex());
            let out = sampler.sample(x, &[], |x, t| {
                let a = schedule.alpha_bar(t);
                let noise = x.clone().mul_scalar((1.0 - a).sqrt() / (a * S2 + 1.0 - a));
                match prediction {
                    Prediction::Epsilon => noise,
                    // √ᾱ noise − √(1−ᾱ) x0, with x0 = (x − √(1−ᾱ) noise) / √ᾱ.
                    Prediction::Velocity => {
                        let x0 = x.sub(noise.clone().mul_scalar((1.0 - a).sqrt()));
                        let x0 = x0.mul_scalar(1.0 / a.sqrt());
                        noise.mul_scalar(a.sqrt()).sub(x0.mul_scalar((1.0 - a).sqrt()))
                    }
                }
            });
            out.into_data().try_to_vec::<f32>().expect("f32")[0]
        };
        let (noise, velocity) = (run(Prediction::Epsilon), run(Prediction::Velocity));
        assert!((noise - velocity).abs() < 1e-4, "{noise} {velocity}");
    }

    #[test]
    fn without_temperature_all_noise_walks_to_the_same_latent() {
        let run = |temperature, start: f32| {
            let mut config = DdlCxrConfig::full().diffusion;
            (config.steps, config.eta, config.temperature) = (10, 0.0, temperature);
            let x = Tensor::<4>::full([1, 1, 1, 1], start, &Device::flex());
            let out = Sampler::new(&config).sample(x, &[], |x, _| x.add_scalar(0.1));
            out.into_data().try_to_vec::<f32>().expect("f32")[0]
        };
        assert_eq!(run(0.0, 1.0), run(0.0, -2.0));
        assert_ne!(run(1.0, 1.0), run(1.0, -2.0));
        assert_eq!(run(0.5, 2.0), run(1.0, 1.0));
    }

    #[test]
    fn one_step_of_both_samplers_is_the_same() {
        let (ddim, dpm) = (walk(SamplerKind::Ddim, 1), walk(SamplerKind::DpmSolver2m, 1));
        assert!((ddim - dpm).abs() < 1e-5, "{ddim} {dpm}");
    }

    #[test]
    fn a_stochastic_walk_is_a_function_of_its_noise() {
        let mut config = DdlCxrConfig::full().diffusion;
        config.steps = 5;
        let sampler = Sampler::new(&config);
        assert!(sampler.is_stochastic());
        let device = Device::flex();
        let run = |seed| {
            let noise: Vec<Tensor<4>> = sampler
                .draw_noise(seed, 4)
                .into_iter()
                .map(|n| Tensor::from_data(TensorData::new(n, [1, 1, 2, 2]), &device))
                .collect();
            let x = Tensor::<4>::ones([1, 1, 2, 2], &device);
            sampler.sample(x, &noise, |x, _| x).into_data().try_to_vec::<f32>().expect("f32")
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}

//! The noise schedule of the diffusion, computed on the host in f64 (`reference/ddl-cxr.md` 3.3).

use burn::tensor::{Tensor, TensorData};

use super::config::{DiffusionConfig, Prediction};

/// β and ᾱ of every timestep. ᾱ is rounded to f32 as in the reference: from unrounded values the
/// sampler's sigmas would differ in the sixth digit.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub betas: Vec<f64>,
    /// Unrounded product of 1 − β.
    pub alphas_cumprod_f64: Vec<f64>,
    pub alphas_cumprod: Vec<f32>,
}

/// The timesteps that a short sampler visits, in rising order, with their tables in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct DdimTable {
    pub timesteps: Vec<usize>,
    pub alphas: Vec<f64>,
    pub alphas_prev: Vec<f64>,
    pub sigmas: Vec<f64>,
}

impl Schedule {
    /// β linear in its root between the two ends ("linear" in the latent diffusion sense).
    pub fn new(config: &DiffusionConfig) -> Self {
        let (first, last) = (config.linear_start.sqrt(), config.linear_end.sqrt());
        let gaps = config.timesteps.saturating_sub(1).max(1) as f64;
        let step = (last - first) / gaps;
        let half = config.timesteps / 2;
        // The second half counts back from the end, so that the last beta is exact.
        let root = |i: usize| match i < half {
            true => first + i as f64 * step,
            false => last - (config.timesteps - 1 - i) as f64 * step,
        };
        let betas: Vec<f64> = (0..config.timesteps).map(|i| root(i) * root(i)).collect();
        let mut product = 1.0;
        let alphas_cumprod_f64: Vec<f64> = betas
            .iter()
            .map(|beta| {
                product *= 1.0 - beta;
                product
            })
            .collect();
        let alphas_cumprod = alphas_cumprod_f64.iter().map(|&alpha| alpha as f32).collect();
        Schedule { betas, alphas_cumprod_f64, alphas_cumprod }
    }

    /// ᾱ of a timestep; past the end, of the last one.
    pub fn alpha_bar(&self, t: usize) -> f64 {
        let last = self.alphas_cumprod.len().saturating_sub(1);
        self.alphas_cumprod.get(t.min(last)).map_or(1.0, |&alpha| f64::from(alpha))
    }

    /// The tables of a sampler of `steps` evaluations: every (T / steps)th timestep, one later, as
    /// in the reference. Where T is no multiple of `steps` that makes a few more evaluations;
    /// `DdimTable::timesteps` says how many.
    pub fn ddim(&self, steps: usize, eta: f64) -> DdimTable {
        let total = self.alphas_cumprod.len();
        let stride = (total / steps.max(1)).max(1);
        let timesteps: Vec<usize> =
            (0..total).step_by(stride).map(|t| (t + 1).min(total - 1)).collect();
        let alphas: Vec<f64> = timesteps.iter().map(|&t| self.alpha_bar(t)).collect();
        let mut alphas_prev = vec![self.alpha_bar(0)];
        alphas_prev.extend(alphas.iter().take(alphas.len().saturating_sub(1)));
        let sigmas = alphas
            .iter()
            .zip(&alphas_prev)
            .map(|(a, p)| eta * ((1.0 - p) / (1.0 - a) * (1.0 - a / p)).max(0.0).sqrt())
            .collect();
        DdimTable { timesteps, alphas, alphas_prev, sigmas }
    }

    /// Training weight of the contrastive term, 1 / (1 + SNR) = 1 − ᾱ, of each sample.
    pub fn contrastive_weight(&self, t: &[usize]) -> Vec<f32> {
        t.iter().map(|&t| (1.0 - self.alpha_bar(t)) as f32).collect()
    }

    /// Noises each sample of `z0` to its own timestep: √ᾱ z0 + √(1 − ᾱ) noise.
    ///
    /// `z0` and `noise` are `[batch, channels, h, w]`; `t` has one timestep for each sample.
    pub fn q_sample(&self, z0: Tensor<4>, t: &[usize], noise: Tensor<4>) -> Tensor<4> {
        let (signal, spread) = self.factors(t, &z0);
        z0.mul(signal).add(noise.mul(spread))
    }

    /// What the network is to say of the latents that [`Schedule::q_sample`] made of `z0`.
    pub fn target(
        &self,
        prediction: Prediction,
        z0: Tensor<4>,
        t: &[usize],
        noise: Tensor<4>,
    ) -> Tensor<4> {
        match prediction {
            Prediction::Epsilon => noise,
            Prediction::Velocity => {
                let (signal, spread) = self.factors(t, &z0);
                noise.mul(signal).sub(z0.mul(spread))
            }
        }
    }

    /// √ᾱ and √(1 − ᾱ) of each sample, `[batch, 1, 1, 1]`, where `like` is.
    fn factors(&self, t: &[usize], like: &Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let column = |f: &dyn Fn(f64) -> f64| {
            let values: Vec<f32> = t.iter().map(|&t| f(self.alpha_bar(t)) as f32).collect();
            let data = TensorData::new(values, [t.len(), 1, 1, 1]);
            Tensor::<4>::from_data(data, &like.device())
        };
        (column(&f64::sqrt), column(&|alpha| (1.0 - alpha).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::DdlCxrConfig;
    use super::*;

    #[test]
    fn the_published_check_values_hold() {
        let schedule = Schedule::new(&DdlCxrConfig::full().diffusion);
        let near = |a: f64, b: f64, rel: f64| assert!((a - b).abs() <= rel * b, "{a} {b}");
        near(schedule.betas[0], 0.0015, 1e-12);
        near(schedule.betas[499], 0.007945, 1e-4);
        near(schedule.betas[999], 0.0195, 1e-12);
        let bars = [(0, 0.9985), (99, 0.8251), (249, 0.5105), (499, 0.1158), (999, 0.000142)];
        for (t, value) in bars {
            near(schedule.alpha_bar(t), value, 4e-3);
        }
    }

    #[test]
    fn the_published_sampler_visits_200_timesteps_from_996_to_1() {
        let table = Schedule::new(&DdlCxrConfig::full().diffusion).ddim(200, 1.0);
        assert_eq!(table.timesteps.len(), 200);
        assert_eq!((table.timesteps[0], table.timesteps[199]), (1, 996));
        assert!(table.sigmas.iter().all(|s| *s > 0.0));
    }
}

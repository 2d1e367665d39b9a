//! Whether a configuration can be built, and whether its networks fit together. A model directory
//! is data from outside: everything that a constructor would trip over is refused here.

use super::config::{
    ConfigError, DdlCxrConfig, DiffusionConfig, EHR_COLUMNS, EhrEncoderConfig, EventEncoderConfig,
    FusionConfig, ImageFeatures, SamplerKind, SeriesEncoderConfig, Task, UnetConfig, VaeConfig,
};

use crate::series::grid::{GENERATION_BINS_MAX, PREDICTION_BINS};

/// Bound of any one size: a typing error must not ask for all memory.
const MAX_SIZE: usize = 8_192;

/// Bound of the knots of one axis; an axis has as many as its longest list of categories.
const MAX_KNOTS: usize = 256;

/// Collects what is wrong.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn need(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.0.push(what.into());
        }
    }

    fn sizes(&mut self, sizes: &[(&str, usize)]) {
        for (name, size) in sizes {
            self.need((1..=MAX_SIZE).contains(size), format!("{name} is in 1..={MAX_SIZE}"));
        }
    }

    fn rate(&mut self, name: &str, rate: f64) {
        self.need((0.0..1.0).contains(&rate), format!("{name} is in 0..1"));
    }

    fn divides(&mut self, part: usize, whole: usize, what: &str) {
        self.need(part != 0 && whole.is_multiple_of(part), what.to_owned());
    }

    fn done(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError(self.0)) }
    }
}

impl VaeConfig {
    /// All reasons why this cannot be built.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.collect(&mut faults);
        faults.done()
    }

    fn collect(&self, faults: &mut Faults) {
        faults.sizes(&[
            ("vae.resolution", self.resolution),
            ("vae.in_channels", self.in_channels),
            ("vae.out_ch", self.out_ch),
            ("vae.ch", self.ch),
            ("vae.num_res_blocks", self.num_res_blocks),
            ("vae.z_channels", self.z_channels),
            ("vae.norm_groups", self.norm_groups),
        ]);
        faults.need(matches!(self.stem, 1 | 2 | 4), "vae.stem is 1, 2 or 4");
        let levels = self.ch_mult.len();
        faults.need((1..=6).contains(&levels), "vae.ch_mult has 1 to 6 levels");
        faults.rate("vae.dropout", self.dropout);
        let fold = self.stem.max(1) << (levels.clamp(1, 6) - 1);
        faults.divides(fold, self.resolution, "vae.resolution divides down to the latent");
        let sides: Vec<usize> =
            (0..levels.min(6)).map(|level| (self.resolution / self.stem.max(1)) >> level).collect();
        let known = self.attn_resolutions.iter().all(|side| sides.contains(side));
        faults.need(known, format!("vae.attn_resolutions are among {sides:?}"));
        for mult in &self.ch_mult {
            faults.need((1..=64).contains(mult), "vae.ch_mult is in 1..=64");
            let width = self.ch.saturating_mul(*mult);
            faults.divides(self.norm_groups, width, "vae.norm_groups divides every level");
        }
    }
}

impl UnetConfig {
    /// All reasons why this cannot be built.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.collect(&mut faults);
        faults.done()
    }

    fn collect(&self, faults: &mut Faults) {
        faults.sizes(&[
            ("unet.image_size", self.image_size),
            ("unet.in_channels", self.in_channels),
            ("unet.out_channels", self.out_channels),
            ("unet.model_channels", self.model_channels),
            ("unet.num_res_blocks", self.num_res_blocks),
            ("unet.num_head_channels", self.num_head_channels),
            ("unet.transformer_depth", self.transformer_depth),
            ("unet.context_dim", self.context_dim),
            ("unet.norm_groups", self.norm_groups),
        ]);
        let levels = self.channel_mult.len();
        faults.need((1..=6).contains(&levels), "unet.channel_mult has 1 to 6 levels");
        faults.rate("unet.dropout", self.dropout);
        faults.divides(2, self.model_channels, "unet.model_channels is even");
        let fold = 1 << (levels.clamp(1, 6) - 1);
        faults.divides(fold, self.image_size, "unet.image_size halves once for each level");
        for mult in &self.channel_mult {
            faults.need((1..=64).contains(mult), "unet.channel_mult is in 1..=64");
            let width = self.model_channels.saturating_mul(*mult);
            faults.divides(self.norm_groups, width, "unet.norm_groups divides every level");
            faults.divides(
                self.num_head_channels,
                width,
                "unet.num_head_channels divides every level",
            );
        }
    }
}

impl EhrEncoderConfig {
    /// All reasons why this cannot be built.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.collect("ehr_encoder", &mut faults);
        faults.done()
    }

    fn collect(&self, name: &str, faults: &mut Faults) {
        faults.sizes(&[
            (&format!("{name}.feat_dim"), self.feat_dim),
            (&format!("{name}.max_len"), self.max_len),
            (&format!("{name}.d_model"), self.d_model),
            (&format!("{name}.n_heads"), self.n_heads),
            (&format!("{name}.num_layers"), self.num_layers),
            (&format!("{name}.dim_feedforward"), self.dim_feedforward),
        ]);
        faults.rate(&format!("{name}.dropout"), self.dropout);
        faults.divides(2, self.d_model, &format!("{name}.d_model is even"));
        faults.divides(self.n_heads, self.d_model, &format!("{name}.n_heads divides d_model"));
    }
}

impl EventEncoderConfig {
    /// All reasons why this cannot be built.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        faults.sizes(&[
            ("event_encoder.variables", self.variables),
            ("event_encoder.statistics", self.statistics),
            ("event_encoder.d_model", self.d_model),
            ("event_encoder.squeeze", self.squeeze),
        ]);
        for (name, knots) in [("knots", self.knots), ("ages", self.ages)] {
            let in_range = (2..=MAX_KNOTS).contains(&knots);
            faults.need(in_range, format!("event_encoder.{name} is in 2..={MAX_KNOTS}"));
        }
        faults.need(self.plain <= MAX_SIZE, format!("event_encoder.plain is at most {MAX_SIZE}"));
        faults.rate("event_encoder.dropout", self.dropout);
        faults.done()
    }
}

impl SeriesEncoderConfig {
    /// All reasons why this cannot be built.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            SeriesEncoderConfig::Events(config) => config.check(),
            SeriesEncoderConfig::Grid(config) => config.check(),
        }
    }
}

impl FusionConfig {
    /// All reasons why this cannot be built.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.collect("fusion", &mut faults);
        faults.done()
    }

    fn collect(&self, name: &str, faults: &mut Faults) {
        faults.sizes(&[
            (&format!("{name}.hidden_size"), self.hidden_size),
            (&format!("{name}.dim_feedforward"), self.dim_feedforward),
            (&format!("{name}.n_heads"), self.n_heads),
            (&format!("{name}.patch_size"), self.patch_size),
            (&format!("{name}.patch_embed"), self.patch_embed),
            (&format!("{name}.hid_dim_1"), self.hid_dim_1),
            (&format!("{name}.latent_channels"), self.latent_channels),
            (&format!("{name}.latent_side"), self.latent_side),
        ]);
        faults.rate(&format!("{name}.dropout"), self.dropout);
        faults.divides(2, self.hidden_size, &format!("{name}.hidden_size is even"));
        faults.divides(self.n_heads, self.hidden_size, &format!("{name}.n_heads divides it"));
        faults.divides(self.patch_size, self.latent_side, &format!("{name}.patch_size fits"));
        faults.sizes(&[
            (&format!("{name}.part_len"), self.part_len),
            (&format!("{name}.fused_len"), self.fused_len),
        ]);
        if let Some(width) = self.findings_width {
            faults.sizes(&[(&format!("{name}.findings_width"), width)]);
        }
        let (patches, part) = (self.patches(), self.part_len);
        let fits = patches <= part;
        faults.need(fits, format!("{name} cuts the latent into at most {part} patches"));
        let bins = PREDICTION_BINS <= part && patches + PREDICTION_BINS < self.fused_len;
        faults.need(bins, format!("{name} has positions for {PREDICTION_BINS} hours"));
        match &self.image_features {
            ImageFeatures::Given(word) => {
                faults.need(word == "identity", format!("{name}.image_features is identity"));
            }
            ImageFeatures::ResNet(resnet) => {
                faults.sizes(&[
                    ("image resolution", resnet.resolution),
                    ("image in_channels", resnet.in_channels),
                    ("image width", resnet.width),
                ]);
                let channels = matches!(resnet.in_channels, 1 | 3);
                faults.need(channels, "image in_channels is 1 or 3");
                let blocks = resnet.blocks.iter().all(|n| (1..=64).contains(n));
                faults.need(blocks, "each image stage has 1 to 64 blocks");
                faults.need(resnet.resolution >= 32, "image resolution is at least 32");
            }
        }
    }
}

impl DiffusionConfig {
    /// All reasons why this cannot be walked.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.collect(&mut faults);
        faults.done()
    }

    fn collect(&self, faults: &mut Faults) {
        let timesteps = (2..=100_000).contains(&self.timesteps);
        faults.need(timesteps, "diffusion.timesteps is in 2..=100000");
        // More steps than half the schedule would ask for a timestep past its end.
        let steps = (1..=self.timesteps / 2).contains(&self.steps);
        faults.need(steps, "diffusion.steps is in 1..=timesteps/2");
        let betas = 0.0 < self.linear_start && self.linear_start <= self.linear_end;
        faults.need(betas && self.linear_end < 1.0, "0 < linear_start <= linear_end < 1");
        faults.need((0.0..=1.0).contains(&self.eta), "diffusion.eta is in 0..=1");
        faults.need((0.0..=1.0).contains(&self.temperature), "diffusion.temperature is in 0..=1");
        let scale = self.scale_factor.is_finite() && self.scale_factor > 0.0;
        faults.need(scale, "diffusion.scale_factor is positive");
        let noisy = self.sampler == SamplerKind::DpmSolver2m && self.eta != 0.0;
        faults.need(!noisy, "diffusion.eta is 0 with dpm_solver2m");
    }
}

impl DdlCxrConfig {
    /// All reasons why this cannot be built or its networks do not fit together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.vae.collect(&mut faults);
        self.unet.collect(&mut faults);
        self.ehr_encoder.collect("ehr_encoder", &mut faults);
        self.diffusion.collect(&mut faults);
        self.fusion_mortality.collect("fusion_mortality", &mut faults);
        self.fusion_phenotype.collect("fusion_phenotype", &mut faults);
        let side = self.vae.latent_side();
        let z = self.vae.z_channels;
        faults.need(self.vae.in_channels == self.vae.out_ch, "vae.in_channels is vae.out_ch");
        faults.need(matches!(self.vae.in_channels, 1 | 3), "vae.in_channels is 1 or 3");
        faults.need(self.unet.image_size == side, "unet.image_size is the latent's side");
        faults.need(self.unet.out_channels == z, "unet.out_channels is vae.z_channels");
        faults.need(self.unet.in_channels == 2 * z, "unet.in_channels is twice vae.z_channels");
        let columns = self.ehr_encoder.feat_dim == EHR_COLUMNS;
        faults.need(columns, format!("ehr_encoder.feat_dim is {EHR_COLUMNS}"));
        let context = self.unet.context_dim == self.ehr_encoder.d_model;
        faults.need(context, "unet.context_dim is ehr_encoder.d_model");
        let window = self.ehr_encoder.max_len >= GENERATION_BINS_MAX;
        faults.need(window, format!("ehr_encoder.max_len is at least {GENERATION_BINS_MAX}"));
        let mortality = self.fusion_mortality.task == Task::Mortality;
        faults.need(mortality, "fusion_mortality.task is mortality");
        let phenotype = self.fusion_phenotype.task == Task::Phenotype;
        faults.need(phenotype, "fusion_phenotype.task is phenotype");
        for fusion in [&self.fusion_mortality, &self.fusion_phenotype] {
            let fits = fusion.latent_side == side && fusion.latent_channels == z;
            faults.need(fits, "each fusion model takes the VAE's latents");
        }
        faults.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shipped_configs_can_be_built() {
        assert_eq!(DdlCxrConfig::demo().check(), Ok(()));
        assert_eq!(DdlCxrConfig::full().check(), Ok(()));
    }

    #[test]
    fn every_misfit_is_named_at_once() {
        let mut config = DdlCxrConfig::demo();
        config.unet.context_dim += 1;
        config.unet.image_size = 0;
        config.vae.stem = 3;
        config.diffusion.steps = 2_000;
        config.fusion_phenotype.task = Task::Mortality;
        let faults = config.check().expect_err("a misfit").to_string();
        for word in ["context_dim", "image_size", "stem", "steps", "fusion_phenotype.task"] {
            assert!(faults.contains(word), "{word} is missing in: {faults}");
        }
    }

    #[test]
    fn a_config_survives_json() {
        let config = DdlCxrConfig::demo();
        let text = serde_json::to_string(&config).expect("json");
        assert_eq!(serde_json::from_str::<DdlCxrConfig>(&text).expect("config"), config);
    }
}

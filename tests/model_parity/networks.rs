//! Networks, samplers and tables against the reference's outputs.

use burn::tensor::{Tensor, TensorData};
use nowcxr::model::config::{
    DiffusionConfig, EhrEncoderConfig, FusionConfig, SamplerKind, UnetConfig, VaeConfig,
};
use nowcxr::model::{EhrEncoder, Fusion, FusionInput, Init, Sampler, Schedule, Unet, Vae};

use crate::case::{Case, TABLE_TOLERANCE};

fn ehr_encoder(pool: &str) {
    let Some(case) = Case::open(&format!("ehr_encoder_{pool}")) else { return };
    let config: EhrEncoderConfig = case.config();
    let net = case.load(EhrEncoder::new(&config, &mut Init::zeros(&case.device)));
    let x: Tensor<3> = case.tensor("in.x");
    let mask: Vec<f32> = case.steps("in.mask").iter().map(|&keep| keep as f32).collect();
    let [batch, n, _] = x.dims();
    let mask = TensorData::new(mask, [batch, n + 1]);
    // Our mask leaves out the CLS, which always counts.
    let keep = Tensor::<2>::from_data(mask, &case.device).narrow(1, 1, n);
    let plain = net.forward(x.clone(), None);
    case.near("out.tokens_nomask", plain.tokens);
    case.near("out.cls_nomask", plain.pooled);
    let masked = net.forward(x, Some(&keep));
    case.near("out.tokens", masked.tokens);
    case.near("out.cls", masked.pooled);
}

#[test]
fn the_ehr_encoder_with_cls_pooling() {
    ehr_encoder("cls");
}

#[test]
fn the_ehr_encoder_with_mean_pooling() {
    ehr_encoder("mean");
}

/// The denoising network of the file.
pub fn unet(case: &Case) -> Unet {
    let config: UnetConfig = case.config();
    config.check().expect("the reference's sizes are valid");
    case.load(Unet::new(&config, &mut Init::zeros(&case.device)))
}

#[test]
fn the_unet_predicts_the_reference_noise() {
    let Some(case) = Case::open("unet") else { return };
    let net = unet(&case);
    let t = case.steps("in.t");
    let context = case.tensor("in.context");
    case.near("out.eps", net.forward(case.tensor("in.x"), &t, &context, None));
    // A mask that keeps every token changes nothing; one that hides some does.
    let [batch, tokens, _] = context.dims();
    let keep = Tensor::<2>::ones([batch, tokens], &case.device);
    case.near("out.eps", net.forward(case.tensor("in.x"), &t, &context, Some(&keep)));
    let kept = tokens.div_ceil(2);
    let tail = Tensor::<2>::zeros([batch, tokens - kept], &case.device);
    let keep = Tensor::cat(vec![keep.narrow(1, 0, kept), tail], 1);
    let hidden = net.forward(case.tensor("in.x"), &t, &context, Some(&keep));
    let short = net.forward(case.tensor("in.x"), &t, &context.narrow(1, 0, kept), None);
    let off = hidden.sub(short).abs().max().into_scalar::<f32>();
    assert!(off < 1e-5, "a masked token leaks: {off}");
}

/// The published noise schedule, walked back by DDIM.
pub fn reference_diffusion(steps: usize, eta: f64) -> DiffusionConfig {
    DiffusionConfig::reference(SamplerKind::Ddim, steps, eta)
}

#[test]
fn ten_steps_of_ddim_end_where_the_reference_ends() {
    let Some(case) = Case::open("unet") else { return };
    let net = unet(&case);
    let sampler = Sampler::new(&reference_diffusion(10, 0.0));
    let reference: Tensor<4> = case.tensor("ddim.z_ref");
    let context = case.tensor("in.context");
    let out = sampler.sample(case.tensor("ddim.x_T"), &[], |x, t| {
        let x = Tensor::cat(vec![x, reference.clone()], 1);
        let batch = x.dims()[0];
        net.forward(x, &vec![t; batch], &context, None)
    });
    case.near("ddim.out_eta0_10steps", out);
}

#[test]
fn the_vae_encodes_and_decodes_like_the_reference() {
    let Some(case) = Case::open("vae") else { return };
    let config: VaeConfig = case.config();
    config.check().expect("the reference's sizes are valid");
    let net = case.load(Vae::new(&config, &mut Init::zeros(&case.device)));
    let posterior = net.encode(case.tensor("in.image"));
    case.near("out.mean", posterior.mean.clone());
    case.near("out.logvar", posterior.logvar.clone());
    case.near("out.kl", posterior.kl());
    case.near("out.reconstruction_of_mean", net.decode(posterior.mean));
}

#[test]
fn the_noise_schedule_and_the_samplers_tables() {
    let Some(case) = Case::open("schedule") else { return };
    let schedule = Schedule::new(&reference_diffusion(10, 0.0));
    let compare = |name: &str, got: &[f64]| {
        case.compare(name, got, &case.numbers(name), TABLE_TOLERANCE);
    };
    compare("betas", &schedule.betas);
    let rounded: Vec<f64> = schedule.alphas_cumprod.iter().map(|&a| f64::from(a)).collect();
    compare("alphas_cumprod", &rounded);
    for steps in [10, 50, 200] {
        for eta in [0, 1] {
            let table = schedule.ddim(steps, f64::from(eta));
            let name = |part: &str| format!("ddim{steps}_eta{eta}.{part}");
            assert_eq!(case.steps(&name("timesteps")), table.timesteps);
            compare(&name("alphas"), &table.alphas);
            compare(&name("alphas_prev"), &table.alphas_prev);
            compare(&name("sigmas"), &table.sigmas);
        }
    }
}

/// The fusion model of the file and its sizes. The longest sequences stand in no config: they are
/// the rows of the tables of positions.
pub fn fusion_model(case: &Case) -> (Fusion, FusionConfig) {
    let mut config: FusionConfig = case.config();
    let positions = |encoder: &str| {
        let table = &case.tensors[&format!("w.{encoder}.pos_enc.pe")];
        table.shape[0] - 1
    };
    config.part_len = positions("cxr_transformer");
    config.fused_len = positions("fusion_tf");
    config.check().expect("the reference's sizes are valid");
    (case.load(Fusion::new(&config, &mut Init::zeros(&case.device))), config)
}

fn fusion(task: &str) {
    let Some(case) = Case::open(&format!("fusion_{task}")) else { return };
    let (net, _) = fusion_model(&case);
    let logits = net.forward(FusionInput {
        ehr: case.tensor("in.ehr"),
        ehr_keep: None,
        latent: case.tensor("in.latent"),
        image_features: case.tensor("in.image_features"),
        present: None,
    });
    case.near("out.logits", logits);
}

#[test]
fn the_mortality_model_gives_the_reference_logits() {
    fusion("mortality");
}

#[test]
fn the_phenotype_model_gives_the_reference_logits() {
    fusion("phenotype");
}

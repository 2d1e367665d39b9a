//! Our networks against the reference's own outputs (`reference/ddl-cxr.md` 8a). Each network is
//! built from the configuration in the file's metadata and loaded with the file's weights.

use std::collections::BTreeSet;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use nowcxr::model::config::{
    DdlCxrConfig, DiffusionConfig, EhrEncoderConfig, FusionConfig, SamplerKind, UnetConfig,
    VaeConfig,
};
use nowcxr::model::weights::{
    Tensors, parameter_count, read_safetensors, tensors_of, under, with_tensors,
};
use nowcxr::model::{EhrEncoder, Fusion, FusionInput, Init, Sampler, Schedule, Unet, Vae};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// Bound of max|a-b| / max|b| of a network's output.
const TOLERANCE: f64 = 1e-5;
/// The same for tables computed on the host.
const TABLE_TOLERANCE: f64 = 1e-6;

fn directory() -> Option<PathBuf> {
    let shared = || std::env::var_os("NOWCXR_SHARED").map(|dir| PathBuf::from(dir).join("parity"));
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/parity");
    let named = std::env::var_os("NOWCXR_PARITY_DIR").map(PathBuf::from);
    let dir = named.or_else(shared).unwrap_or_else(beside);
    dir.is_dir().then_some(dir)
}

/// One parity file.
struct Case {
    name: String,
    bytes: Vec<u8>,
    tensors: Tensors,
    device: Device,
}

impl Case {
    /// `None`, with a line that says so, where the parity files are not there.
    fn open(name: &str) -> Option<Case> {
        let Some(dir) = directory() else {
            println!("skipped: no parity files; set NOWCXR_PARITY_DIR to check {name}");
            return None;
        };
        let bytes = std::fs::read(dir.join(format!("{name}.safetensors"))).expect("parity file");
        let tensors = read_safetensors(&bytes, false).expect("tensors");
        Some(Case { name: name.to_owned(), bytes, tensors, device: Device::flex() })
    }

    fn config<C: DeserializeOwned>(&self) -> C {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).expect("header");
        let text = header.metadata().as_ref().expect("metadata")["config"].clone();
        serde_json::from_str(&text).expect("config")
    }

    fn load<M: Module>(&self, module: M) -> M {
        with_tensors(module, &under(&self.tensors, "w.")).expect("weights fit")
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = &self.tensors[name];
        let data = TensorData::new(tensor.values.clone(), tensor.shape.clone());
        Tensor::from_data(data, &self.device)
    }

    /// Integers and f64 as f64.
    fn numbers(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).expect("file");
        let view = file.tensor(name).expect("tensor");
        let data = view.data();
        match view.dtype() {
            Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::I32 => {
                data.as_chunks::<4>().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    fn steps(&self, name: &str) -> Vec<usize> {
        self.numbers(name).into_iter().map(|t| t as usize).collect()
    }

    fn near<const D: usize>(&self, name: &str, got: Tensor<D>) {
        let got: Vec<f32> = got.into_data().try_to_vec().expect("f32");
        let want = &self.tensors[name].values;
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        let want: Vec<f64> = want.iter().map(|&x| f64::from(x)).collect();
        self.compare(name, &got, &want, TOLERANCE);
    }

    fn compare(&self, name: &str, got: &[f64], want: &[f64], tolerance: f64) {
        assert_eq!(got.len(), want.len(), "{} {name}", self.name);
        let off = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let scale = want.iter().map(|b| b.abs()).fold(0.0, f64::max);
        let error = if off == 0.0 { 0.0 } else { off / scale };
        println!("{} {name}: relative error {error:.2e}", self.name);
        assert!(error <= tolerance, "{} {name}: relative error {error:.2e}", self.name);
    }
}

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

fn unet(case: &Case) -> Unet {
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
    let keep = Tensor::<2>::ones([2, 19], &case.device);
    case.near("out.eps", net.forward(case.tensor("in.x"), &t, &context, Some(&keep)));
    let tail = Tensor::<2>::zeros([2, 9], &case.device);
    let keep = Tensor::cat(vec![keep.narrow(1, 0, 10), tail], 1);
    let hidden = net.forward(case.tensor("in.x"), &t, &context, Some(&keep));
    let short = net.forward(case.tensor("in.x"), &t, &context.narrow(1, 0, 10), None);
    let off = hidden.sub(short).abs().max().into_scalar::<f32>();
    assert!(off < 1e-5, "a masked token leaks: {off}");
}

#[test]
fn the_unet_gives_the_losses_of_the_reference() {
    let Some(case) = Case::open("unet") else { return };
    let net = unet(&case);
    let schedule = Schedule::new(&reference_diffusion(10, 0.0));
    let t = case.steps("in.t");
    let noise: Tensor<4> = case.tensor("loss.noise");
    let noisy = schedule.q_sample(case.tensor("loss.z1"), &t, noise.clone());
    case.near("loss.x_noisy", noisy.clone());
    let x = Tensor::cat(vec![noisy, case.tensor("ddim.z_ref")], 1);
    let context: Tensor<3> = case.tensor("in.context");
    let perturbed = context.clone().add(case.tensor("loss.perturbation")).mul_scalar(0.5);
    let eps = net.forward(x.clone(), &t, &context, None);
    let other = net.forward(x, &t, &perturbed, None);
    case.near("loss.eps", eps.clone());
    case.near("loss.eps_perturbed", other.clone());
    let near = noise.clone().sub(eps).square();
    let far = noise.sub(other).square();
    case.near("loss.denoise", near.clone().mean());
    let hinge = near.sub(far).add_scalar(0.2).clamp_min(0.0).flatten::<2>(1, 3).mean_dim(1);
    let weight = schedule.contrastive_weight(&t);
    let weight = Tensor::<2>::from_data(TensorData::new(weight, [t.len(), 1]), &case.device);
    case.near("loss.contrastive", hinge.mul(weight).mean());
}

fn reference_diffusion(steps: usize, eta: f64) -> DiffusionConfig {
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
        net.forward(x, &[t, t], &context, None)
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

fn fusion(task: &str) {
    let Some(case) = Case::open(&format!("fusion_{task}")) else { return };
    let config: FusionConfig = case.config();
    config.check().expect("the reference's sizes are valid");
    let net = case.load(Fusion::new(&config, &mut Init::zeros(&case.device)));
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

/// Every name of the published checkpoints is one of ours, and the other way round. Names do not
/// depend on widths, so narrow networks of the published depth will do.
#[test]
fn our_names_are_the_names_of_the_checkpoints() {
    let Some(dir) = directory() else {
        println!("skipped: no parity files; set NOWCXR_PARITY_DIR to check names");
        return;
    };
    let text = std::fs::read_to_string(dir.join("checkpoint_names.json")).expect("names");
    let names: serde_json::Value = serde_json::from_str(&text).expect("json");
    let mut config = DdlCxrConfig::full();
    (config.vae.ch, config.unet.model_channels) = (32, 32);
    let mut init = Init::zeros(&Device::flex());
    let compare = |checkpoint: &str, prefix: &str, ours: Tensors| {
        let theirs: BTreeSet<&str> = names[checkpoint]
            .as_object()
            .expect("names")
            .keys()
            .filter(|name| !never_used(name))
            .filter_map(|name| name.strip_prefix(prefix))
            .collect();
        let ours: BTreeSet<&str> = ours.keys().map(String::as_str).collect();
        let off: Vec<&&str> = ours.symmetric_difference(&theirs).collect();
        assert!(off.is_empty(), "{checkpoint} {prefix}: not in both: {off:?}");
        assert!(!ours.is_empty());
    };
    let unet = Unet::new(&config.unet, &mut init);
    compare("ldm_checkpoint", "model.diffusion_model.", tensors_of(&unet));
    let vae = Vae::new(&config.vae, &mut init);
    compare("vae_checkpoint", "", tensors_of(&vae));
    compare("ldm_checkpoint", "first_stage_model.", tensors_of(&vae));
    // The LDM's label head stands beside its EHR encoder in the checkpoint, and inside ours.
    config.ehr_encoder.labels = None;
    let ehr = EhrEncoder::new(&config.ehr_encoder, &mut init);
    compare("ldm_checkpoint", "cond_stage_model.", tensors_of(&ehr));
    let fusion = Fusion::new(&config.fusion_phenotype, &mut init);
    compare("fusion_checkpoint", "", tensors_of(&fusion));
}

/// What the published code saves and never uses.
fn never_used(name: &str) -> bool {
    let head = name.contains(".mlp_head.");
    head || name.ends_with("num_batches_tracked") || name.ends_with("loss.pos_weight")
}

/// The published parameter counts (`reference/ddl-cxr.md` 8.3). Needs 4 GB of memory, so only on
/// demand.
#[test]
fn the_full_model_has_the_published_size() {
    if std::env::var_os("NOWCXR_MEASURE").is_none() {
        println!("skipped: set NOWCXR_MEASURE to build the whole published model");
        return;
    }
    let mut config = DdlCxrConfig::full();
    let mut init = Init::zeros(&Device::flex());
    assert_eq!(parameter_count(&Unet::new(&config.unet, &mut init)), 296_862_500);
    config.vae.labels = None;
    let vae = Vae::new(&config.vae, &mut init);
    assert_eq!(parameter_count(&vae.encoder), 34_163_592);
    assert_eq!(parameter_count(&vae.decoder), 49_490_179);
    config.ehr_encoder.labels = None;
    assert_eq!(parameter_count(&EhrEncoder::new(&config.ehr_encoder, &mut init)), 142_848);
    let fusion = Fusion::new(&config.fusion_mortality, &mut init);
    assert_eq!(parameter_count(&fusion.ehr_encoder), 1_357_056);
    assert_eq!(parameter_count(&fusion.cxr_transformer), 1_382_144);
    assert_eq!(parameter_count(&fusion.fusion_tf), 1_578_752);
}

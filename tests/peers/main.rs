//! Our numbers against other libraries' (PyTorch, Pillow), where the reference files have none:
//! `peers.py`, `adversarial.py` and `checkpoints.py` beside this file made the fixtures, which are
//! shipped.

mod adversarial;
mod grid;

use std::path::PathBuf;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use nowcxr::film::to_film_side;
use nowcxr::ids::Digest;
use nowcxr::model::config::{DdlCxrConfig, DiffusionConfig, ImageFeatures, SamplerKind};
use nowcxr::model::layers::{Conv2d, Linear};
use nowcxr::model::losses::ldm::auxiliary;
use nowcxr::model::losses::vae::{
    VaeLoss, VaeTerms, adaptive_weight, discriminator, generator, gradient_norm, kl,
};
use nowcxr::model::resnet::ResNet;
use nowcxr::model::vae::Posterior;
use nowcxr::model::weights::{Tensors, read_safetensors, under, with_tensors};
use nowcxr::model::{Init, Sampler};
use safetensors::SafeTensors;

/// Bound of max|a-b| / max|b|.
const TOLERANCE: f64 = 1e-5;
/// The same for a loss.
const LOSS_TOLERANCE: f64 = 1e-6;

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers/fixtures").join(name);
    std::fs::read(path).expect("a fixture")
}

/// The fixture's tensors of f32.
struct Peers {
    tensors: Tensors,
    device: Device,
}

impl Peers {
    fn on(device: Device) -> Peers {
        Peers::of("peers.safetensors", device)
    }

    fn of(file: &str, device: Device) -> Peers {
        let tensors = read_safetensors(&bytes(file), false).expect("tensors");
        Peers { tensors, device }
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = &self.tensors[name];
        let data = TensorData::new(tensor.values.clone(), tensor.shape.clone());
        Tensor::from_data(data, &self.device)
    }

    fn near<const D: usize>(&self, name: &str, got: Tensor<D>, tolerance: f64) {
        let got: Vec<f32> = got.into_data().try_into_vec().expect("f32");
        let want = &self.tensors[name].values;
        assert_eq!(got.len(), want.len(), "{name}");
        let pairs = || got.iter().zip(want).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let off = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let scale = pairs().map(|(_, b)| b.abs()).fold(0.0, f64::max);
        println!("{name}: relative error {:.2e}", off / scale);
        assert!(off <= tolerance * scale, "{name}: relative error {:.2e}", off / scale);
    }
}

/// The fixtures' tensors of f64: shape and numbers.
fn f64s(name: &str) -> (Vec<usize>, Vec<f64>) {
    let bytes = bytes("peers.safetensors");
    let file = SafeTensors::deserialize(&bytes).expect("file");
    let view = file.tensor(name).expect("tensor");
    let numbers = view.data().as_chunks::<8>().0.iter();
    (view.shape().to_vec(), numbers.map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

#[test]
fn ddim_with_given_noise_walks_as_pytorch_does() {
    let peers = Peers::on(Device::flex());
    for steps in [5, 20, 50] {
        let eta = f64::from(peers.tensors[&format!("ddim.{steps}.eta")].values[0]);
        let sampler = Sampler::new(&DiffusionConfig::reference(SamplerKind::Ddim, steps, eta));
        let noise: Tensor<5> = peers.tensor(&format!("ddim.{steps}.noise"));
        let noise: Vec<Tensor<4>> =
            (0..steps).map(|n| noise.clone().narrow(0, n, 1).squeeze_dim(0)).collect();
        let network =
            |x: Tensor<4>, t: usize| x.mul_scalar(0.4).add_scalar(0.3 * (t as f64 / 100.0).cos());
        let out = sampler.sample(peers.tensor("ddim.x_T"), &noise, network);
        peers.near(&format!("ddim.{steps}.out"), out, TOLERANCE);
        // Without the noise it ends elsewhere.
        let quiet = sampler.sample(peers.tensor("ddim.x_T"), &[], network);
        let want: Tensor<4> = peers.tensor(&format!("ddim.{steps}.out"));
        assert!(quiet.sub(want).abs().max().into_scalar::<f32>() > 0.01, "{steps}");
    }
}

#[test]
fn the_residual_network_sees_what_pytorch_sees() {
    let peers = Peers::on(Device::flex());
    let config: DdlCxrConfig = serde_json::from_slice(&bytes("tiny_config.json")).expect("config");
    let ImageFeatures::ResNet(sizes) = config.fusion_mortality.image_features else {
        panic!("no image branch")
    };
    // tiny_mortality.pt, of which the peer took its weights, holds the same tensors by name as
    // the model that `model_import` makes of it.
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers/fixtures");
    let (model, _) = nowcxr::model::import::import(nowcxr::model::import::Request {
        checkpoints: ["tiny_ldm.ckpt", "tiny_mortality.pt", "tiny_phenotype.safetensors"]
            .map(|file| dir.join(file))
            .to_vec(),
        config: serde_json::from_slice(&bytes("tiny_config.json")).expect("config"),
        noise: nowcxr::model::import::Noise::Seed(1),
        normalisers: None,
        name: "tiny".to_owned(),
        version: "0".to_owned(),
        profile: nowcxr::event::dictionary::Profile::Reference,
    })
    .expect("imported");
    let all = nowcxr::model::weights::tensors_of(&model.networks.fusion_mortality);
    let net = ResNet::new(&sizes, &mut Init::zeros(&peers.device));
    let net = with_tensors(net, &under(&all, "vision_backbone.")).expect("fits");
    let mut x: Tensor<4> = peers.tensor("resnet.stage1");
    for (block, stage) in [(&net.layer2, 2), (&net.layer3, 3), (&net.layer4, 4)] {
        x = block[0].forward(x);
        peers.near(&format!("resnet.stage{stage}"), x.clone(), TOLERANCE);
    }
    peers.near("resnet.out", net.forward(peers.tensor("resnet.films")), TOLERANCE);
}

/// Encoder, decoder, discriminator and head of one layer each, with the fixture's weights.
struct Toy<'a> {
    peers: &'a Peers,
    encoder: Conv2d,
    decoder: Conv2d,
    discriminator: Conv2d,
    head: Linear,
}

/// One forward pass.
struct Pass {
    posterior: Posterior,
    z: Tensor<4>,
    fake: Tensor<4>,
}

impl Toy<'_> {
    fn new(peers: &Peers) -> Toy<'_> {
        let conv = |name: &str, input, output| {
            let mut conv = Conv2d::zero(input, output, 3, &mut Init::zeros(&peers.device));
            conv.weight = Param::from_tensor(peers.tensor(name));
            conv
        };
        let mut head = Linear::new(128, 14, &mut Init::zeros(&peers.device));
        head.kernel = Param::from_tensor(peers.tensor::<2>("vae.head").transpose());
        Toy {
            encoder: conv("vae.enc", 1, 4),
            decoder: conv("vae.dec", 2, 1),
            discriminator: conv("vae.disc", 1, 1),
            head,
            peers,
        }
    }

    fn pass(&self) -> Pass {
        let moments = self.encoder.forward(self.peers.tensor("vae.images"));
        let mean = moments.clone().narrow(1, 0, 2);
        let posterior = Posterior { mean, logvar: moments.narrow(1, 2, 2) };
        let z = posterior.sample(self.peers.tensor("vae.eps"));
        Pass { fake: self.decoder.forward(z.clone()), posterior, z }
    }

    fn nll(&self, pass: &Pass) -> Tensor<1> {
        let perceptual = Some(self.peers.tensor("vae.perceptual"));
        VaeLoss::default().nll(self.peers.tensor("vae.images"), pass.fake.clone(), perceptual)
    }

    fn adversarial(&self, pass: &Pass) -> Tensor<1> {
        generator(self.discriminator.forward(pass.fake.clone()))
    }

    fn findings(&self, pass: &Pass) -> Tensor<1> {
        let logits = self.head.forward(pass.z.clone().flatten::<2>(1, 3));
        auxiliary(logits, self.peers.tensor("vae.labels"))
    }
}

#[test]
fn the_autoencoders_losses_and_adaptive_weights_are_pytorchs() {
    let peers = Peers::on(Device::flex().autodiff());
    let toy = Toy::new(&peers);
    let at_decoder = &toy.decoder.weight;
    let w_adv = adaptive_weight(
        gradient_norm(toy.nll(&toy.pass()), at_decoder),
        gradient_norm(toy.adversarial(&toy.pass()), at_decoder),
    );
    let at_encoder = &toy.encoder.weight;
    let w_lab = adaptive_weight(
        gradient_norm(toy.nll(&toy.pass()), at_encoder),
        gradient_norm(toy.findings(&toy.pass()), at_encoder),
    );
    let one = |x: f64| Tensor::<1>::from_data([x as f32], &peers.device);
    peers.near("vae.w_adv", one(w_adv), TOLERANCE);
    peers.near("vae.w_lab", one(w_lab), TOLERANCE);
    let pass = toy.pass();
    let terms = VaeTerms {
        nll: toy.nll(&pass),
        kl: kl(&pass.posterior),
        adversarial: Some((toy.adversarial(&pass), w_adv)),
        findings: Some((toy.findings(&pass), w_lab)),
    };
    peers.near("vae.nll", terms.nll.clone(), LOSS_TOLERANCE);
    peers.near("vae.kl", terms.kl.clone(), LOSS_TOLERANCE);
    peers.near("vae.total", VaeLoss::default().total(&terms), TOLERANCE);
    peers.near("vae.adversarial", toy.adversarial(&pass), TOLERANCE);
    peers.near("vae.findings", toy.findings(&pass), LOSS_TOLERANCE);
    let judge = |x: Tensor<4>| toy.discriminator.forward(x);
    let loss = discriminator(judge(peers.tensor("vae.images")), judge(pass.fake.detach()));
    peers.near("vae.discriminator", loss, LOSS_TOLERANCE);
}

#[derive(serde::Deserialize)]
struct Picture {
    width: usize,
    height: usize,
    sha256: String,
}

#[test]
fn pictures_are_resized_as_pillow_does_to_the_last_bit() {
    let cases: Vec<Picture> = serde_json::from_slice(&bytes("images.json")).expect("cases");
    assert!(cases.len() >= 6);
    for Picture { width, height, sha256 } in cases {
        let pixel = |x: usize, y: usize| ((x * x * 7 + y * y * 3 + x * y) >> 4) as u8;
        let pixels: Vec<u8> =
            (0..height).flat_map(|y| (0..width).map(move |x| pixel(x, y))).collect();
        let out = to_film_side(&pixels, width, height).expect("a picture");
        assert_eq!(Digest::of(&out).to_string(), sha256, "{width} by {height}");
    }
}

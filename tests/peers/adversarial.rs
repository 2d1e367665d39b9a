//! The perceptual and the adversarial term against PyTorch's (`adversarial.py`), with gradients.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use nowcxr::model::layers::Conv2d;
use nowcxr::model::losses::vae::{
    VaeLoss, VaeTerms, adaptive_weight, discriminator, generator, gradient_norm,
};
use nowcxr::model::weights::{Tensors, tensors_of, under, with_tensors};
use nowcxr::model::{Discriminator, Init, Perceptual};

use crate::{LOSS_TOLERANCE, Peers, TOLERANCE};

/// Bound of max|a-b| / max|b| of a gradient.
const GRADIENT_TOLERANCE: f64 = 1e-4;

fn peers() -> Peers {
    Peers::of("adversarial.safetensors", Device::flex().autodiff())
}

fn critic(peers: &Peers) -> Discriminator {
    let net = Discriminator::new(1, 4, 3, &mut Init::zeros(&peers.device));
    with_tensors(net, &under(&peers.tensors, "disc.").named()).expect("fits")
}

/// The fixture keeps results beside the weights.
trait Named {
    fn named(self) -> Tensors;
}

impl Named for Tensors {
    fn named(self) -> Tensors {
        self.into_iter().filter(|(name, _)| name.contains('.')).collect()
    }
}

#[test]
fn the_perceptual_distance_is_lpips() {
    let peers = peers();
    let vgg = under(&peers.tensors, "vgg.");
    let plain: Tensors =
        vgg.clone().into_iter().filter(|(name, _)| !name.starts_with("lin")).collect();
    let conv = convolution(&peers);
    for (name, weights) in [("lpips", &vgg), ("lpips_plain", &plain)] {
        let net = Perceptual::read(weights, &peers.device).expect("a network");
        assert_eq!(net.is_weighted(), name == "lpips");
        let fake = conv.forward(peers.tensor("maps")).detach().require_grad();
        let distance = net.distance(peers.tensor("images"), fake.clone());
        peers.near(name, distance.clone(), TOLERANCE);
        let gradients = distance.sum().backward();
        let gradient = fake.grad(&gradients).expect("a gradient");
        peers.near(&format!("{name}.gradient"), gradient, GRADIENT_TOLERANCE);
    }
}

/// The last convolution of a decoder.
fn convolution(peers: &Peers) -> Conv2d {
    let mut conv = Conv2d::new(3, 1, 3, &mut Init::zeros(&peers.device));
    conv.weight = Param::from_tensor(peers.tensor("conv.weight"));
    conv.bias = Some(Param::from_tensor(peers.tensor("conv.bias")));
    conv
}

#[test]
fn a_decoders_last_convolution_moves_as_in_pytorch() {
    let peers = peers();
    let (conv, critic) = (convolution(&peers), critic(&peers).no_grad());
    let net = Perceptual::read(&under(&peers.tensors, "vgg."), &peers.device).expect("a network");
    let (images, loss) = (peers.tensor::<4>("images"), VaeLoss::default());
    let made = || conv.forward(peers.tensor("maps"));
    let nll = || {
        let made = made();
        let distance = net.distance(images.clone(), made.clone());
        loss.nll(images.clone(), made, Some(distance))
    };
    let judged = || generator(critic.forward(made()));
    let weight =
        adaptive_weight(gradient_norm(nll(), &conv.weight), gradient_norm(judged(), &conv.weight));
    let one = |x: f64| Tensor::<1>::from_data([x as f32], &peers.device);
    peers.near("weight", one(weight), TOLERANCE);
    let kl = one(0.0);
    let terms = VaeTerms { nll: nll(), kl, adversarial: Some((judged(), weight)), findings: None };
    peers.near("nll", terms.nll.clone(), LOSS_TOLERANCE);
    peers.near("adversarial", judged(), TOLERANCE);
    let total = loss.total(&terms);
    peers.near("total", total.clone(), TOLERANCE);
    let gradients = total.backward();
    let gradient = conv.weight.val().grad(&gradients).expect("a gradient");
    peers.near("conv.weight.gradient", gradient, GRADIENT_TOLERANCE);
    let bias = conv.bias.as_ref().and_then(|bias| bias.val().grad(&gradients));
    peers.near("conv.bias.gradient", bias.expect("a gradient"), GRADIENT_TOLERANCE);
}

#[test]
fn the_patch_discriminator_judges_and_learns_as_in_pytorch() {
    let peers = peers();
    let net = critic(&peers);
    let (images, made) = (peers.tensor::<4>("images"), convolution(&peers));
    let made = made.forward(peers.tensor("maps")).detach();
    // The generator's pass comes first there, and moves the running statistics too.
    let _ = net.forward(made.clone());
    let (real, fake) = (net.forward(images.clone()), net.forward(made));
    peers.near("disc.real", real.clone(), TOLERANCE);
    peers.near("disc.made", fake.clone(), TOLERANCE);
    let loss = discriminator(real, fake);
    peers.near("disc.loss", loss.clone(), LOSS_TOLERANCE);
    let mut gradients = GradientsParams::from_grads(loss.backward(), &net);
    let mut of = |param: &Param<Tensor<4>>, name: &str| {
        let gradient = gradients.remove::<4>(param.id).expect("a gradient");
        peers.near(&format!("disc_gradient.{name}"), gradient, GRADIENT_TOLERANCE);
    };
    of(&net.first.weight, "first.weight");
    for (n, block) in net.blocks.iter().enumerate() {
        of(&block.conv.weight, &format!("blocks.{n}.conv.weight"));
    }
    of(&net.last.weight, "last.weight");
    for (n, block) in net.blocks.iter().enumerate() {
        for (param, part) in [(&block.norm.weight, "weight"), (&block.norm.bias, "bias")] {
            let gradient = gradients.remove::<1>(param.id).expect("a gradient");
            let name = format!("disc_gradient.blocks.{n}.norm.{part}");
            peers.near(&name, gradient, GRADIENT_TOLERANCE);
        }
    }
    assert_eq!(tensors_of(&net).len(), 4 + 3 * 5);
    let images = images.inner();
    peers.near("disc.eval", net.valid().forward(images), GRADIENT_TOLERANCE);
}

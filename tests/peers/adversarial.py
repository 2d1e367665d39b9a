"""The autoencoder's perceptual and adversarial terms (reference/ddl-cxr.md 2.2), by PyTorch.

    python tests/peers/adversarial.py

Writes tests/peers/fixtures/adversarial.safetensors, which tests/peers/adversarial.rs reads: LPIPS
over a narrow VGG16 (torchvision's names) with and without its weights of the channels, a narrow
PatchGAN in training, and one step of the last convolution of a decoder against both, each with its
gradients. Our own statement of the specification, with random weights. Needs torch (CPU) and
safetensors.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
OUT = {}
# Torchvision's places of VGG16's convolutions, and widths of our own for each stage.
STAGES = [([0, 2], 4), ([5, 7], 6), ([10, 12, 14], 8), ([17, 19, 21], 8), ([24, 26, 28], 8)]
SHIFT = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
SCALE = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
WIDTH, LAYERS = 4, 3


def keep(name, value):
    OUT[name] = value.detach().clone().contiguous()


def vgg():
    weights, width = {}, 3
    for places, out in STAGES:
        for place in places:
            spread = (2 / (width * 9)) ** 0.5
            weights[f"features.{place}.weight"] = torch.randn(out, width, 3, 3) * spread
            weights[f"features.{place}.bias"] = torch.randn(out) * 0.1
            width = out
    for n, (_, out) in enumerate(STAGES):
        weights[f"lin{n}.model.1.weight"] = torch.rand(1, out, 1, 1)
    return weights


def features(weights, images):
    h = (images.expand(-1, 3, -1, -1) - SHIFT) / SCALE
    for n, (places, _) in enumerate(STAGES):
        h = F.max_pool2d(h, 2) if n else h
        for place in places:
            name = f"features.{place}"
            h = F.relu(F.conv2d(h, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1))
        yield h


def lpips(weights, a, b, weighted):
    total = 0
    for n, (x, y) in enumerate(zip(features(weights, a), features(weights, b))):
        # The floor keeps the gradient finite where no feature is active.
        x, y = (v / (v.square().sum(1, keepdim=True).clamp_min(1e-20).sqrt() + 1e-10) for v in (x, y))
        apart = (x - y) ** 2
        lin = weights[f"lin{n}.model.1.weight"] if weighted else torch.ones(1, x.shape[1], 1, 1)
        total = total + F.conv2d(apart, lin).mean((1, 2, 3))
    return total


def patch_weights():
    w = {"first.weight": torch.randn(WIDTH, 1, 4, 4) * 0.2, "first.bias": torch.randn(WIDTH) * 0.1}
    width = WIDTH
    for n in range(LAYERS):
        out = WIDTH * min(2 ** (n + 1), 8)
        w[f"blocks.{n}.conv.weight"] = torch.randn(out, width, 4, 4) * 0.1
        w[f"blocks.{n}.norm.weight"] = 1 + 0.1 * torch.randn(out)
        w[f"blocks.{n}.norm.bias"] = 0.1 * torch.randn(out)
        w[f"blocks.{n}.norm.running_mean"] = torch.zeros(out)
        w[f"blocks.{n}.norm.running_var"] = torch.ones(out)
        width = out
    w["last.weight"], w["last.bias"] = torch.randn(1, width, 4, 4) * 0.1, torch.randn(1) * 0.1
    return w


def judge(w, images, training=True):
    h = F.conv2d(images, w["first.weight"], w["first.bias"], stride=2, padding=1)
    h = F.leaky_relu(h, 0.2)
    for n in range(LAYERS):
        stride = 2 if n < LAYERS - 1 else 1
        h = F.conv2d(h, w[f"blocks.{n}.conv.weight"], stride=stride, padding=1)
        norm = [w[f"blocks.{n}.norm.{part}"]
                for part in ("running_mean", "running_var", "weight", "bias")]
        h = F.leaky_relu(F.batch_norm(h, *norm, training=training, eps=1e-5), 0.2)
    return F.conv2d(h, w["last.weight"], w["last.bias"], padding=1)


def main():
    torch.manual_seed(12)
    torch.set_num_threads(1)
    weights, disc = vgg(), patch_weights()
    for name, value in weights.items():
        keep(f"vgg.{name}", value)
    for name, value in disc.items():
        keep(f"disc.{name}", value)
    learnt = [name for name in disc if "running" not in name]
    for name in learnt:
        disc[name].requires_grad_()

    images = torch.rand(2, 1, 32, 32) * 2 - 1
    maps = torch.randn(2, 3, 32, 32)
    conv = {"weight": torch.randn(1, 3, 3, 3) * 0.2, "bias": torch.randn(1) * 0.1}
    for value in conv.values():
        value.requires_grad_()
    keep("images", images), keep("maps", maps)
    keep("conv.weight", conv["weight"]), keep("conv.bias", conv["bias"])

    fake = F.conv2d(maps, conv["weight"], conv["bias"], padding=1)
    fake.retain_grad()
    for weighted in (True, False):
        distance = lpips(weights, images, fake, weighted)
        name = "lpips" if weighted else "lpips_plain"
        keep(name, distance)
        keep(f"{name}.gradient", torch.autograd.grad(distance.sum(), fake, retain_graph=True)[0])

    perceptual = lpips(weights, images, fake, True)
    nll = ((images - fake).abs() + perceptual.view(2, 1, 1, 1)).sum() / 2
    adversarial = -judge(disc, fake).mean()
    size = lambda loss: torch.autograd.grad(loss, conv["weight"], retain_graph=True)[0].norm()
    near, far = size(nll), size(adversarial)
    weight = torch.clamp(near / (far + 1e-4), 0, 1e4).detach()
    total = nll + 0.5 * weight * adversarial
    total.backward()
    keep("conv.weight.gradient", conv["weight"].grad), keep("conv.bias.gradient", conv["bias"].grad)
    for name, value in {"nll": nll, "adversarial": adversarial, "weight": weight,
                        "total": total}.items():
        keep(name, value.reshape(1))

    for name in learnt:
        disc[name].grad = None
    real, made = judge(disc, images), judge(disc, fake.detach())
    loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + made).mean())
    loss.backward()
    keep("disc.real", real), keep("disc.made", made), keep("disc.loss", loss.reshape(1))
    for name in learnt:
        keep(f"disc_gradient.{name}", disc[name].grad)
    # After three batches of statistics: the generator's, the films', the reconstructions'.
    keep("disc.eval", judge(disc, images, training=False))
    save_file(OUT, FIXTURES / "adversarial.safetensors")


if __name__ == "__main__":
    main()

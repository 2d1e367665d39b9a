"""Numbers of our own for what the reference files do not cover, made by other libraries.

    python tests/peers/peers.py

Writes tests/peers/fixtures/peers.safetensors and images.json, which tests/peers/main.rs reads:
stochastic DDIM, a residual network, the autoencoder's losses with their adaptive weights, the EHR
grid with a relative start and its published defect, image resizing by Pillow. Everything here is
our own statement of reference/ddl-cxr.md 1.9, 1.10, 2.2, 3.6, 4.2. Needs torch (CPU), Pillow and
safetensors; checkpoints.py has to run first.
"""

import hashlib
import json
import math
import pathlib
import random

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
OUT = {}


def keep(name, value):
    OUT[name] = value.detach().clone().contiguous()


def ddim():
    """3.6, in f64 from alphas rounded to f32; the network is an analytic function."""
    ends = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64)
    bars = torch.cumprod(1 - ends**2, 0).float().double()
    start = torch.randn(2, 4, 4, 4, dtype=torch.float64).float().double()
    keep("ddim.x_T", start.float())
    for steps, eta in ((5, 1.0), (20, 0.5), (50, 1.0)):
        times = list(range(1, 1001, 1000 // steps))
        noise = torch.randn(len(times), 2, 4, 4, 4).double()
        x = start
        for n, i in enumerate(reversed(range(len(times)))):
            bar = bars[times[i]]
            prev = bars[times[i - 1]] if i > 0 else bars[0]
            e = 0.4 * x + 0.3 * math.cos(times[i] / 100)
            sigma = eta * torch.sqrt((1 - prev) / (1 - bar) * (1 - bar / prev))
            x0 = (x - torch.sqrt(1 - bar) * e) / torch.sqrt(bar)
            towards = torch.sqrt(1 - prev - sigma**2) * e
            x = torch.sqrt(prev) * x0 + towards + sigma * noise[n]
        keep(f"ddim.{steps}.noise", noise.float())
        keep(f"ddim.{steps}.eta", torch.tensor([eta]))
        keep(f"ddim.{steps}.out", x.float())


def batch_norm(x, state, name):
    stored = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *stored, training=False, eps=1e-5)


def resnet():
    """4.2 at width 2 with one block a stage, on the weights of tiny_mortality.pt."""
    whole = torch.load(FIXTURES / "tiny_mortality.pt", weights_only=True)
    state = {k.removeprefix("vision_backbone."): v for k, v in whole.items()}
    films = torch.randn(2, 1, 32, 32)
    x = F.conv2d(films, state["conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(batch_norm(x, state, "bn1")), 3, 2, 1)
    for stage in range(1, 5):
        block, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        h = F.conv2d(x, state[f"{block}.conv1.weight"], stride=stride, padding=1)
        h = F.relu(batch_norm(h, state, f"{block}.bn1"))
        h = F.conv2d(h, state[f"{block}.conv2.weight"], padding=1)
        h = batch_norm(h, state, f"{block}.bn2")
        if stage > 1:
            x = F.conv2d(x, state[f"{block}.downsample.0.weight"], stride=stride)
            x = batch_norm(x, state, f"{block}.downsample.1")
        x = F.relu(x + h)
        keep(f"resnet.stage{stage}", x)
    keep("resnet.films", films)
    keep("resnet.out", x.mean((2, 3)))


def vae_losses():
    """2.2 on an encoder, a decoder and a discriminator of one convolution each."""
    images, eps = torch.randn(3, 1, 8, 8), torch.randn(3, 2, 8, 8)
    labels = (torch.rand(3, 14) < 0.3).float()
    perceptual = torch.rand(3)
    shapes = {"enc": (4, 1, 3, 3), "dec": (1, 2, 3, 3), "disc": (1, 1, 3, 3), "head": (14, 128)}
    w = {k: (torch.randn(s) * 0.2).requires_grad_() for k, s in shapes.items()}
    mean, logvar = F.conv2d(images, w["enc"], padding=1).chunk(2, 1)
    z = mean + torch.exp(0.5 * logvar) * eps
    fake = F.conv2d(z, w["dec"], padding=1)
    judge = lambda x: F.conv2d(x, w["disc"], padding=1)
    nll = ((images - fake).abs() + perceptual.view(3, 1, 1, 1)).sum() / 3
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum((1, 2, 3)).mean()
    adversarial = -judge(fake).mean()
    found = F.binary_cross_entropy(torch.sigmoid(z.flatten(1) @ w["head"].t()), labels)

    def size(loss, at):
        return torch.autograd.grad(loss, w[at], retain_graph=True)[0].norm()

    def adaptive(term, at):
        return torch.clamp(size(nll, at) / (size(term, at) + 1e-4), 0, 1e4).detach()

    w_adv, w_lab = adaptive(adversarial, "dec"), adaptive(found, "enc")
    total = nll + 1e-6 * kl + 0.5 * w_adv * adversarial + w_lab * found
    disc = 0.5 * (F.relu(1 - judge(images)).mean() + F.relu(1 + judge(fake.detach())).mean())
    for name, value in {"images": images, "eps": eps, "labels": labels, "perceptual": perceptual,
                        **w}.items():
        keep(f"vae.{name}", value)
    for name, value in {"nll": nll, "kl": kl, "adversarial": adversarial, "findings": found,
                        "w_adv": w_adv, "w_lab": w_lab, "total": total,
                        "discriminator": disc}.items():
        keep(f"vae.{name}", value.reshape(1))


# Channel: (first column, width, normal, low, high), in the order of the masks from column 62.
NUMERIC = {
    1: (2, 59, 17.7, 106.81), 2: (3, 0.21, 0, 1.1), 7: (49, 128, 0, 318.17),
    8: (50, 86, 33.21, 143.61), 9: (51, 170, 134.48, 203.32), 10: (52, 77, 31.9, 123.05),
    11: (53, 98, 82.01, 110.68), 12: (54, 19, 0, 41.95), 13: (55, 118, 55.61, 179.79),
    14: (56, 36.6, 35.06, 38.88), 15: (57, 81, 16.22, 149.31), 16: (58, 7.4, 5.83, 8.66),
}
# Channel: (first column, categories, index of the normal one).
ONE_HOT = {0: (0, 2, 0), 3: (4, 8, 3), 4: (12, 12, 9), 5: (24, 13, 4), 6: (37, 12, 6)}
MALE, AGE = 1, 71


def grid(rows, legacy):
    """1.9 with a relative start. rows: (hours since admission, {channel: value}) in order."""
    first, last = rows[0][0], rows[-1][0]
    n = max(1, int(last - first + 1 - 1e-6))
    seen = [dict() for _ in range(n)]
    touched = []
    for hours, values in rows:
        t = hours - first
        if legacy and t < first + 1e-6:
            continue
        at = int(t - 1e-6)
        seen[at].update(values)
        touched.append(at)
    out = torch.zeros(n, 79, dtype=torch.float64)
    now = {c: s[1] for c, s in NUMERIC.items()} | {c: s[2] for c, s in ONE_HOT.items()}
    for b in range(n):
        for channel, value in seen[b].items():
            if channel in NUMERIC:
                _, _, low, high = NUMERIC[channel]
                value = min(max(value, low), high)
            now[channel] = value
            out[b, 62 + channel] = 1
        for channel, value in now.items():
            if channel in NUMERIC:
                out[b, NUMERIC[channel][0]] = value
            else:
                out[b, ONE_HOT[channel][0] + int(value)] = 1
        known = bool(touched) and b >= min(touched)
        out[b, 59 + (MALE if known else 0)] = 1
        out[b, 61] = AGE if known else 65
    return out


def grids():
    dice = random.Random(5)
    for case, (start, span, count) in enumerate([(0.4, 9, 14), (5.3, 12, 20), (9, 6, 9), (3, 0, 1)]):
        # On the hour, and everywhere else; milliseconds, as the program keeps time.
        times = {0, span * 3_600_000}
        while len(times) < count:
            hour = dice.randrange(max(1, span)) * 3_600_000
            times.add(hour + dice.choice([0, dice.randrange(3_600_000)]))
        rows, flat = [], []
        for time in sorted(times):
            ms = int(start * 3_600_000) + time
            values = {}
            for channel in dice.sample(sorted(NUMERIC | ONE_HOT), 4):
                if channel in NUMERIC:
                    _, normal, low, high = NUMERIC[channel]
                    values[channel] = round(dice.uniform(low - 5, high + 5), 3)
                else:
                    values[channel] = dice.randrange(ONE_HOT[channel][1])
                flat.append((ms, channel, values[channel]))
            rows.append((ms / 3_600_000, values))
        keep(f"grid.{case}.rows", torch.tensor(flat, dtype=torch.float64))
        keep(f"grid.{case}.plain", grid(rows, False))
        keep(f"grid.{case}.legacy", grid(rows, True))


def images():
    """1.10: Resize(224) by Pillow's bilinear filter, CenterCrop(224) as torchvision rounds it."""
    cases = []
    for width, height in ((300, 260), (224, 224), (257, 411), (1001, 640), (180, 97), (224, 301)):
        pixels = bytes(
            ((x * x * 7 + y * y * 3 + x * y) >> 4) % 256 for y in range(height) for x in range(width)
        )
        short, long = min(width, height), max(width, height)
        other = int(224 * long / short)
        size = (224, other) if width <= height else (other, 224)
        resized = Image.frombytes("L", (width, height), pixels).resize(size, Image.BILINEAR)
        left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
        out = resized.crop((left, top, left + 224, top + 224)).tobytes()
        digest = hashlib.sha256(out).hexdigest()
        cases.append({"width": width, "height": height, "sha256": digest})
    (FIXTURES / "images.json").write_text(json.dumps(cases, indent=1) + "\n")


def main():
    torch.manual_seed(11)
    torch.set_num_threads(1)
    ddim()
    resnet()
    vae_losses()
    grids()
    images()
    save_file(OUT, FIXTURES / "peers.safetensors")


if __name__ == "__main__":
    main()

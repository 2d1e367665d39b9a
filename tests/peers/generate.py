"""The peer of `nowcxr bench generate`: the same networks, weights and inputs in PyTorch.

    nowcxr bench generate --against "python tests/peers/generate.py"

Our own statement of reference/ddl-cxr.md 2.1, 3.1, 3.2, 3.6 and 4.2, over a dictionary of tensors
with the reference's names. Prints one JSON object: for each mode and stage the median wall and
processor time and the largest difference from nowcxr's output, and the operations of each stage as
torch counts them. Needs torch 2.1 or newer and safetensors. NOWCXR_PEER_MODES chooses the modes,
separated by commas.
"""

import json
import math
import os
import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

MODES = "eager f32,compiled f32,eager bf16"


class Net:
    """Layers by name below a prefix."""

    def __init__(self, state, prefix, groups):
        self.state, self.prefix, self.groups = state, prefix, groups

    def has(self, name):
        return f"{self.prefix}{name}" in self.state

    def get(self, name):
        return self.state.get(f"{self.prefix}{name}")

    def linear(self, name, x):
        return F.linear(x, self.get(f"{name}.weight"), self.get(f"{name}.bias"))

    def conv(self, name, x, **how):
        weight = self.get(f"{name}.weight")
        how.setdefault("padding", weight.shape[2] // 2)
        return F.conv2d(x, weight, self.get(f"{name}.bias"), **how)

    def group_norm(self, name, x, eps):
        weight, bias = self.get(f"{name}.weight"), self.get(f"{name}.bias")
        return F.group_norm(x, self.groups, weight, bias, eps)

    def layer_norm(self, name, x):
        weight, bias = self.get(f"{name}.weight"), self.get(f"{name}.bias")
        return F.layer_norm(x, weight.shape, weight, bias, 1e-5)

    def batch_norm(self, name, x):
        """Over the last axis, by the running statistics."""
        parts = [self.get(f"{name}.{p}") for p in ("running_mean", "running_var", "weight", "bias")]
        rows = x.reshape(-1, x.shape[-1])
        return F.batch_norm(rows, *parts, training=False, eps=1e-5).reshape(x.shape)

    def count(self, name):
        """How many numbered entries stand below a name."""
        start = f"{self.prefix}{name}."
        places = {key[len(start) :].split(".")[0] for key in self.state if key.startswith(start)}
        return len(places)


def heads_of(x, heads):
    batch, n, width = x.shape
    return x.reshape(batch, n, heads, width // heads).transpose(1, 2)


def attention(q, k, v, heads):
    q, k, v = (heads_of(x, heads) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    return mixed.reshape(mixed.shape[0], mixed.shape[1], -1)


# The denoising network.


def res_block(net, p, x, emb):
    h = net.conv(f"{p}.in_layers.2", F.silu(net.group_norm(f"{p}.in_layers.0", x, 1e-5)))
    h = h + net.linear(f"{p}.emb_layers.1", F.silu(emb))[:, :, None, None]
    h = net.conv(f"{p}.out_layers.3", F.silu(net.group_norm(f"{p}.out_layers.0", h, 1e-5)))
    return (net.conv(f"{p}.skip_connection", x) if net.has(f"{p}.skip_connection.weight") else x) + h


def cross_attention(net, p, x, context, heads):
    q, k, v = net.linear(f"{p}.to_q", x), net.linear(f"{p}.to_k", context), net.linear(f"{p}.to_v", context)
    return net.linear(f"{p}.to_out.0", attention(q, k, v, heads))


def spatial_transformer(net, p, x, context, head_width):
    batch, channels, height, width = x.shape
    heads = channels // head_width
    h = net.conv(f"{p}.proj_in", net.group_norm(f"{p}.norm", x, 1e-6))
    h = h.reshape(batch, channels, height * width).transpose(1, 2)
    for n in range(net.count(f"{p}.transformer_blocks")):
        b = f"{p}.transformer_blocks.{n}"
        y = net.layer_norm(f"{b}.norm1", h)
        h = h + cross_attention(net, f"{b}.attn1", y, y, heads)
        h = h + cross_attention(net, f"{b}.attn2", net.layer_norm(f"{b}.norm2", h), context, heads)
        value, gate = net.linear(f"{b}.ff.net.0.proj", net.layer_norm(f"{b}.norm3", h)).chunk(2, -1)
        h = h + net.linear(f"{b}.ff.net.2", value * F.gelu(gate))
    h = h.transpose(1, 2).reshape(batch, channels, height, width)
    return x + net.conv(f"{p}.proj_out", h)


def unet_block(net, p, x, emb, context, head_width):
    for n in range(net.count(p)):
        q = f"{p}.{n}"
        if net.has(f"{q}.in_layers.0.weight"):
            x = res_block(net, q, x, emb)
        elif net.has(f"{q}.proj_in.weight"):
            x = spatial_transformer(net, q, x, context, head_width)
        elif net.has(f"{q}.op.weight"):
            x = net.conv(f"{q}.op", x, stride=2)
        elif net.has(f"{q}.conv.weight"):
            x = net.conv(f"{q}.conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))
        else:
            x = net.conv(q, x)
    return x


def unet(net, config, x, t, context):
    half = config["model_channels"] // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half) / half)
    angles = torch.full((x.shape[0], 1), float(t)) * frequencies
    emb = torch.cat([angles.cos(), angles.sin()], 1).to(x)
    emb = net.linear("time_embed.2", F.silu(net.linear("time_embed.0", emb)))
    skips, width = [], config["num_head_channels"]
    for n in range(net.count("input_blocks")):
        x = unet_block(net, f"input_blocks.{n}", x, emb, context, width)
        skips.append(x)
    x = unet_block(net, "middle_block", x, emb, context, width)
    for n in range(net.count("output_blocks")):
        x = torch.cat([x, skips.pop()], 1)
        x = unet_block(net, f"output_blocks.{n}", x, emb, context, width)
    return net.conv("out.2", F.silu(net.group_norm("out.0", x, 1e-5)))


# The autoencoder.


def vae_block(net, p, x):
    h = net.conv(f"{p}.conv1", F.silu(net.group_norm(f"{p}.norm1", x, 1e-6)))
    h = net.conv(f"{p}.conv2", F.silu(net.group_norm(f"{p}.norm2", h, 1e-6)))
    return (net.conv(f"{p}.nin_shortcut", x) if net.has(f"{p}.nin_shortcut.weight") else x) + h


def vae_attention(net, p, x):
    batch, channels, height, width = x.shape
    h = net.group_norm(f"{p}.norm", x, 1e-6)
    rows = lambda name: net.conv(f"{p}.{name}", h).flatten(2).transpose(1, 2)
    h = attention(rows("q"), rows("k"), rows("v"), 1).transpose(1, 2)
    return x + net.conv(f"{p}.proj_out", h.reshape(batch, channels, height, width))


def vae_middle(net, p, x):
    x = vae_attention(net, f"{p}.attn_1", vae_block(net, f"{p}.block_1", x))
    return vae_block(net, f"{p}.block_2", x)


def vae_level(net, p, x):
    for n in range(net.count(f"{p}.block")):
        x = vae_block(net, f"{p}.block.{n}", x)
        if net.has(f"{p}.attn.{n}.norm.weight"):
            x = vae_attention(net, f"{p}.attn.{n}", x)
    return x


def encode(net, config, x):
    stem = config.get("stem", 1)
    x = net.conv("encoder.conv_in", F.pixel_unshuffle(x, stem) if stem > 1 else x)
    for level in range(net.count("encoder.down")):
        p = f"encoder.down.{level}"
        x = vae_level(net, p, x)
        if net.has(f"{p}.downsample.conv.weight"):
            x = net.conv(f"{p}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2, padding=0)
    x = vae_middle(net, "encoder.mid", x)
    x = net.conv("encoder.conv_out", F.silu(net.group_norm("encoder.norm_out", x, 1e-6)))
    return net.conv("quant_conv", x).chunk(2, 1)[0]


def decode(net, config, z):
    stem = config.get("stem", 1)
    x = vae_middle(net, "decoder.mid", net.conv("decoder.conv_in", net.conv("post_quant_conv", z)))
    for level in reversed(range(net.count("decoder.up"))):
        p = f"decoder.up.{level}"
        x = vae_level(net, p, x)
        if net.has(f"{p}.upsample.conv.weight"):
            x = net.conv(f"{p}.upsample.conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))
    x = net.conv("decoder.conv_out", F.silu(net.group_norm("decoder.norm_out", x, 1e-6)))
    return F.pixel_shuffle(x, stem) if stem > 1 else x


# The sequence encoder and what uses it.


def tokens(net, p, heads, x):
    width = net.get(f"{p}cls_token").shape[-1]
    x = net.linear(f"{p}project_inp", x) * math.sqrt(width)
    cls = net.get(f"{p}cls_token").expand(x.shape[0], 1, width)
    x = torch.cat([cls, x], 1)
    x = x + net.get(f"{p}pos_enc.pe")[: x.shape[1]].transpose(0, 1)
    for n in range(net.count(f"{p}transformer_encoder.layers")):
        q = f"{p}transformer_encoder.layers.{n}"
        weight, bias = net.get(f"{q}.self_attn.in_proj_weight"), net.get(f"{q}.self_attn.in_proj_bias")
        mixed = attention(*F.linear(x, weight, bias).chunk(3, -1), heads)
        x = net.batch_norm(f"{q}.norm1", x + net.linear(f"{q}.self_attn.out_proj", mixed))
        h = net.linear(f"{q}.linear2", F.gelu(net.linear(f"{q}.linear1", x)))
        x = net.batch_norm(f"{q}.norm2", x + h)
    return F.gelu(x)


def fuse(net, config, hours, latent, image):
    p, heads = config["patch_size"], config["n_heads"]
    batch, channels, height, width = latent.shape
    patches = latent.reshape(batch, channels, height // p, p, width // p, p)
    patches = patches.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, p * p * channels)
    patches = net.linear("cxr_embdedding.projection.1", patches)
    ehr = tokens(net, "ehr_encoder.", heads, hours)[:, 1:]
    film = tokens(net, "cxr_transformer.", heads, patches)[:, 1:]
    image = net.linear("cxr_feat_project", image)[:, None]
    pooled = tokens(net, "fusion_tf.", heads, torch.cat([ehr, film, image], 1)).mean(1)
    return net.linear("mlp_head.2", F.gelu(net.linear("mlp_head.0", pooled)))


def sample(config, network, x):
    """DDIM without noise or DPM-Solver++ 2M on the strided timesteps, coefficients in f64."""
    d = config["diffusion"]
    ends = torch.linspace(d["linear_start"] ** 0.5, d["linear_end"] ** 0.5, d["timesteps"], dtype=torch.float64)
    bars = torch.cumprod(1 - ends**2, 0).float().double().tolist()
    times = [min(t + 1, d["timesteps"] - 1) for t in range(0, d["timesteps"], d["timesteps"] // d["steps"])]
    velocity, before = d.get("prediction") == "velocity", None
    for i in reversed(range(len(times))):
        bar, prev = bars[times[i]], bars[times[i - 1]] if i > 0 else bars[0]
        e = network(x, times[i])
        if velocity:
            e = e * math.sqrt(bar) + x * math.sqrt(1 - bar)
        x0 = (x - math.sqrt(1 - bar) * e) / math.sqrt(bar)
        if d["sampler"] == "ddim":
            x = math.sqrt(prev) * x0 + math.sqrt(1 - prev) * e
            continue
        step = 0.5 * (math.log(prev / (1 - prev)) - math.log(bar / (1 - bar)))
        target = x0
        if before is not None and i > 0:
            old, old_step = before
            target = x0 + (x0 - old) * (step / (2 * old_step))
        x = math.sqrt((1 - prev) / (1 - bar)) * x - math.sqrt(prev) * math.expm1(-step) * target
        before = (x0, step)
    return x


def stages(config, state, inputs, timestep, compiled):
    """The stages by name, each a function of nothing."""
    groups = lambda part: config[part].get("norm_groups", 32)
    nets = {
        "vae": Net(state, "vae.", groups("vae")),
        "unet": Net(state, "unet.", groups("unet")),
        "ehr": Net(state, "ehr.", 1),
        "fusion": Net(state, "fusion_mortality.", 1),
    }
    wrap = torch.compile if compiled else lambda function: function
    evaluate = wrap(lambda x, t, context: unet(
        nets["unet"], config["unet"], torch.cat([x, inputs["reference"]], 1), t, context))
    condition = wrap(lambda: tokens(nets["ehr"], "", config["ehr_encoder"]["n_heads"], inputs["series"]))

    def whole():
        context = condition()
        return sample(config, lambda x, t: evaluate(x, torch.tensor(float(t)), context), inputs["x_T"])

    return {
        "vae_encode": wrap(lambda: encode(nets["vae"], config["vae"], inputs["film"])),
        "evaluation": lambda: evaluate(inputs["x_T"], torch.tensor(float(timestep)), condition()),
        "sampler": whole,
        "vae_decode": wrap(lambda: decode(nets["vae"], config["vae"], inputs["x_T"])),
        "fusion": wrap(lambda: fuse(
            nets["fusion"], config["fusion_mortality"], inputs["hours"], inputs["x_T"], inputs["image_features"])),
    }


def measure(run, runs, wanted):
    error = (run().float() - wanted).abs().max() / wanted.abs().max()
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall_s": statistics.median(walls), "cpu_s": statistics.median(cpus), "error": error.item()}


def main():
    where = pathlib.Path(sys.argv[1])
    job = json.loads((where / "job.json").read_text())
    tensors = load_file(where / "exchange.safetensors")
    part = lambda start: {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
    torch.set_num_threads(job["threads"])
    modes = {}
    operations = {}
    with torch.inference_mode():
        for mode in os.environ.get("NOWCXR_PEER_MODES", MODES).split(","):
            how, kind = mode.split()
            dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[kind]
            state = {k: v.to(dtype) for k, v in part("w.").items()}
            inputs = {k: v.to(dtype) for k, v in part("in.").items()}
            run = stages(job["config"], state, inputs, job["timestep"], how == "compiled")
            if not operations:
                for name, stage in run.items():
                    with FlopCounterMode(display=False) as counter:
                        stage()
                    operations[name] = counter.get_total_flops()
            wanted = part("out.")
            modes[mode] = {name: measure(stage, job["runs"], wanted[name]) for name, stage in run.items()}
            print(f"{mode}: done", file=sys.stderr)
    name = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    print(json.dumps({"name": name, "modes": modes, "operations": operations}))


main()

"""Checkpoints as PyTorch and PyTorch Lightning write them, for tests/model_import.

    python tests/peers/checkpoints.py

Writes small files under tests/peers/fixtures with the names of the published checkpoints and the
sizes of tiny_config.json (names and shapes: tiny_names.json, which tests/model_import keeps equal
to our networks). Every number is a function of its tensor's name and its place, so that the test
can compute it too. Needs torch (CPU) and safetensors.
"""

import collections
import json
import math
import os
import pathlib
import zipfile
import zlib

import torch
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
NAMES = json.loads((FIXTURES / "tiny_names.json").read_text())


def numbers(name, shape):
    """16 bits of (crc + i) * 2654435761, as a number in -0.5..0.5."""
    crc = zlib.crc32(name.encode())
    count = math.prod(shape)
    mixed = [((crc + i) * 2_654_435_761 & 0xFFFFFFFF) >> 16 for i in range(count)]
    values = torch.tensor(mixed, dtype=torch.float32) / 65_536 - 0.5
    if name.endswith("running_var"):
        values = values + 1
    return values.reshape(shape)


def below(prefix, tag):
    """Our tensors below a prefix under their published names; the tag tells files apart."""
    found = collections.OrderedDict()
    for name, shape in NAMES.items():
        if name.startswith(prefix):
            found[name[len(prefix):]] = numbers(tag + name[len(prefix):], shape)
    return found


def counters(state):
    """BatchNorm's counters, which PyTorch saves beside each running variance."""
    for name in [name for name in state if name.endswith("running_var")]:
        state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(5)


def transformer_extras(state, prefix):
    state[prefix + "loss.pos_weight"] = torch.ones(1)
    state[prefix + "mlp_head.0.weight"] = torch.zeros(2, 4)
    state[prefix + "mlp_head.3.weight"] = torch.zeros(1, 2)


def ldm():
    state = collections.OrderedDict()
    unet = below("unet.", "model.diffusion_model.")
    for at, (name, value) in enumerate(unet.items()):
        full = "model.diffusion_model." + name
        # Every third one as a parameter, every third one as a transposed view.
        if at % 3 == 0:
            value = torch.nn.Parameter(value)
        elif at % 3 == 1 and value.dim() == 2:
            value = value.t().contiguous().t()
        state[full] = value
    for name in unet:
        full = "model.diffusion_model." + name
        average = numbers("ema:" + full, NAMES["unet." + name])
        state["model_ema." + full[len("model."):].replace(".", "")] = average
    state["model_ema.decay"] = torch.tensor(0.9999)
    state["model_ema.num_updates"] = torch.tensor(17, dtype=torch.int)
    for name, value in below("vae.", "vae:").items():
        state["first_stage_model." + name] = value
    for name, value in below("ehr.", "cond_stage_model.").items():
        if name.startswith("label_head."):
            state[name] = numbers(name, list(value.shape))
        else:
            state["cond_stage_model." + name] = value
    transformer_extras(state, "cond_stage_model.")
    counters(state)
    ends = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64)
    betas = ends**2
    state["betas"] = betas.float()
    state["alphas_cumprod"] = torch.cumprod(1 - betas, 0).float()
    state["scale_factor"] = torch.tensor(0.75)
    return state


class ModelCheckpoint:
    """Stands for a Lightning callback: a class that the reader does not know."""


def lightning(state):
    """The dictionary that Lightning writes around a state."""
    momentum = {"step": 3, "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}
    return {
        "epoch": 67,
        "global_step": 18_000,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": state,
        "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(0.5), "dirpath": "x"}},
        "optimizer_states": [{"state": {0: momentum}, "param_groups": [{"lr": 1e-4, "big": 2**80}]}],
        "lr_schedulers": [],
        "hyper_parameters": {"object": ModelCheckpoint(), "set": {1, 2}, "bytes": b"raw"},
    }


def fusion(task, weights):
    state = below(f"fusion_{task}.", task + ":")
    state["loss.pos_weight"] = torch.ones(weights)
    transformer_extras(state, "ehr_encoder.")
    counters(state)
    return state


class Hostile:
    """Unpickling this as Python does would leave a file behind."""

    def __reduce__(self):
        return os.system, ("touch ${TMPDIR:-/tmp}/nowcxr-hostile-checkpoint-ran",)


def main():
    torch.save(lightning(ldm()), FIXTURES / "tiny_ldm.ckpt")
    vae = below("vae.", "vae:")
    vae["loss.logvar"] = torch.zeros(())
    torch.save(lightning(vae), FIXTURES / "tiny_vae.ckpt")
    mortality, phenotype = fusion("mortality", 1), fusion("phenotype", 25)
    torch.save(mortality, FIXTURES / "tiny_mortality.pt")
    save_file(dict(phenotype), FIXTURES / "tiny_phenotype.safetensors")
    halves = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in phenotype.items()
    }
    torch.save(halves, FIXTURES / "tiny_phenotype_bf16.pt")
    noise = numbers("x_T", [1, 2, 8, 8])
    torch.save({"x_T": noise}, FIXTURES / "tiny_noise.pt")
    torch.save({"x_T": noise, "payload": Hostile()}, FIXTURES / "tiny_hostile.pt")
    source = zipfile.ZipFile(FIXTURES / "tiny_noise.pt")
    with zipfile.ZipFile(FIXTURES / "tiny_compressed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()

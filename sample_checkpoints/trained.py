"""Train the toy models behind the samples, and keep what a gain needs of them.

    python sample_checkpoints/trained.py [--out DIRECTORY] [--runs DIRECTORY]

`--runs` keeps the folders of the runs; runs that are finished there are not trained again. It takes some six minutes on
one core. Training is chaotic: elsewhere, or with Numba where there was none, gains come out within a factor of 10 of
those in README.md, and on the machine that made them, with the same packages, they are the same.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mhcdiag.toy.runfolder import checkpoint_name
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.training import train

HERE = Path(__file__).parent
SEED = 0
STEPS, EVERY = 300, 50
SETTINGS = {
    name: ToySettings(topology=name, seed=SEED, steps=STEPS, checkpoints=STEPS // EVERY)
    for name in ("residual", "hc", "mhc", "identity-hc")
}
"""The runs behind the checkpoints, at the default learning rate."""
COLLAPSE = ToySettings(topology="hc", seed=2, steps=500, learning_rate=2e-2, checkpoints=2)
"""The run whose loss collapses, at four times that rate: a run of benchmarks/toy_study.py."""
NEEDED = {
    "residual": (".attn.out",),
    "hc": (".theta_res", ".alpha_res", ".b_res"),
    "mhc": (".phi_res", ".alpha_res", ".b_res"),
    "identity-hc": (".b_pre", ".b_post"),
}
"""Ends of the names of the tensors that are kept."""
TOKENS = 32
"""Captured tokens that are kept: the first sequence of the held-out batch."""


def make_trained(out: Path, runs: Path) -> None:
    """Train what is missing in `runs` and write the samples to `out`."""
    for folder in ("captured", "runs/hc", "runs/mhc", "logs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for topology, settings in SETTINGS.items():
        folder = runs / topology
        train(settings, folder, resume=(folder / "settings.json").exists())
        keep(folder / checkpoint_name(STEPS), out / f"{topology}.safetensors", NEEDED[topology])
        shutil.copy(folder / "train.jsonl", out / "logs" / f"toy-{topology}.jsonl")
        if topology in ("hc", "mhc"):
            keep_captured(folder / "captured" / checkpoint_name(STEPS), out / "captured" / f"{topology}.safetensors")
            for step in range(EVERY, STEPS + 1, EVERY):
                name = checkpoint_name(step)
                keep(folder / name, out / "runs" / topology / name, NEEDED[topology], narrow=(".phi_res",))
    train(COLLAPSE, runs / "collapse", resume=(runs / "collapse" / "settings.json").exists())
    shutil.copy(runs / "collapse" / "train.jsonl", out / "logs" / "toy-collapse.jsonl")


def keep(source: Path, target: Path, ends: tuple[str, ...], *, narrow: tuple[str, ...] = ()) -> None:
    """Copy the tensors whose names end so; those that end as `narrow` says are rounded to bfloat16."""
    tensors = {
        name: values.to(torch.bfloat16) if narrow and name.endswith(narrow) else values
        for name, values in load_file(source).items()
        if name.endswith(ends)
    }
    with safe_open(source, framework="pt") as file:
        save_file(tensors, target, metadata=file.metadata())


def keep_captured(source: Path, target: Path) -> None:
    """Copy the mappings of the first tokens."""
    tensors = {name: values[:TOKENS].clone() for name, values in load_file(source).items() if name.endswith(".h_res")}
    with safe_open(source, framework="pt") as file:
        first = [at for at in json.loads(file.metadata()["first_tokens"]) if at < TOKENS]
        save_file(tensors, target, metadata=file.metadata() | {"first_tokens": json.dumps(first)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--runs", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        make_trained(arguments.out, arguments.runs or Path(temporary))

"""Make the sample checkpoints: DeepSeek-V4's names drawn from a seed, the others by training toy models.

    python sample_checkpoints/make.py                   write all of them beside this file (some six minutes)
    python sample_checkpoints/make.py --drawn           only what is drawn from a seed
    python sample_checkpoints/make.py --out DIRECTORY   write them there
    python sample_checkpoints/make.py --runs DIRECTORY  keep the training runs there, and take up those that are there
    python sample_checkpoints/make.py --expected        measure them again and write expected.json, nothing else

Each model has 30 blocks, hence 60 sites, and four streams; README.md says what was chosen and why.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

BLOCKS = 30
STREAMS = 4
HIDDEN = 32
"""Features per stream of the model in DeepSeek-V4's layout, whose projections hold 24 x 4 x HIDDEN numbers a site."""

SEED = 16
METADATA = {"made_by": "sample_checkpoints/make.py of mhcdiag, from a seed; not trained"}

CONFIG = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "model_type": "deepseek_v4",
    "num_hidden_layers": BLOCKS,
    "hidden_size": HIDDEN,
    "hc_mult": STREAMS,
    "hc_sinkhorn_iters": 20,
    "hc_eps": 1e-6,
    "rms_norm_eps": 1e-6,
    "num_nextn_predict_layers": 1,
}

Tensors = dict[str, torch.Tensor]


def stored(values: object) -> torch.Tensor:
    """Values as a float32 tensor that owns its memory."""
    return torch.from_numpy(numpy.array(values, dtype=numpy.float32))


def peaked_logits(random: numpy.random.RandomState) -> list[numpy.ndarray]:
    """Logits of all sites, so peaked near the identity that 20 Sinkhorn iterations do not converge.

    All sites share most of them: errors of the same sign add up along depth, while those of independent sites cancel.
    """
    shared = 4 * numpy.eye(STREAMS) + 3 * random.standard_normal((STREAMS, STREAMS))
    return [shared + random.standard_normal((STREAMS, STREAMS)) for _ in range(2 * BLOCKS)]


def deepseek_v4() -> Tensors:
    """The names of DeepSeek-V4's released checkpoints: trunk, output head and one MTP block.

    Only the trunk is measured; the head mixes nothing, and the MTP block is not on the path of the main model.
    """
    random = numpy.random.RandomState(SEED)  # NumPy promises never to change what this old generator draws
    logits = peaked_logits(random)
    tensors: Tensors = {}
    for site, of_site in enumerate(logits):
        tensors |= hc_parameters(random, f"layers.{site // 2}.hc_{('attn', 'ffn')[site % 2]}", of_site)
    for kind in ("attn", "ffn"):
        tensors |= hc_parameters(random, f"mtp.0.hc_{kind}", 4 * numpy.eye(STREAMS))
    for prefix in ("", "mtp.0."):
        tensors |= {
            f"{prefix}hc_head_fn": projection(random, STREAMS),
            f"{prefix}hc_head_base": stored(numpy.zeros(STREAMS)),
            f"{prefix}hc_head_scale": stored([0.5]),
        }
    return tensors


def hc_parameters(random: numpy.random.RandomState, prefix: str, logits: numpy.ndarray) -> Tensors:
    """`fn`, `base` and `scale` of one site: rows of pre, post, then the mixing block row by row."""
    base = numpy.concatenate([0.5 * random.standard_normal(2 * STREAMS), logits.ravel()])
    return {
        f"{prefix}_fn": projection(random, len(base)),
        f"{prefix}_base": stored(base),
        f"{prefix}_scale": stored([0.5, 0.5, 0.5]),
    }


def projection(random: numpy.random.RandomState, rows: int) -> torch.Tensor:
    """A projection whose outputs have unit variance for inputs of unit RMS."""
    inputs = STREAMS * HIDDEN
    return stored(random.standard_normal((rows, inputs)) / inputs**0.5)


def write_drawn(directory: Path) -> None:
    """Write the checkpoint that is drawn, and its configuration."""
    (directory / "deepseek_v4").mkdir(parents=True, exist_ok=True)
    save_file(deepseek_v4(), directory / "deepseek_v4" / "model.safetensors", metadata=METADATA)
    (directory / "deepseek_v4" / "config.json").write_text(readable_json(CONFIG))


def readable_json(value: object) -> str:
    """Indented JSON with each list on one line."""
    text = json.dumps(value, indent=2) + "\n"
    return re.sub(
        r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text
    )


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="directory to write to")
    parser.add_argument("--runs", type=Path, help="directory of the training runs")
    parser.add_argument("--drawn", action="store_true", help="only what is drawn from a seed")
    parser.add_argument("--expected", action="store_true", help="only measure, and write expected.json")
    arguments = parser.parse_args()
    if arguments.expected:
        from expected import expected_gains  # noqa: PLC0415 - the drawn file alone does not need mhcdiag

        (arguments.out / "expected.json").write_text(readable_json(expected_gains(arguments.out)))
        return
    write_drawn(arguments.out)
    if not arguments.drawn:
        from trained import make_trained  # noqa: PLC0415 - as above

        with tempfile.TemporaryDirectory() as temporary:
            make_trained(arguments.out, arguments.runs or Path(temporary))


if __name__ == "__main__":
    main()

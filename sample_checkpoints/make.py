"""Make the sample checkpoints from seeds. They are drawn, not trained.

    python sample_checkpoints/make.py                   write them beside this file
    python sample_checkpoints/make.py --out DIRECTORY   write them there
    python sample_checkpoints/make.py --expected        also measure them again and write expected.json

Each model has 30 blocks, hence 60 sites, and four streams; README.md says what was chosen and why.
"""

import argparse
import json
import re
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

BLOCKS = 30
STREAMS = 4
WIDTH = 64
"""Features per stream of the two models in the layout of the package hyper-connections."""
HIDDEN = 32
"""Features per stream of the model in DeepSeek-V4's layout, whose projections hold 24 x 4 x HIDDEN numbers a site."""

SEEDS = {"hc": 1, "mhc": 6, "deepseek_v4": 16}
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


def site_paths() -> list[str]:
    """Module paths of all sites in depth order."""
    return [f"layers.{block}.{kind}" for block in range(BLOCKS) for kind in ("attn", "ffn")]


def generator(model: str) -> numpy.random.RandomState:
    """The generator of one model; NumPy promises never to change what this old one draws."""
    return numpy.random.RandomState(SEEDS[model])


def read_column(random: numpy.random.RandomState, site: int) -> numpy.ndarray:
    """How a site's branch reads the streams: mostly one of them, in turn, as hyper-connections begin."""
    return numpy.eye(STREAMS)[:, [site % STREAMS]] + 0.1 * random.standard_normal((STREAMS, 1))


def hyper_connections() -> Tensors:
    """Unconstrained: at each site the identity plus a small drift that all sites share, plus noise.

    With a drift of 0.034 in every entry the largest eigenvalue is 1.136, which 60 sites raise to 2100; the noise and
    the input-dependent part do the rest. One stream has the opposite sign, so that the definitions `amax` and `norm`
    differ, as they do for the matrices in arXiv 2512.24880, Figure 8.
    """
    random = generator("hc")
    signs = numpy.array([1, 1, 1, -1])
    drift = 0.034 * numpy.outer(signs, signs)
    tensors: Tensors = {}
    for site, path in enumerate(site_paths()):
        mixing = numpy.eye(STREAMS) + drift + 0.03 * random.standard_normal((STREAMS, STREAMS))
        tensors |= {
            f"{path}.static_alpha": stored(numpy.hstack([read_column(random, site), mixing])),
            f"{path}.dynamic_alpha_fn": stored(random.standard_normal((WIDTH, STREAMS + 1)) / WIDTH**0.5),
            f"{path}.dynamic_alpha_scale": stored(0.1),
            f"{path}.static_beta": stored(numpy.ones(STREAMS)),
            f"{path}.dynamic_beta_fn": stored(random.standard_normal(WIDTH) / WIDTH**0.5),
            f"{path}.dynamic_beta_scale": stored(0.1),
            f"{path}.norm.gamma": stored(0.1 * random.standard_normal(WIDTH)),
        }
    return tensors


def peaked_logits(random: numpy.random.RandomState) -> list[numpy.ndarray]:
    """Logits of all sites, so peaked near the identity that 20 Sinkhorn iterations do not converge.

    All sites share most of them: errors of the same sign add up along depth, while those of independent sites cancel.
    """
    shared = 4 * numpy.eye(STREAMS) + 3 * random.standard_normal((STREAMS, STREAMS))
    return [shared + random.standard_normal((STREAMS, STREAMS)) for _ in site_paths()]


def manifold_hyper_connections() -> Tensors:
    """mHC: the mixing block of `static_alpha` holds logits."""
    random = generator("mhc")
    tensors: Tensors = {}
    for site, (path, logits) in enumerate(zip(site_paths(), peaked_logits(random), strict=True)):
        tensors |= {
            f"{path}.static_alpha": stored(numpy.hstack([read_column(random, site), logits])),
            f"{path}.dynamic_alpha_fn": stored(random.standard_normal((1, WIDTH, STREAMS + 1)) / WIDTH**0.5),
            f"{path}.pre_branch_scale": stored([0.5]),
            f"{path}.residual_scale": stored([0.5]),
            f"{path}.static_beta": stored(numpy.ones(STREAMS)),
            f"{path}.dynamic_beta_fn": stored(random.standard_normal(WIDTH) / WIDTH**0.5),
            f"{path}.h_post_scale": stored(0.5),
            f"{path}.norm.gamma": stored(0.1 * random.standard_normal(WIDTH)),
        }
    return tensors


def deepseek_v4() -> Tensors:
    """The names of DeepSeek-V4's released checkpoints: trunk, output head and one MTP block.

    Only the trunk is measured; the head mixes nothing, and the MTP block is not on the path of the main model.
    """
    random = generator("deepseek_v4")
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


def write_all(directory: Path) -> None:
    """Write the three checkpoints and the configuration of the third."""
    (directory / "deepseek_v4").mkdir(parents=True, exist_ok=True)
    save_file(hyper_connections(), directory / "hc.safetensors", metadata=METADATA)
    save_file(manifold_hyper_connections(), directory / "mhc.safetensors", metadata=METADATA)
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
    parser.add_argument("--expected", action="store_true", help="also measure them and write expected.json")
    arguments = parser.parse_args()
    write_all(arguments.out)
    if arguments.expected:
        from expected import expected_gains  # noqa: PLC0415 - the files alone do not need mhcdiag

        (arguments.out / "expected.json").write_text(readable_json(expected_gains(arguments.out)))


if __name__ == "__main__":
    main()

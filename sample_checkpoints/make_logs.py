"""Write the sample training logs, made from seeds and not by training.

    python sample_checkpoints/make_logs.py [--out DIRECTORY]

`spiky.jsonl` recovers from one spike that the gradient norm announces; `diverged.log` is a Megatron-LM log whose loss
climbs out of its course and ends in NaN.
"""

import argparse
import json
from pathlib import Path

import numpy

STEPS = 1500
HERE = Path(__file__).parent / "logs"


def healthy_course(random: numpy.random.RandomState) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Loss and gradient norm of a run that nothing happens to: a power law with a little noise."""
    steps = numpy.arange(1, STEPS + 1)
    loss = 2.4 + 8.6 * steps**-0.45 + 0.02 * random.standard_normal(STEPS)
    return loss, 0.4 * numpy.exp(0.12 * random.standard_normal(STEPS))


def spiky(random: numpy.random.RandomState) -> str:
    """One JSON object per line; the gradient norm jumps at step 1000, the loss follows at 1002 and is back after 30."""
    loss, norm = healthy_course(random)
    norm[999:1010] *= 12
    loss[1001:1031] += 1.6 * numpy.exp(-numpy.arange(30) / 9)
    rows = [
        {"step": step, "loss": round(float(a), 4), "grad_norm": round(float(b), 3), "lr": 3e-4}
        for step, (a, b) in enumerate(zip(loss, norm, strict=True), 1)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def diverged(random: numpy.random.RandomState) -> str:
    """Megatron-LM's console; from step 1100 the loss rises, and from 1480 on it is missing while the norm is NaN."""
    loss, norm = healthy_course(random)
    loss[1099:] += numpy.linspace(0, 3.5, STEPS - 1099)
    norm[1099:] *= numpy.linspace(1, 30, STEPS - 1099)
    lines = []
    for step, (a, b) in enumerate(zip(loss, norm, strict=True), 1):
        shown_loss = f" lm loss: {a:.6E} |" if step < 1480 else ""
        shown_norm = f"{b:.3f}" if step < 1480 else "nan"
        lines.append(
            f" iteration {step:8d}/{STEPS:8d} | consumed samples: {step * 256:12d} | learning rate: 3.000E-04 |"
            f"{shown_loss} loss scale: 1.0 | grad norm: {shown_norm} | number of skipped iterations:   0 |"
            " number of nan iterations:   0 |\n"
        )
    return "".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    (out / "spiky.jsonl").write_text(spiky(numpy.random.RandomState(11)))
    (out / "diverged.log").write_text(diverged(numpy.random.RandomState(13)))

"""One checkpoint of the study of inputs as a row of its CSV, and the tables that follow from all rows, as Markdown."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

import mhcdiag
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.mappings.parametric import Activation, StaticMaps
from mhcdiag.measures.gain import measure_gains
from mhcdiag.results.gain import Definition, Direction, Kind, Reduction
from mhcdiag.tensorfiles import open_checkpoint

TABLE = Path(__file__).parent / "input_study.csv"
LIMIT = 1000.0
"""Of the built-in gate; a checkpoint whose real tokens exceed it has exploded, any other is sound."""
DIRECTIONS = ("forward", "backward")
PREDICTORS = {
    "static": "static: the input-dependent part at zero",
    "random": "random: drawn anew at every site",
    "one_sign": "one direction at all sites, the same sign everywhere (no option)",
    "aligned": "aligned: one direction per token, signs carried",
}
PARTS = ("chosen on", "held out", "held out, package")
BELOW = 1e5
"""Gains below this are those that a verdict could hinge on; the note of `aligned` states its error there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRow:
    """Worst gains of one checkpoint (`norm`, token mean), the larger of forward and backward unless said."""

    part: str
    """Whether anything was chosen on its run."""
    run: str
    """Name of the run."""
    step: int
    """Of the checkpoint."""
    streams: int
    """Residual streams."""
    sites: int
    """Two per block."""
    real_forward: float
    """Of captured mappings: the truth."""
    real_backward: float
    """The same over columns."""
    static_forward: float
    """Input-dependent part at zero."""
    static_backward: float
    """The same over columns."""
    random_forward: float
    """Inputs drawn at every site."""
    random_backward: float
    """The same over columns."""
    one_sign_forward: float
    """The largest of sixteen vectors, plus and minus the leading singular ones, that no stream turns round."""
    one_sign_backward: float
    """The same over columns."""
    aligned_forward: float
    """Inputs that share a direction; NaN where mappings are constrained, as is `reached`."""
    aligned_backward: float
    """The same over columns."""
    reached_forward: float
    """What some input was found to reach."""
    reached_backward: float
    """The same over columns."""
    bound_forward: float
    """What no input can exceed; infinite without one."""
    bound_backward: float
    """The same over columns."""

    def ratios(self, predictor: str) -> list[float]:
        """Predicted over real gain, forward and backward."""
        return [getattr(self, f"{predictor}_{way}") / getattr(self, f"real_{way}") for way in DIRECTIONS]

    def worst(self, kind: str) -> float:
        """The larger of forward and backward."""
        return max(getattr(self, f"{kind}_{way}") for way in DIRECTIONS)

    @property
    def exploded(self) -> bool:
        """Whether real tokens exceed the limit."""
        return self.worst("real") > LIMIT


def measured(part: str, run: str, checkpoint: Path, **options: bool) -> CheckpointRow:
    """Measure one checkpoint, and the captured mappings beside it."""
    default = mhcdiag.gain(checkpoint, **options)
    results = {default.inputs: default}
    results |= {n: mhcdiag.gain(checkpoint, inputs=n, **options) for n in ("static", "random") if n not in results}
    results["real"] = mhcdiag.gain(checkpoint.parent / "captured" / checkpoint.name)
    values = {f"{name}_{way}": math.nan for name in ("aligned", "one_sign") for way in DIRECTIONS}
    if default.inputs == "aligned":
        values |= one_sign(checkpoint, **options)
    values |= {
        f"{name}_{way}": float(result.worst[way, "norm"].value)  # type: ignore[index]
        for name, result in results.items()
        for way in DIRECTIONS
    }
    for way in DIRECTIONS:
        bound = default.bound[way]  # type: ignore[index]
        values[f"bound_{way}"] = math.inf if bound.worst is None else float(bound.worst)
        values[f"reached_{way}"] = math.nan if bound.reached is None else float(bound.reached)
    step = int(checkpoint.stem.removeprefix("step_"))
    return CheckpointRow(part=part, run=run, step=step, streams=default.streams, sites=len(default.sites), **values)


def one_sign(checkpoint: Path, *, tanh: bool | None = None) -> dict[str, float]:
    """Largest gain of the whole model over sixteen vectors that all streams of all sites read with the same sign."""
    opened = open_checkpoint(checkpoint)
    layout, recognition = recognise(opened)
    reading = layout.read(opened, recognition, Overrides(tanh=tanh), dynamic=True)
    assert isinstance(reading, ParametricReading)
    parameters = reading.parameters
    weights = torch.stack([factor.weight.double() for factor in parameters.factors or () if factor.weight is not None])
    stacked = torch.cat(list(weights * parameters.scale.double()[:, None, None]), dim=1)
    leading = torch.linalg.svd(stacked, full_matrices=False).U[:, :8]
    vectors = torch.cat([leading, -leading], dim=1) * len(leading) ** 0.5
    logits = (weights.transpose(1, 2) @ vectors)[:, None].expand(-1, parameters.stack.streams, -1, -1)
    logits = logits.tanh() if parameters.recipe.activation is Activation.TANH else logits
    stored = parameters.base.double()[..., None] + parameters.scale.double()[:, None, None, None] * logits
    maps = StaticMaps(
        stack=parameters.stack, maps=parameters.recipe.orient(stored).contiguous(), tokens=vectors.shape[1]
    )
    curves = measure_gains(maps, exact_side=None).curves
    return {f"one_sign_{way}": float(curves[Kind.PREFIX, way, Definition.NORM, Reduction.MAX][-1]) for way in Direction}


def write_table(rows: Iterable[CheckpointRow]) -> None:
    """Write the CSV, four digits of each gain."""
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(CheckpointRow)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()})


def read_table() -> list[CheckpointRow]:
    """The committed rows."""
    kinds = {field.name: field.type for field in fields(CheckpointRow)}
    with TABLE.open(newline="") as file:
        return [CheckpointRow(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]


def held_out(rows: Sequence[CheckpointRow]) -> list[CheckpointRow]:
    """Those of runs that nothing was chosen on."""
    return [row for row in rows if row.part.startswith("held out")]


def within(rows: Sequence[CheckpointRow], predictor: str, factor: float) -> int:
    """Number of checkpoints predicted within a factor, forward and backward alike."""
    return sum(all(1 / factor <= ratio <= factor for ratio in row.ratios(predictor)) for row in rows)


def tables(rows: Sequence[CheckpointRow]) -> str:
    """All tables, one after another."""
    return "\n".join([verdicts(rows), by_predictor(rows), by_decade(rows), constrained(rows), by_run(rows)])


def verdicts(rows: Sequence[CheckpointRow]) -> str:
    """What the default gate says of held-out checkpoints."""
    lines = [
        "| held-out checkpoints | number | FAIL | qualified PASS | plain PASS |",
        "|---|---|---|---|---|",
    ]
    for name, exploded in (("exploded: real tokens above 1000", True), ("sound", False)):
        those = [row for row in held_out(rows) if row.exploded is exploded]
        failed = [row for row in those if row.worst("aligned") > LIMIT]
        proved = [row for row in those if row.worst("bound") <= LIMIT]
        rest = len(those) - len(failed) - len(proved)
        lines.append(
            f"| {name} | {len(those)} | {_share(len(failed), those)} | {_share(rest, those)} | "
            f"{_share(len(proved), those)} |"
        )
    return "\n".join(lines) + "\n"


def by_predictor(rows: Sequence[CheckpointRow]) -> str:
    """Errors of each kind of input on each part."""
    lines = [
        "| inputs | runs | checkpoints | within 2x | within 4x | predicted / real | exploded ones found |",
        "|---|---|---|---|---|---|---|",
    ]
    for predictor, words in PREDICTORS.items():
        for part in PARTS:
            those = [row for row in rows if row.part == part]
            exploded = [row for row in those if row.exploded]
            found = sum(row.worst(predictor) > LIMIT for row in exploded)
            lines.append(
                f"| {words} | {part} | {len(those)} | {within(those, predictor, 2)} | {within(those, predictor, 4)} | "
                f"{_spread(those, predictor)} | {found} of {len(exploded)} |"
            )
    return "\n".join(lines) + "\n"


def by_decade(rows: Sequence[CheckpointRow]) -> str:
    """Errors of `aligned` on held-out runs by decade of the real gain."""
    lines = [
        "| real gain | checkpoints | within 2x | within 4x | aligned / real | random / real |",
        "|---|---|---|---|---|---|",
    ]
    for decade in range(9):
        those = [row for row in held_out(rows) if 10**decade <= row.worst("real") < 10 ** (decade + 1)]
        if those:
            lines.append(
                f"| 1e{decade} to 1e{decade + 1} | {len(those)} | {within(those, 'aligned', 2)} | "
                f"{within(those, 'aligned', 4)} | {_spread(those, 'aligned')} | {_spread(those, 'random')} |"
            )
    return "\n".join(lines) + "\n"


def constrained(rows: Sequence[CheckpointRow]) -> str:
    """Real and made-up inputs where the mappings are constrained (Sinkhorn): the gain of the side that is not exact."""
    lines = ["| mHC run | checkpoints | largest real gain | random - real | static - real |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(row.run for row in rows if row.part == "mHC"):
        those = [row for row in rows if row.run == name]
        differences = ([row.worst(kind) - row.worst("real") for row in those] for kind in ("random", "static"))
        spreads = " | ".join(f"{min(found):+.3f} to {max(found):+.3f}" for found in differences)
        lines.append(f"| {name} | {len(those)} | {max(row.worst('real') for row in those):.3f} | {spreads} |")
    return "\n".join(lines) + "\n"


def by_run(rows: Sequence[CheckpointRow]) -> str:
    """Every run in one line."""
    lines = [
        "| run | part | sites, streams | real gain, first to last | aligned / real | bound / real | reached / real |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.run for row in rows if row.part in PARTS):
        those = [row for row in rows if row.run == name]
        first, last = those[0], those[-1]
        lines.append(
            f"| {name} | {first.part} | {first.sites}, {first.streams} | {first.worst('real'):.3g} to "
            f"{last.worst('real'):.3g} | {_spread(those, 'aligned')} | {_spread(those, 'bound')} | "
            f"{_spread(those, 'reached')} |"
        )
    return "\n".join(lines) + "\n"


def _spread(rows: Sequence[CheckpointRow], predictor: str) -> str:
    ratios = [ratio for row in rows for ratio in row.ratios(predictor)]
    return f"{min(ratios):.2g} to {max(ratios):.2g}" if ratios else "-"


def _share(count: int, those: Sequence[CheckpointRow]) -> str:
    return f"{count} ({100 * count / len(those):.0f} %)" if those else "0"

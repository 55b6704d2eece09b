"""One checkpoint of the study of inputs as a row of its CSV, and the tables that follow from all rows, as Markdown."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import mhcdiag

TABLE = Path(__file__).parent / "input_study.csv"
LIMIT = 1000.0
"""Of the built-in gate; a checkpoint whose real tokens exceed it has exploded, any other is sound."""
DIRECTIONS = ("forward", "backward")
PREDICTORS = {
    "static": "static: the input-dependent part at zero",
    "random": "random: drawn anew at every site",
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
    aligned_forward: float
    """Inputs that share a direction."""
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
    results = {name: mhcdiag.gain(checkpoint, inputs=name, **options) for name in PREDICTORS}
    results["real"] = mhcdiag.gain(checkpoint.parent / "captured" / checkpoint.name)
    values = {
        f"{name}_{way}": float(result.worst[way, "norm"].value)  # type: ignore[index]
        for name, result in results.items()
        for way in DIRECTIONS
    }
    for way in DIRECTIONS:
        bound = results["aligned"].bound[way]  # type: ignore[index]
        values[f"bound_{way}"] = math.inf if bound.worst is None else float(bound.worst)
        values[f"reached_{way}"] = math.nan if bound.reached is None else float(bound.reached)
    result = results["aligned"]
    step = int(checkpoint.stem.removeprefix("step_"))
    return CheckpointRow(part=part, run=run, step=step, streams=result.streams, sites=len(result.sites), **values)


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
    return [row for row in rows if row.part != "chosen on"]


def within(rows: Sequence[CheckpointRow], predictor: str, factor: float) -> int:
    """Number of checkpoints predicted within a factor, forward and backward alike."""
    return sum(all(1 / factor <= ratio <= factor for ratio in row.ratios(predictor)) for row in rows)


def tables(rows: Sequence[CheckpointRow]) -> str:
    """All tables, one after another."""
    return "\n".join([verdicts(rows), by_predictor(rows), by_decade(rows), by_run(rows)])


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


def by_run(rows: Sequence[CheckpointRow]) -> str:
    """Every run in one line."""
    lines = [
        "| run | part | sites, streams | real gain, first to last | aligned / real | bound / real | reached / real |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.run for row in rows):
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

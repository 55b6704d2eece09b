"""Every detection rule over labelled and over synthetic logs.

Run as `python benchmarks/spike_rules.py [FOLDER]`. The constants of our rule were chosen with the labelled
logs in view: read their columns as a check, not as proof. Found: a reported event lies within two points
of a labelled one. An event near a label of kind `may` counts neither way.
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from spike_logs import synthetic_loss

from mhcdiag.detectors import OURS, RULES
from mhcdiag.detectors.interface import Records
from mhcdiag.errors import MhcdiagError
from mhcdiag.gates.spikes import SpikeGate, judge
from mhcdiag.logapi import LogOptions, judge_table, read_table
from mhcdiag.results.spikes import Event, Kind
from mhcdiag.results.verdict import Verdict

NEAR = 2
SEEDS = range(100, 108)
"""Not those on which the constants of the rule were chosen (0 to 7)."""
CANONICAL = {"loss": "loss", "grad_norm": "grad_norm", "norm": "grad_norm"}
EXIT = {"pass": Verdict.PASS, "warn": Verdict.PASS, "fail": Verdict.FAIL, "error": Verdict.UNJUDGED}


@dataclass(kw_only=True, slots=True)
class Tally:
    """What one rule found."""

    found: Counter[str] = field(default_factory=Counter)
    must: Counter[str] = field(default_factory=Counter)
    false_alarms: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


def group(kind: str) -> str:
    return {"divergence": "spike", "shift": "spike"}.get(kind, kind)


def touches(event: Event, label: dict, steps: np.ndarray) -> bool:
    """Whether an event lies within two logged points of a label."""
    first = np.searchsorted(steps, label["start"]) - NEAR
    last = np.searchsorted(steps, label["end"], side="right") - 1 + NEAR
    return np.searchsorted(steps, event.start) <= last and np.searchsorted(steps, event.end) >= first


def score(tally: Tally, events: tuple[Event, ...], label: dict, steps: np.ndarray, where: str) -> None:
    must, may = label["must"], label["may"]
    for one in must:
        tally.must[group(one["kind"])] += 1
        if any(touches(event, one, steps) for event in events):
            tally.found[group(one["kind"])] += 1
        else:
            tally.missed.append(f"{where} {one['peak']}")
    arguable = [*must, *(may if isinstance(may, list) else [])]
    for event in events:
        if may == "ANY" or any(touches(event, one, steps) for one in arguable):
            continue
        series = "norms" if event.kind is Kind.GRADSPIKE else "losses"
        tally.false_alarms[series] += 1
        if label["verdict"] == "clean":
            tally.false_alarms[f"clean {series} {group(event.kind)}"] += 1


def labelled(folder: Path) -> None:
    """Print the table over a folder of labelled logs."""
    labels = json.loads((folder / "labels.json").read_text())
    tables, gates_wrong = {}, []
    for name in labels:
        try:
            tables[name] = read_table(str(folder / name), LogOptions())
        except MhcdiagError:
            tables[name] = None
    heads = f"{'spikes':>8} {'blips':>8} {'gradspikes':>10}   false: {'losses':>7} {'norms':>6}"
    print(f"{'rule':16} {heads}   on clean series")
    for rule in (OURS, *(one.name for one in RULES)):
        tally = Tally()
        for name, series in labels.items():
            wanted = EXIT[next(iter(series.values()))["expected_gate"].split(":")[0].split("/")[0].split()[0]]
            verdict = Verdict.UNJUDGED
            table = tables[name]
            if table is not None and "loss" in table.columns:
                result = judge_table(table, LogOptions(rule=rule))
                verdict = judge(result, SpikeGate()).verdict
                for key, label in series.items():
                    ours = CANONICAL.get(key, "loss")
                    if ours in result.series:
                        values = table.columns[ours]
                        steps = np.sort(table.step[np.isfinite(values)].astype(np.float64))
                        score(tally, result.series[ours].events, label, steps, f"{name} {key}")
            if rule == OURS and verdict is not wanted:
                gates_wrong.append(f"{name}: {verdict}, expected {wanted}")
        cells = [f"{tally.found[kind]}/{tally.must[kind]}" for kind in ("spike", "blip", "gradspike")]
        clean = {key.removeprefix("clean "): n for key, n in tally.false_alarms.items() if key.startswith("clean")}
        false = tally.false_alarms
        counts = f"{cells[0]:>8} {cells[1]:>8} {cells[2]:>10}          {false['losses']:>7} {false['norms']:>6}"
        print(f"{rule:16} {counts}   {clean or 'none'}")
        if rule == OURS and tally.missed:
            print("   missed:", ", ".join(tally.missed))
    print("gate verdicts:", "all as expected" if not gates_wrong else "; ".join(gates_wrong))


def synthetic() -> None:
    """Print recall and precision over the synthetic logs, seed by seed."""
    print(f"\n1,000,000 steps, 200 spikes\n{'rule':16}  recall / precision, seeds {list(SEEDS)}")
    for rule in (OURS, *(one.name for one in RULES)):
        cells = []
        for seed in SEEDS:
            loss, planted = synthetic_loss(1_000_000, seed=seed)
            watcher = LogOptions(rule=rule).watcher(("loss",), "")
            steps = np.arange(len(loss), dtype=np.float64)
            bad = {"loss": np.isnan(loss)}
            watcher.feed(Records(step=steps, line=np.arange(1, len(loss) + 1), columns={"loss": loss}, bad=bad))
            watcher.finish()
            events = [event for event in watcher.events()["loss"] if event.kind is not Kind.NAN]
            firsts = np.array([one.first - 2 for one in planted])
            lasts = np.array([one.last + 30 for one in planted])
            hits = [(event.end >= firsts) & (event.start <= lasts) for event in events]
            recall = np.any(hits, axis=0).mean() if hits else 0.0
            precision = np.mean([hit.any() for hit in hits]) if hits else float("nan")
            cells.append(f"{recall:.3f}/{precision:.3f}")
        print(f"{rule:16}  {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    labelled(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/logs"))
    synthetic()

"""Every detection rule in every regime of `spike_regimes.py`: recall, precision, false alarms, and the gate.

Run as `python benchmarks/spike_regime_rules.py [--seeds 1 3 5] [--rules mhcdiag olmo2] [--regimes WORDS] [--markdown]`.
Constants are chosen on even seeds; the published table is of odd ones.

A report is an event, or several at most ten points apart. It is true where it touches a planted spike, from two points
before it to thirty after. Blips (a single point, which fails no gate by default) stand in a column of their own: recall
and precision are of reports that are more. Rules that classify nothing report events of one point as blips, too.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from spike_regimes import BENIGN, GATED, SPIKY, WARM_UP_LENGTH, Gated, Log, Regime, warm_up

from mhcdiag.detectors import OURS, RULES
from mhcdiag.detectors.interface import RecordBlock
from mhcdiag.policies.verdicts import SpikeGate, judge
from mhcdiag.results.spikes import Event, EventKind
from mhcdiag.results.verdict import Verdict
from mhcdiag.runlogs import LogTable
from mhcdiag.usecases.log_judging import judge_table, watcher_of
from mhcdiag.usecases.options import LogOptions

CLOSE, BEFORE, AFTER = 10, 2, 30
NAMES = (OURS, *(one.name for one in RULES))


@dataclass(kw_only=True, slots=True)
class Tally:
    """What a rule found in the logs of one regime."""

    planted: int = 0
    found: int = 0
    """Spikes that a report touches which is no blip."""
    found_at_all: int = 0
    """Those that any report touches."""
    reports: int = 0
    """That are no blips."""
    true: int = 0
    blips: int = 0
    points: int = 0

    def add(self, events: Iterable[Event], log: Log) -> None:
        """Count the events of one log."""
        every = [event for event in events if event.end >= log.judged_from and event.kind is not EventKind.NAN]
        sustained = spans([event for event in every if event.kind is not EventKind.BLIP])
        self.points += len(log.loss) - log.judged_from
        self.planted += len(log.spikes)
        self.blips += len(every) - sum(event.kind is not EventKind.BLIP for event in every)
        hits = touching(sustained, log.spikes)
        self.reports += len(sustained)
        self.true += int(hits.any(axis=1).sum())
        self.found += int(hits.any(axis=0).sum())
        self.found_at_all += int(touching(spans(every), log.spikes).any(axis=0).sum())


def spans(events: Sequence[Event]) -> list[tuple[float, float]]:
    """First and last point of the reports, those that lie close together as one."""
    found: list[tuple[float, float]] = []
    for event in sorted(events, key=lambda event: event.start):
        if found and event.start - found[-1][1] <= CLOSE:
            found[-1] = (found[-1][0], max(found[-1][1], event.end))
        else:
            found.append((event.start, event.end))
    return found


def touching(found: Sequence[tuple[float, float]], planted: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which report touches which planted spike, [report, spike]."""
    reports = np.array(found, dtype=np.float64).reshape(-1, 2)
    spikes = np.array(planted, dtype=np.float64).reshape(-1, 2)
    starts, ends = reports[:, :1], reports[:, 1:]
    return (ends >= spikes[:, 0] - BEFORE) & (starts <= spikes[:, 1] + AFTER)


def events_of(loss: np.ndarray, rule: str) -> tuple[Event, ...]:
    """What a rule reports, by the position of the points."""
    watcher = watcher_of(LogOptions(rule=rule), ("loss",), log_format="")
    steps = np.arange(len(loss), dtype=np.float64)
    block = RecordBlock(step=steps, line=np.arange(1, len(loss) + 1), columns={"loss": loss}, bad={})
    watcher.feed(block)
    watcher.finish()
    return watcher.events()["loss"]


def tally_of(regime: Regime, rule: str, seeds: Iterable[int]) -> Tally:
    """One rule in one regime, all seeds together."""
    tally = Tally()
    for seed in seeds:
        log = regime.make(np.random.default_rng([seed, *regime.name.encode()]))
        if regime.make is warm_up:
            for first in range(0, len(log.loss), WARM_UP_LENGTH):
                run = Log(loss=log.loss[first : first + WARM_UP_LENGTH])
                tally.add(events_of(run.loss, rule), run)
        else:
            tally.add(events_of(log.loss, rule), log)
    return tally


def row(regime: Regime, tally: Tally) -> tuple[list[str], bool]:
    """The cells of a table, and whether every bar is met."""
    recall = tally.found / tally.planted if tally.planted else None
    precision = tally.true / tally.reports if tally.planted and tally.reports else None
    alarms = 10_000 * (tally.reports - tally.true) / tally.points
    met = (
        (regime.recall is None or (recall or 0.0) >= regime.recall)
        and (regime.precision is None or (1.0 if precision is None else precision) >= regime.precision)
        and (regime.alarms is None or alarms <= regime.alarms)
    )
    cells = [
        "" if recall is None else f"{recall:.3f}",
        "" if recall is None else f"{tally.found_at_all / tally.planted:.3f}",
        "" if precision is None else f"{precision:.3f}",
        f"{alarms:.2f}",
        f"{10_000 * tally.blips / tally.points:.2f}",
    ]
    return cells, met


def failed_share(gated: Gated, seeds: Iterable[int]) -> float:
    """Share of the logs that the default gate fails."""
    failed = total = 0
    for seed in seeds:
        random = np.random.default_rng([seed, *gated.name.encode()])
        for _ in range(gated.count):
            failed += verdict_of(gated.make(random).loss) is Verdict.FAIL
            total += 1
    return failed / total


def verdict_of(loss: np.ndarray) -> Verdict:
    """What the command says of a log of these losses, without options."""
    count = len(loss)
    table = LogTable(
        path="synthetic",
        format="json-lines",
        step=np.arange(count, dtype=np.float64),
        line=np.arange(1, count + 1),
        columns={"loss": loss},
        source_names={"loss": "loss"},
        nan_rows={},
        total_steps=None,
        rank=None,
        lines=count,
        loss_lines=count,
        unreadable_lines=0,
    )
    return judge(judge_table(table, LogOptions()), SpikeGate()).verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--rules", nargs="+", choices=NAMES, default=[OURS])
    parser.add_argument("--regimes", default="", help="only those whose name contains this")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    heads = ("recall", "with blips", "precision", "false/10k", "blips/10k")
    line = "| {:28} | {:9} | " + " | ".join(["{:>10}"] * len(heads)) + " | {} |"
    met = True
    for title, regimes in (("spikes", SPIKY), ("no spikes", BENIGN)):
        print(f"\n{title}: seeds {given.seeds}")
        print(line.format("regime", "rule", *heads, "bars"))
        print("|" + "---|" * (len(heads) + 3))
        for regime in regimes:
            for rule in given.rules if given.regimes in regime.name else ():
                cells, good = row(regime, tally_of(regime, rule, given.seeds))
                met &= good or rule != OURS
                print(line.format(regime.name, rule, *cells, "met" if good else "MISSED"), flush=True)
    print("\nshare that the gate fails, without options")
    for gated in GATED if OURS in given.rules else ():
        if given.regimes in gated.name:
            share = failed_share(gated, given.seeds)
            good = gated.share[0] <= share <= gated.share[1]
            met &= good
            print(f"| {gated.name:36} | {share:6.3f} | {'met' if good else 'MISSED'} |", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

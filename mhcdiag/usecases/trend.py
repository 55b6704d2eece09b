"""How the gain of one run grows over its steps, and where it leads: `mhcdiag.trend`."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mhcdiag.errors import InputError, LogError, MhcdiagError, SettingError
from mhcdiag.measures.growth import fit_growth, project
from mhcdiag.ranks import Alone, Ranks, deal
from mhcdiag.results.bands import LEVELS
from mhcdiag.results.evidence import REAL_INPUTS, doubt_of_bounds, doubt_of_inputs
from mhcdiag.results.gain import Definition, Direction, GainResult, Kind, Reduction
from mhcdiag.results.numbers import Number, is_finite, log10_of
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.trend import (
    FP16_LARGEST,
    FP32_LARGEST,
    Beside,
    Crossing,
    DirectionTrend,
    Driver,
    Source,
    TrendPoint,
    TrendResult,
)
from mhcdiag.results.verdict import Skipped
from mhcdiag.tensorfiles.run_of_checkpoints import find_checkpoints, is_run, shown_path
from mhcdiag.usecases.log_judging import judge_table, read_table
from mhcdiag.usecases.logged_gains import LoggedGains, NoGainError, Sizes, logged_gains, stream_sizes
from mhcdiag.usecases.options import INPUTS, LogOptions

RANGES = {"fp16": FP16_LARGEST, "fp32": FP32_LARGEST}
"""Largest finite value of the types in which streams are kept; bf16 reaches as far as fp32."""
MOST_DRIVERS = 4
GROWN = math.log(1.1)
"""Growth of ln(gain) from the first checkpoint to the last below which there is nobody to blame."""
ASSUMED_RMS = (
    "limits of fp16 and fp32 assume streams with a root mean square of 1 at gain 1 (--stream-rms, or a log that "
    "carries stream_rms)"
)


def trend(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    log: str | os.PathLike[str] | None = None,
    inputs: str | None = None,
    text: str | os.PathLike[str] | None = None,
    fit_from: float | None = None,
    stream_rms: float | None = None,
    gain_keys: Sequence[str] = (),
    ranks: Ranks | None = None,
) -> TrendResult:
    """Fit how the gain of one run grows over its steps, and project when it crosses which limit.

    Parameters
    ----------
    paths
        Checkpoints of one run, a folder of them, or one log that carries gain columns.
    log
        Training log of the run: its events, the size of the streams where it carries `stream_rms`, and its gains where
        it has columns of them. Those are of real tokens: the trend is theirs unless the checkpoints' are, too, and the
        others are shown beside it.
    inputs, text
        Inputs of the checkpoints' mappings, as for `mhcdiag.gain`; `text` runs each checkpoint on a text.
    fit_from
        First step of the fit; None for the later half.
    stream_rms
        Root mean square of the streams at the last step, in place of what the log says; it decides when fp16 and fp32
        overflow.
    gain_keys
        Columns of a log to judge; none takes the composite before single layers and the worst before the mean.
    ranks
        The processes of `mhcdiag.ranks.joined_ranks` that share the checkpoints; all of them call this alike.

    Raises
    ------
    mhcdiag.MhcdiagError
        There is no trend (one point only, steps missing or equal), or an option cannot be used.
    """
    options = TrendOptions(
        log=None if log is None else os.fspath(log),
        inputs=inputs,
        text=None if text is None else os.fspath(text),
        fit_from=fit_from,
        stream_rms=stream_rms,
        gain_keys=tuple(gain_keys),
    )
    named = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not named:
        raise SettingError("a trend is that of one run: name one log, or its checkpoints")
    return _trend([os.fspath(path) for path in named], options, ranks)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendOptions:
    """How to read and project; `trend` says what each means."""

    log: str | None = None
    inputs: str | None = None
    text: str | None = None
    fit_from: float | None = None
    stream_rms: float | None = None
    gain_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stream_rms is not None and not 0 < self.stream_rms < math.inf:
            raise SettingError(f"stream_rms {self.stream_rms}: expected a number above 0")
        if self.inputs is not None and self.inputs not in INPUTS:
            raise SettingError(f"inputs '{self.inputs}': expected one of {', '.join(INPUTS)}")
        if self.text is not None and self.inputs != "text":
            raise SettingError("a text is what a model runs on: it needs inputs 'text' (--inputs text)")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gains:
    """The gains of a run, whatever they come from."""

    source: Source
    points: tuple[TrendPoint, ...]
    inputs: str = ""
    """What the mappings of checkpoints were computed for; empty for logs."""
    is_of_study: bool = False
    """Whether a log is one of `mhcdiag toy`, whose gains our study is about."""
    beside: Beside | None = None
    sizes: Sizes = ()
    drivers: dict[Direction, tuple[Driver, ...]]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def _trend(paths: Sequence[str], options: TrendOptions, ranks: Ranks | None) -> TrendResult:
    log: LogResult | None
    sizes: Sizes
    gains = _gains_of(paths, options, ranks or Alone())
    log, sizes = None, ()
    if options.log is not None:
        table = read_table(options.log, LogOptions())
        log, sizes = judge_table(table, LogOptions()), stream_sizes(table)
        gains = _like_with_like(gains, options) if gains.source is Source.CHECKPOINTS else gains
    sizes = () if options.stream_rms is not None else gains.sizes or sizes
    rms = sizes[-1][1] if sizes else options.stream_rms
    notes = gains.notes if rms is not None else (*gains.notes, ASSUMED_RMS)
    return TrendResult(
        path=shown_path(paths[0]),
        source=gains.source,
        points=gains.points,
        trends={direction: _direction(gains.points, direction, options, sizes) for direction in Direction},
        drivers=gains.drivers,
        stream_rms=rms,
        log=log,
        skipped=gains.skipped,
        notes=notes,
        inputs=gains.inputs,
        is_of_study=gains.is_of_study,
        beside=gains.beside,
    )


WINS = (
    "the trend is that of the gains in the log, which are of real tokens; those of the checkpoints are on {inputs} "
    "inputs and stand beside it (--inputs text measures real tokens in checkpoints, too)"
)


def _like_with_like(gains: _Gains, options: TrendOptions) -> _Gains:
    """Gains of real tokens, where the log has them, in place of those on made-up inputs; the others stand beside."""
    assert options.log is not None
    logged: LoggedGains
    try:
        logged = logged_gains(options.log, options.gain_keys)
    except LogError as error:
        # A log that says nothing of gains is one for its events; a column that was asked for must be there.
        if options.gain_keys:
            raise
        said = () if isinstance(error, NoGainError) else (f"gains of the log are left out: {error}",)
        return replace(gains, notes=(*gains.notes, *said))
    if gains.inputs in REAL_INPUTS:
        return replace(gains, beside=Beside(source=Source.LOG, inputs="", points=logged.points))
    return replace(
        gains,
        source=Source.LOG,
        points=logged.points,
        inputs="",
        is_of_study=logged.is_of_study,
        beside=Beside(source=Source.CHECKPOINTS, inputs=gains.inputs, points=gains.points),
        notes=(*gains.notes, *logged.notes, WINS.format(inputs=gains.inputs)),
    )


def _gains_of(paths: Sequence[str], options: TrendOptions, ranks: Ranks) -> _Gains:
    if not is_run(paths[0]):
        return _from_log(paths, options)
    if options.gain_keys and options.log is None:
        raise SettingError("--gain-key names columns of a log; the gains of checkpoints are measured")
    return _from_checkpoints(paths, options, ranks)


def _from_log(paths: Sequence[str], options: TrendOptions) -> _Gains:
    if len(paths) != 1:
        raise SettingError("a trend is that of one run: name one log, or its checkpoints")
    logged = logged_gains(paths[0], options.gain_keys)
    return _Gains(
        source=Source.LOG,
        points=logged.points,
        is_of_study=logged.is_of_study,
        sizes=logged.sizes,
        drivers={},
        notes=logged.notes,
    )


def _from_checkpoints(paths: Sequence[str], options: TrendOptions, ranks: Ranks) -> _Gains:
    found = deal(
        find_checkpoints(paths), lambda mine: [_measured(each.path, each.step, options) for each in mine], ranks
    )
    skipped = [each for each in found if isinstance(each, Skipped)]
    points = [each.point for each in found if not isinstance(each, Skipped)]
    results = [each.result for each in found if not isinstance(each, Skipped)]
    if len(points) < 2:
        raise InputError(
            shown_path(paths[0]),
            found=f"{len(points)} checkpoints that can be measured"
            + (f" (the first that cannot: {skipped[0].reason})" if skipped else ""),
            expected="two or more for a trend",
        )
    drivers = {direction: _drivers(results[0], results[-1], direction) for direction in Direction}
    return _Gains(
        source=Source.CHECKPOINTS,
        points=tuple(points),
        inputs=" and ".join(sorted({result.inputs for result in results})),
        drivers=drivers,
        skipped=tuple(skipped),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """One checkpoint of a run."""

    point: TrendPoint
    result: "GainResult"


def _measured(path: str, step: float, options: TrendOptions) -> _Measured | Skipped:
    from mhcdiag.usecases import gain as api

    try:
        result = api.gain(path, inputs=options.inputs, text=options.text)
    except MhcdiagError as error:
        return Skipped(what=shown_path(path), reason=str(error))
    gain = {direction: result.worst[direction, Definition.NORM].value for direction in Direction}
    proved = not doubt_of_bounds(result)
    point = TrendPoint(
        step=step,
        source=shown_path(path),
        gain=gain,
        bound={direction: result.bound[direction].worst if proved else None for direction in Direction},
        sampled=doubt_of_inputs(result),
    )
    return _Measured(point=point, result=result)


def _direction(
    points: Sequence[TrendPoint], direction: Direction, options: TrendOptions, sizes: Sizes
) -> DirectionTrend:
    steps = [point.step for point in points]
    gains = [point.gain[direction] for point in points]
    growth = fit_growth(steps, gains, fit_from=options.fit_from)
    peak = _peak(gains)
    crossings = [project(steps, gains, growth, name=f"{level:g}", limit=level) for level in LEVELS]
    if len(sizes) > 1:
        crossings += _overflows(sizes, options)
    else:
        limits = {name: _overflow(largest, gains[-1], options.stream_rms) for name, largest in RANGES.items()}
        crossings += [project(steps, gains, growth, name=name, limit=limit) for name, limit in limits.items()]
    return DirectionTrend(
        growth=growth, crossings=tuple(crossings), newest=gains[-1], peak=gains[peak], peak_step=steps[peak]
    )


def _overflows(sizes: Sizes, options: TrendOptions) -> list[Crossing]:
    """When the logged size of the streams reaches the largest finite value of a type, by its own growth."""
    steps, values = [step for step, _ in sizes], [size for _, size in sizes]
    growth = fit_growth(steps, values, fit_from=options.fit_from)
    return [project(steps, values, growth, name=name, limit=largest) for name, largest in RANGES.items()]


def _overflow(largest: float, newest: Number, rms: float | None) -> float:
    """The gain at which streams whose size follows the gain reach the largest finite value of their type."""
    if rms is None or not is_finite(newest):
        return largest
    log10 = math.log10(largest) + log10_of(newest) - math.log10(rms)
    return math.pow(10.0, min(log10, 308.0))  # float64 ends there; a gain beyond it is out of every range anyway


def _peak(gains: Sequence[Number]) -> int:
    broken = [at for at, gain in enumerate(gains) if not is_finite(gain)]
    return broken[0] if broken else max(range(len(gains)), key=lambda at: gains[at])


def _drivers(first: "GainResult", last: "GainResult", direction: Direction) -> tuple[Driver, ...]:
    """Sites by their share in the growth of ln(gain) of the whole model between two checkpoints."""
    if first.sites != last.sites:
        return ()
    before, after = _contributions(first, direction), _contributions(last, direction)
    grown = [b - a for a, b in zip(before, after, strict=True)]
    total = sum(grown)
    if not math.isfinite(total) or total < GROWN:
        return ()
    order = sorted(range(len(grown)), key=lambda site: -grown[site])[:MOST_DRIVERS]
    return tuple(Driver(site=last.sites[site], share=grown[site] / total) for site in order)


def _contributions(result: "GainResult", direction: Direction) -> list[float]:
    """What each site adds to ln(gain) of the whole model."""
    kind = Kind.PREFIX if direction is Direction.FORWARD else Kind.SUFFIX
    curve = result.gain[kind, direction, Definition.NORM, Reduction.MEAN]
    forward = direction is Direction.FORWARD
    logs = [log10_of(gain) * math.log(10) for gain in (curve if forward else reversed(curve))]
    steps = [now - before for before, now in zip([0.0, *logs[:-1]], logs, strict=True)]
    return steps if forward else steps[::-1]

"""The terminal report of `mhcdiag gain`, as rich renderables.

Verdict lines are kept apart: they come last, because people read the tail, and are never wrapped, because scripts do.
"""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mhcdiag.reports.console import (
    ASCII_BLOCKS,
    BLOCKS,
    SAMPLED_STYLE,
    VERDICT_STYLES,
    compared_text,
    indented,
    log_range,
    sparkline,
)
from mhcdiag.reports.text import in_bytes, reason_beside
from mhcdiag.results.bands import DIRECTION_WORDS, reading, reading_of
from mhcdiag.results.evidence import assurance, qualification
from mhcdiag.results.gain import Curve, Definition, Direction, GainResult, Kind, Reduction, WorstSpan, blame
from mhcdiag.results.health import Severity
from mhcdiag.results.judged import JudgedGain, Unreadable
from mhcdiag.results.numbers import from_log10, is_finite, text
from mhcdiag.results.verdict import Verdict
from mhcdiag.results.wording import plural, short_names

BAND_STYLES = {None: "green", Severity.NOTE: "yellow", Severity.WARN: "yellow", Severity.FAIL: "bold red"}

DEFINITIONS = (
    "norm: largest row (forward) or column (backward) sum of absolute values; amax: signs kept, as in arXiv "
    "2512.24880; composite: over consecutive sites"
)


def gain_report(
    judged: Sequence[JudgedGain | Unreadable], *, width: int, unicode: bool = True, details: bool = False
) -> RenderableType:
    """What was measured: one input in full, several side by side.

    Parameters
    ----------
    width
        Columns of the terminal.
    unicode
        Whether block characters can be shown.
    details
        Show several inputs in full as well.
    """
    measured = [each for each in judged if isinstance(each, JudgedGain)]
    parts: list[RenderableType] = []
    if len(measured) > 1:
        parts.append(_side_by_side(measured))
    if len(measured) == 1 or details:
        for each in measured:
            blocks = BLOCKS if unicode else ASCII_BLOCKS
            parts += [*_one(each.result, width=width, blocks=blocks, details=details), Text()]
    else:
        parts += [*_shared_remarks(measured), Text()]
    return Group(*parts)


def verdict_line(each: JudgedGain | Unreadable) -> Text:
    """The verdict with what it rests on, and the number and the limit that decided it.

    A pass on a mere sample says so before anything else: whoever reads no further has read that.
    """
    line = Text.assemble((each.verdict.upper(), VERDICT_STYLES[each.verdict]))
    if isinstance(each, Unreadable):
        return line.append(f"  {each.path}  {reason_beside(each.path, each.reason)}")
    sampled = qualification(each.result, each.limits) if each.verdict is Verdict.PASS else ""
    if sampled:
        line = Text.assemble((f"{each.verdict.upper()} {sampled}", SAMPLED_STYLE))
    line.append(f"  {each.path}")
    if each.result.nonfinite:
        broken = each.result.nonfinite[0]
        return line.append(f"  site {broken.site}: {broken.found} (tensor {', '.join(broken.tensors)})")
    if each.weights is not None and each.weights.nonfinite:
        return line.append(f"  {each.weights.nonfinite[0].what}")
    for limit in each.limits:
        line.append(f"  {compared_text(limit)}")
    if each.verdict is Verdict.PASS and not sampled:
        line.append(f"  ({assurance(each.result, each.limits)})")
    for caveat in () if each.weights is None else each.weights.caveats:
        line.append(f"  {caveat}")
    return line.append(f"  ({each.reason})" if each.verdict is Verdict.UNJUDGED else "")


def _one(result: GainResult, *, width: int, blocks: str, details: bool) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(result.path, style="bold"),
        indented(_input_facts(result, details=details)),
        Text(),
    ]
    parts += [indented(_gain_table(result)), Text()]
    if len(result.sites) > 1 and result.layout not in ("identity", "plain"):
        parts += [indented(part) for part in _depth(result, width=width - 4, blocks=blocks)] + [Text()]
    parts += [indented(line) for line in (*_meaning(result), *_remarks(result))]
    return parts


def _input_facts(result: GainResult, *, details: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    model = f" ({escape(result.model)})" if result.model and result.model != result.layout else ""
    streams = f"{result.streams} {plural(result.streams, 'stream')}"
    table.add_row("layout", f"{result.layout}{model}, {len(result.sites)} sites, {streams}")
    spans = f", spans {result.span_tokens}" if result.span_tokens != result.tokens else ""
    tokens = "" if result.inputs == "static" else f": {result.tokens} tokens{spans}"
    by = f" by {result.kernel}" if details else ""
    table.add_row("inputs", f"{result.inputs}{tokens}; {result.dtype} products on {result.device}{by}")
    table.add_row("read", f"{in_bytes(result.bytes_read)} of {in_bytes(result.bytes_total)}")
    return table


def _gain_table(result: GainResult) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("gain (norm, token mean)")
    columns = [_column(result, direction) for direction in Direction]
    for direction in Direction:
        table.add_column(f"{direction} ({DIRECTION_WORDS[direction]})")
    for label in columns[0]:
        table.add_row(label, *(column[label] for column in columns), style="bold" if label == WORST else None)
    return table


WORST = "worst composite"


def _column(result: GainResult, direction: Direction) -> dict[str, str | Text]:
    single = result.gain[Kind.SINGLE, direction, Definition.NORM, Reduction.MEAN]
    whole = {d: result.gain[Kind.PREFIX, direction, d, Reduction.MEAN][-1] for d in Definition}
    peak = worst_site(single)
    worst = result.worst[direction, Definition.NORM]
    bound, reached = result.bound[direction].worst, result.bound[direction].reached
    band = reading_of(result, direction)
    return {
        "worst site": Text(f"{text(single[peak])}  {result.sites[peak]}"),
        WORST: Text(f"{text(worst.value)}  {stretch(worst)}"),
        "whole model": text(whole[Definition.NORM]),
        "whole model, amax": text(whole[Definition.AMAX]),
        "bound for any input": "none" if bound is None else text(bound),
        **({} if reached is None else {"reached by some input": text(reached)}),
        "reading": Text(band.word, style=BAND_STYLES[band.severity]),
    }


def worst_site(single: Curve) -> int:
    """Position of the largest gain; of NaN if there is any."""
    broken = [site for site, gain in enumerate(single) if not is_finite(gain)]
    return broken[0] if broken else max(range(len(single)), key=lambda site: single[site])


def stretch(span: WorstSpan) -> str:
    """A span in words."""
    return span.from_site if span.from_site == span.to_site else f"{span.from_site} to {span.to_site}"


def _depth(result: GainResult, *, width: int, blocks: str) -> list[RenderableType]:
    """A small curve per direction, and the sites that contribute most to the log-gain."""
    curves = {
        Direction.FORWARD: result.gain[Kind.PREFIX, Direction.FORWARD, Definition.NORM, Reduction.MEAN],
        Direction.BACKWARD: result.gain[Kind.SUFFIX, Direction.BACKWARD, Definition.NORM, Reduction.MEAN],
    }
    low, high = log_range(list(curves.values()))
    grid = Table.grid(padding=(0, 2))
    labels = {Direction.FORWARD: "forward, sites 1..l", Direction.BACKWARD: "backward, sites l..L"}
    for direction, curve in curves.items():
        drawn = sparkline(curve, width=max(10, width - 24), low=low, high=high, blocks=blocks)
        grid.add_row(labels[direction], Text(drawn, style="cyan"))
    heading = f"composite gain by depth, log scale {text(from_log10(low))} to {text(from_log10(high))}"
    return [Text(heading, style="bold"), grid, *_blame(result)]


def _blame(result: GainResult) -> list[Text]:
    lines = []
    for direction in Direction:
        shares = blame(result, direction)
        if not any(shares):
            continue
        leaders = sorted(range(len(shares)), key=lambda site: -shares[site])[:4]
        named = ", ".join(f"{result.sites[site]} {100 * shares[site]:.0f} %" for site in leaders)
        lines.append(Text(f"share of log-gain, {direction}: {named}"))
    return lines


def _meaning(result: GainResult) -> list[Text]:
    band = reading(result)
    lines = [Text.assemble((f"{band.word}: ", "bold"), f"{band.meaning}; {band.advice}")]
    if result.sinkhorn is not None:
        quality = result.sinkhorn
        inexact = quality.column_residual if quality.exact_side is Direction.FORWARD else quality.row_residual
        factor = text(math.exp(quality.log_sum_max)) if math.isfinite(quality.log_sum_max) else "infinity"
        lines.append(
            Text(
                f"Sinkhorn: {quality.exact_side} sums are 1 by construction; the other side's are off by up to "
                f"{max(inexact):.2g} at one site (token mean), and over the whole model by up to a factor {factor}"
            )
        )
    why = max((bound.why for bound in result.bound.values()), key=len)
    return [*lines, Text(f"bound: {why}", style="dim"), Text(DEFINITIONS, style="dim")]


def _shared_remarks(judged: Sequence[JudgedGain]) -> list[Text]:
    """The remarks on several checkpoints, each once, with the names of those it is about unless these are all."""
    about: dict[str, tuple[Text, list[str]]] = {}
    for name, each in zip(short_names([each.path for each in judged]), judged, strict=True):
        for line in _remarks(each.result):
            about.setdefault(line.plain, (line, []))[1].append(name)
    return [
        line if len(names) == len(judged) else Text.assemble(f"{', '.join(names)}: ", line)
        for line, names in about.values()
    ]


def _remarks(result: GainResult) -> list[Text]:
    lines = [Text(f"note: {note}") for note in result.notes]
    lines += [Text(f"assumed: {what}", style="yellow") for what in result.assumed]
    lines += [Text(f"skipped: {each.what}: {each.reason}", style="yellow") for each in result.skipped]
    lines += [Text(f"broken: site {each.site}: {each.found}", style="bold red") for each in result.nonfinite]
    if result.excluded:
        shown = ", ".join(result.excluded[:3]) + (", ..." if len(result.excluded) > 3 else "")
        lines.append(Text(f"excluded by design: {len(result.excluded)} tensors ({shown})", style="dim"))
    return lines


def _side_by_side(judged: Sequence[JudgedGain]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    for name in short_names([each.path for each in judged]):
        table.add_column(escape(name), overflow="fold")
    results = [each.result for each in judged]
    table.add_row("layout", *(result.layout for result in results))
    table.add_row("sites, streams", *(f"{len(result.sites)}, {result.streams}" for result in results))
    table.add_row("inputs", *(f"{result.inputs} ({result.tokens} tokens)" for result in results))
    for direction in Direction:
        spans = [result.worst[direction, Definition.NORM] for result in results]
        table.add_row(f"worst {direction}", *(text(span.value) for span in spans))
        table.add_row("", *(reading_of(result, direction).word for result in results))
        table.add_row("", *(escape(stretch(s)) for s in spans))
        for definition in reversed(Definition):
            curves = [result.gain[Kind.PREFIX, direction, definition, Reduction.MEAN] for result in results]
            table.add_row(f"whole {direction}, {definition}", *(text(curve[-1]) for curve in curves))
    return table

"""Rules, metrics and gates in words for `mhcdiag explain`."""

import textwrap
from collections.abc import Iterable, Mapping

from mhcdiag.detectors import OURS, RULES, running_minimum, tails
from mhcdiag.detectors.excursions import CALM, NEIGHBOURS
from mhcdiag.detectors.interface import DetectionSettings
from mhcdiag.metrics import METRICS, Explanation, Metric
from mhcdiag.metrics.gain import EVIDENCE
from mhcdiag.policies.gates import EVIDENCE as EVIDENCE_GATE
from mhcdiag.policies.policy import ANY, PolicyGate
from mhcdiag.reports.explaining_formats import FORMATS_TITLE, FORMATS_TOPIC, format_words
from mhcdiag.results.numbers import text

TITLE = "the default: excursions from the series' own course, and divergence"

_DEFAULT = DetectionSettings()

EXPLANATION = (
    f"The level is the median of the newest quarter of the last {_DEFAULT.window} points on course. The "
    "noise is the median absolute deviation from a line through them, at least half the step of rounded "
    "values. Positive windows are judged by their logarithm.\n"
    f"An event opens {_DEFAULT.loss.z:g} deviations and {_DEFAULT.loss.min_rise:.0%} above the level "
    f"({_DEFAULT.gradient_norm.z:g} and {_DEFAULT.gradient_norm.min_rise:.0%} for the gradient norm); {CALM} "
    "points in a row below half of either close it; level and noise are frozen in between. Events of fewer "
    f"than {NEIGHBOURS} neighbouring points must also have a point that is {tails.MARGIN:g} times as high as "
    "the usual maximum of a block of the series, by what it adds to the points beside it: where noise carries "
    f"over from step to step, its shocks leave an echo and bad batches do not. The first {_DEFAULT.warmup} "
    "points are only learned from. A level that stays "
    "up for a window and is stable is a shift.\n"
    f"Divergence: the median of {running_minimum.SMOOTHING} points is {running_minimum.RATIO:g} times its "
    f"smallest value so far and {running_minimum.DEVIATIONS:g} deviations above it, for "
    f"{running_minimum.SMOOTHING} points, and still is at the end.\n"
    "Misses: rises slower than the level follows (unless they become a divergence), events in the first "
    "points, and, in a series with heavy tails, lone points no higher than its tails."
)


_WIDTH = 100


def rule_words() -> Mapping[str, tuple[str, str]]:
    """Return title and explanation of every detection rule by name, ours first."""
    return {OURS: (TITLE, EXPLANATION), **{one.name: (one.title, one.explanation) for one in RULES}}


def overview(rules: Mapping[str, tuple[str, str]], gates: Iterable[PolicyGate]) -> str:
    """Return the names that can be explained, with a line each."""
    lines = ["Detection rules (mhcdiag spikes --rule):", ""]
    lines += [f"  {name:18} {title}" for name, (title, _) in rules.items()]
    lines += ["", "How logs are read:", "", f"  {FORMATS_TOPIC:18} {FORMATS_TITLE}"]
    lines += ["", "Gates of the policy:", ""]
    lines += [f"  {gate.name:18} {_condition(gate)}" for gate in gates]
    lines += ["", "Metrics that a gate can judge:", ""]
    return "\n".join([*lines, *_patterns()])


def formats_text() -> str:
    """Return how logs are read, and what formats there are."""
    head = f"{FORMATS_TOPIC}: {FORMATS_TITLE}"
    return "\n\n".join([head, *(_paragraph(title, words) for title, words in format_words())])


def metric_words(metric: Metric) -> str:
    """Return what a metric measures, its source, its false alarms and what to do."""
    words = metric.explanation
    about = f"{metric.name}: {metric.unit}, of {metric.family}s"
    if metric.series is not None:
        about += f", series {metric.series} unless the gate names another"
    return "\n\n".join([about, *_parts(words)])


def _parts(words: Explanation) -> list[str]:
    parts = [
        ("Measures", words.measures),
        ("Source", words.source),
        ("False alarms", words.false_alarms),
        ("What to do", words.action),
    ]
    return [_paragraph(title, text) for title, text in parts]


def evidence_words() -> str:
    """Return what the gate is about that every checkpoint has beside those of the policy."""
    about = f"Gate '{EVIDENCE_GATE}': of checkpoints, beside the gates of the policy; it asks what they passed on"
    return "\n\n".join([about, *_parts(EVIDENCE)])


def gate_words(gate: PolicyGate, metric: Metric) -> str:
    """Return a gate's limit and reason, then its metric."""
    lines = [f"Gate '{gate.name}' ({gate.severity}): {_condition(gate)}"]
    if gate.reason:
        lines.append(f"Reason: {gate.reason}")
    if gate.paths != ANY:
        lines.append(f"Applies to {gate.paths}")
    return "\n".join(lines) + "\n\n" + metric_words(metric)


def _condition(gate: PolicyGate) -> str:
    limit = gate.max if gate.max is not None else gate.min
    held = f"{gate.relation} {text(limit) if limit != int(limit) else int(limit)}" if limit is not None else ""
    if gate.max_ratio is not None:
        held = f"<= {gate.max_ratio:g} times the baseline"
    of_series = f" of {'every series' if gate.series == ANY else gate.series}" if gate.series else ""
    return f"{gate.metric}{of_series} {held}"


def _patterns() -> list[str]:
    """Return the metrics by their patterns: a hundred names differ in a few words."""
    last: dict[tuple[str, ...], dict[int, list[str]]] = {}
    for name in METRICS:
        first, second, *rest = name.split(".")
        key = (first, second, str(len(rest))) if second not in ("single", "prefix", "suffix") else (first, "curve")
        columns = last.setdefault(key, {})
        for index, word in enumerate([second, *rest]):
            if word not in columns.setdefault(index, []):
                columns[index].append(word)
    lines = []
    for (first, *_), columns in last.items():
        parts = [words[0] if len(words) == 1 else "{" + ",".join(words) + "}" for words in columns.values()]
        lines.append(f"  {'.'.join([first, *parts])}")
    return lines


def _paragraph(title: str, words: str) -> str:
    return f"{title}\n{textwrap.fill(words, _WIDTH, initial_indent='  ', subsequent_indent='  ')}"

"""The end of a page: what its words mean, what ran, and which files were read."""

from mhcdiag.reports.html.parts import Table, columns
from mhcdiag.reports.text import in_bytes
from mhcdiag.results.bands import BANDS
from mhcdiag.results.check import CheckReport, Family
from mhcdiag.results.gain import GainResult
from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import LogResult


def run_facts(report: CheckReport) -> tuple[tuple[str, str], ...]:
    """What ran, when, and by which policy."""
    return (
        ("mhcdiag", report.version),
        ("made", report.created),
        ("policy", report.policy),
        ("baseline", report.baseline or "none"),
        ("strict", "yes: warnings, assumptions and skipped parts count" if report.strict else "no"),
    )


def files_table(report: CheckReport) -> Table:
    """Every input with its hash, and how much of it was read."""
    rows = tuple((one.path, str(one.family), *_reading(one.result), one.sha256 or "–") for one in report.inputs)
    return Table(
        caption="Files",
        columns=columns("path", "what", "read as", "computed", "read", "of", "sha256", numeric=("read", "of")),
        rows=rows,
        note="No sha256: not all bytes were read (a large checkpoint, standard input, a folder), or it was unreadable.",
    )


def _reading(result: GainResult | LogResult | None) -> tuple[str, str, str, str]:
    """Format, how it was computed, what was read, and of how much."""
    if isinstance(result, GainResult):
        spans = f", spans {result.span_tokens}" if result.span_tokens != result.tokens else ""
        computed = f"{result.inputs} inputs, tokens {result.tokens}{spans}; {result.dtype} on {result.device}"
        model = f" ({result.model})" if result.model not in ("", result.layout) else ""
        read = in_bytes(result.bytes_read), in_bytes(result.bytes_total)
        return f"layout {result.layout}{model}", f"{computed}, kernel {result.kernel}", *read
    if isinstance(result, LogResult):
        unreadable = f", {result.unreadable_lines:,} unreadable" if result.unreadable_lines else ""
        lines = f"{result.loss_lines:,} lines with a loss{unreadable}"
        return f"format {result.format}", f"rule {result.rule}", lines, f"{result.lines:,} lines"
    return "could not be read", "–", "–", "–"


Definitions = tuple[tuple[str, str], ...]

VERDICTS: Definitions = (
    ("pass", "The value is on the right side of its limit. NaN and missing values are on neither side."),
    ("FAIL", "A gate of severity error does not hold; exit code 1."),
    ("UNJUDGED", "It could not be judged: unreadable, missing, too short; exit code 2 unless another gate failed."),
    ("pass on sampled inputs only", "No gate failed on inputs such as random ones; real tokens may exceed the limit."),
    ("warning", "A gate of severity warning does not pass; it changes no exit code unless --strict is given."),
)
GAINS: Definitions = (
    ("stream, site", "n residual streams run in parallel; a site is one place that mixes them by a matrix H_res (n × n)"
     ", x_new = H_res x. A row of H_res is a target stream, a column a source stream. Each block has two sites."),
    ("composite P(a,b)", "The product H_b … H_a over consecutive sites: what happened to a signal between a and b."),
    ("forward", "Signals: over the rows of the matrix."),
    ("backward", "Gradients: over its columns."),
    ("norm", "Largest sum of absolute values over a row (forward) or column (backward): the true worst case."),
    ("amax", "The same with signs kept, then the absolute value: the Amax gain magnitude of arXiv 2512.24880, "
     "Figures 3 and 7."),
    ("mean, p50, p99, max", "Over tokens, of the gain of each token: mean, order statistics of rank ⌈T/2⌉ and "
     "⌈0.99 T⌉, largest."),
    ("of mean", "Gain of the token mean of the composite, as in the paper's Figure 8: composed per token, averaged, "
     "then measured."),
    ("mean without first", "Mean over the tokens that do not begin a sequence."),
    ("worst stretch", "The a and b whose P(a,b) has the largest token mean of all; of equal ones the shortest."),
    ("bound", "What no input can exceed, in the definition norm, whatever the token."),
    ("evidence", "certified: the bound of the same number is within the limit, so that no input exceeds it. measured: "
     "on 128 real tokens or more, at all sites, of a checkpoint that is named. sampled: anything else."),
    ("share of log-gain", "How much a site adds to the logarithm of the whole model's gain (norm); negative: it "
     "attenuates."),
    ("sums off by", "Token mean of the largest |sum − 1| over the rows, or columns, of a site's mapping."),
)  # fmt: skip
EVENTS: Definitions = (
    ("blip", "One logged point stands out; the next is back."),
    ("spike", "Two or more logged points stand out, and the series came back, or the log ended before."),
    ("shift", "The level changed and the new level is stable."),
    ("divergence", "The smoothed series stays above its own running minimum until the end of the log."),
    ("nan", "Values that are not finite."),
    ("gradspike", "Any excursion of the gradient norm."),
    ("loss_scale", "The fp16 loss scaler reached its minimum or gave up."),
    ("rank", "One rank's loss is more than twice the median of the ranks."),
    ("isolated_nan", "One or two values of another loss or norm than the main one are not finite, and the next is."),
    ("value, baseline", "Largest value of the event, and where the series stood before, in the unit of the series."),
    ("deviations", "Height of the peak over the baseline, in robust standard deviations of the noise."),
    ("area", "Sum of the excess over the baseline, point by point."),
    ("spike score", "Share of points that a published rule flags. OLMo 2: 7 standard deviations from the mean of the "
     "last 1000 points, both sides (arXiv 2501.00656); OLMo-core: 6 above the mean of the last 128."),
)  # fmt: skip


def definitions(report: CheckReport) -> Definitions:
    """The words that this report uses."""
    families = {one.family for one in report.inputs}
    found = VERDICTS
    if Family.CHECKPOINT in families:
        found += (*GAINS, ("reading", _bands()))
    if Family.LOG in families:
        found += EVENTS
    return found


def _bands() -> str:
    ends = [f"{band.word} up to {text(band.upto, digits=2)}" for band in BANDS[:-1]]
    last = f"{BANDS[-1].word} above, broken with NaN or infinity"
    return f"A reading aid, not a law: {', '.join(ends)}, {last}."

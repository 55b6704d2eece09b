"""Logs of scripts that nobody has a format for: names and numbers in any line, or the user's own pattern."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mhcdiag.errors import SettingError
from mhcdiag.runlogs.counters import EPOCHS, Counter, StepPlan, behind_the_slash, counters, fitness, plan_steps
from mhcdiag.runlogs.grammar import LONGEST_TEXT, loose_fields
from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord
from mhcdiag.runlogs.names import canonical_rank, plain
from mhcdiag.runlogs.records import parse_number

_LOSS_WORDS = ("loss", "norm", "xent", "nll", "cost", "cross")
_EVALUATION_WORDS = ("test", "val", "eval", "dev")
_LOSS_WITHOUT_VALUE = re.compile(r"(?<![A-Za-z])loss[\"']?(?:\s*[:=]\s*|\s+)(?=[^\s:=])", re.IGNORECASE)
# Times and dates, with and without a year ("[02/20 00:00:30]" of PaddleDetection), clocks of progress bars, and
# glog's "I0606 15:08:00.123456 140 model_lib_v2.py:705]".
_STAMPS = re.compile(
    r"\[?\d{4}[-/]\d\d[-/]\d\d[ T][\d:.,]+\]?|^\[?\d\d[-/]\d\d(?:[-/]\d{2,4})?[ T]+\d\d:\d\d(?::[\d.,]+)?\]?"
    r"|\[[\d:]+<[\d:?]+"
    r"|^[IWEF]\d{4} [\d:.]+\s+\d+ [^\]]*\]"
)
# Logs of modded-nanogpt and parameter-golf open with up to 1,500 lines of Python, with "loss" everywhere.
_STATEMENT = re.compile(r"\s*(?:print|def|return|import|from|assert|raise|if|for|with|class|#)")
_SOURCE_CODE = re.compile(
    r"\{[A-Za-z_][\w.\[\]]*(?::[^}]*)?\}"
    r"|^\s*(?:print|def|return|import|from|assert|raise|if|for|with|class|#)\b|\bself\."
)
# GaLore and SPAM print "loss at 2404 1.3125", and "Eval loss at step 20000: 3.38" between.
_LOSS_AT = re.compile(
    r"(?i)\b(?P<eval>(?:eval|val|test)\w* )?loss at (?:step |iteration )?(?P<step>\d+)"
    r"\s*[:\s]\s*(?P<loss>[^\s,]+)"
)
# A script that prints the object and not its number, without a colon: "loss tensor(2.5, device='cuda:0')".
_WRAPPED = re.compile(r"\b(?:tensor|array|Array)\(\[?([^\s,()\[\]]+)[^()]*\)")
_ARROW = re.compile(r"\s*[-=]+>\s*")
# icefall: "loss[loss=0.2, over 2699.00 frames. ], tot_loss[loss=0.3, ...]": the second one is another loss.
_GROUP = re.compile(r"([A-Za-z]\w*)\[([^\[\]]*=[^\[\]]*)\]")
_GROUPED_NAME = re.compile(r"(?<![\w./])([A-Za-z]\w*)(?=\s*=)")
# "Test:  [ 10/100]  loss: 0.9" of DeiT, "Epoch 2, validation: loss=0.2" of icefall, "Test set: Average loss: 0.03":
# what is named before the first loss is whose loss it is.
_EVALUATION = re.compile(
    r"(?i)(?:^|[^\w/.-])(?:test(?:ing)?|val(?:id(?:ation|ating)?)?|eval(?:uat(?:ion|ing))?|dev)"
    r"(?: (?:set|epoch|step|iter\w*|batch|phase|results?))?\s*[:\]|>-]"
)


class GenericParser:
    """Takes the lines that name a loss (or a gradient norm), each with the step where the plan says it stands.

    Parameters
    ----------
    keys
        Names that the user gave.
    plan
        Where the step stands; None: the best counter of each line.
    """

    def __init__(self, keys: Keys, plan: StepPlan | None = None) -> None:
        self._keys = keys
        self._plan = plan
        self._above: dict[str, Counter] = {}
        self._looks_above = plan is not None and (plan.above or plan.epoch_above)
        self._last: float | None = None
        self._laps = _Laps()
        self._kinds: dict[str, str | None] = {}

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        lower = text.lower()
        if self._keys.loss is None and not any(word in lower for word in _LOSS_WORDS):
            self._look_above(text)
            return None
        if is_source_code(text):
            return None
        bare = bare_text(text)
        evaluation = is_evaluation_line(bare)
        values = self._values_of(bare, evaluation=evaluation)
        found = _Counters(bare)
        if not any(map(self._is_judged, values)):
            lost = _LOSS_WITHOUT_VALUE.search(bare) is not None and self._step_of(found, values)[0] is not None
            if not lost:
                self._look_above(text)
            return LogRecord(line=line, values={}, garbled=True) if lost else None
        if " is " in bare and not any(math.isfinite(value) for name, value in values.items() if self._is_judged(name)):
            return None  # "(trainer:617) The grad norm is nan. Skipping" is a message
        step, total = (None, None) if evaluation else self._step_of(found, values)
        rank = self._rank_of(found)
        if step is None and self._stepped:
            return self._without_step(line, values, rank)
        self._last = step if step is not None and math.isfinite(step) else self._last
        self._name_epoch(values, found)
        return LogRecord(line=line, step=step, values=values, total_steps=total, rank=rank)

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None

    @property
    def _stepped(self) -> bool:
        return self._plan is not None and self._plan.step is not None

    def _without_step(self, line: int, values: dict[str, float], rank: int | None) -> LogRecord:
        # What is no training loss belongs to the step before; a loss without a step is a summary ("Averaged stats:
        # loss: 6.9"), and no point of its own; a NaN counts wherever it stands.
        losses = [value for name, value in values.items() if self.is_training_loss(name)]
        if losses and all(map(math.isfinite, losses)):
            return LogRecord(line=line, values={}, ignored="a loss without a step")
        return LogRecord(line=line, step=self._last, values=values, rank=rank)

    def _values_of(self, bare: str, *, evaluation: bool) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, value in loose_fields(bare):
            own = f"eval_{name}" if evaluation and self._kind(name) is not None else name
            # The first of two equal names counts, and a NaN in any.
            if own not in values or not math.isfinite(value):
                values[own] = value
        return values

    def _kind(self, name: str) -> str | None:
        if name not in self._kinds:
            # "lm loss 2.5" is a loss, "loss was 2.5" is prose.
            rank = canonical_rank(name) if canonical_rank(name.rpartition(" ")[2]) is not None else None
            self._kinds[name] = rank[0] if rank is not None else None
        return self._kinds[name]

    def _is_judged(self, name: str) -> bool:
        return name == self._keys.loss or self._kind(name) in {"loss", "eval_loss", "grad_norm"}

    def is_training_loss(self, name: str) -> bool:
        """Say whether a name is that of a training loss, or the one that the user gave."""
        return name == self._keys.loss if self._keys.loss is not None else self._kind(name) == "loss"

    def _step_of(self, found: "_Counters", values: dict[str, float]) -> tuple[float | None, float | None]:
        if self._keys.step is not None:
            return values.pop(self._keys.step, None), None
        plan = self._plan
        if plan is None:  # the choice of a format asks for losses only
            return None, None
        if plan.field and plan.step is not None:  # nearly all lines: no search for counters
            name = next((name for name in values if plain(name) == plan.step), None)
            if name is not None:
                return values.pop(name), None
        key, source = plan.step, self._above if plan.above else found.all
        if key is not None and key not in source:
            # Lines of another shape (llama2.c's evaluations) may name the same count in another way.
            named = [(order, one) for one in found.all if one.isidentifier() and (order := fitness(one)) is not None]
            key, source = (min(named)[1], found.all) if named else (None, source)
        if key is None or key not in source:
            return None, None
        for name in [name for name in values if plain(name) == key]:
            del values[name]
        counter = source[key]
        if plan.epoch_first:
            counter, epoch = behind_the_slash(counter)
            found.all["epoch"] = epoch
        bar = key.startswith("a/b") and plan.epoch is None
        return counter.value + (self._laps.before(counter) if bar else 0.0), counter.total

    def _name_epoch(self, values: dict[str, float], found: "_Counters") -> None:
        plan = self._plan
        if plan is None or plan.epoch is None or any(plain(name) in EPOCHS for name in values):
            return
        epoch = (self._above if plan.epoch_above else found.all).get(plan.epoch)
        if epoch is not None:
            values[plan.epoch] = epoch.value

    def _rank_of(self, found: "_Counters") -> int | None:
        key = self._plan.rank if self._plan is not None else None
        return int(found.all[key].value) if key is not None and key in found.all else None

    def _look_above(self, text: str) -> None:
        if self._looks_above:
            self._above |= counters(bare_text(text))


class _Counters:
    """The counters of a line, searched for when the first one is asked for."""

    def __init__(self, bare: str) -> None:
        self._bare = bare
        self._found: dict[str, Counter] | None = None

    @property
    def all(self) -> dict[str, Counter]:
        """Counters by their keys."""
        if self._found is None:
            self._found = counters(self._bare)
        return self._found


class _Laps:
    """A bar that begins again after it was full counts on: the bars of several epochs."""

    def __init__(self) -> None:
        self._last = Counter(0.0)
        self._interval = 1.0
        self._offset = 0.0

    def before(self, counter: Counter) -> float:
        """Return what all bars before this one have counted."""
        last = self._last
        if counter.value < last.value and counter.total == last.total and counter.total is not None:
            was_full = last.value + self._interval >= counter.total
            begins = counter.value <= 2 * self._interval
            self._offset += counter.total if was_full and begins else 0.0
        elif counter.total != last.total:
            self._offset = 0.0
        self._interval = counter.value - last.value if counter.value > last.value else self._interval
        self._last = counter
        return self._offset


def bare_text(text: str) -> str:
    """Return a line without what looks like a field and is none, and with what is a field and does not look like it."""
    bare = _STAMPS.sub(" ", text[:LONGEST_TEXT]).strip()
    if "[" in bare:
        bare = _GROUP.sub(_ungrouped, bare)
    if "r(" in bare or "y(" in bare:
        bare = _WRAPPED.sub(r"\1", bare)
    if ">" in bare:
        bare = _ARROW.sub(": ", bare)
    at = _LOSS_AT.search(bare) if " at " in bare else None
    if at is not None:  # "loss at 2404 1.3125": the first number is the step
        return f"step {at['step']} {'eval_' if at['eval'] else ''}loss {at['loss']}"
    return bare


def _ungrouped(match: re.Match[str]) -> str:
    group = match[1]
    if plain(group) == "loss":
        return match[2]
    return _GROUPED_NAME.sub(rf"{group}/\1", match[2])


def is_evaluation_line(bare: str) -> bool:
    """Say whether a line is that of an evaluation whose loss is called as the training loss."""
    lower = bare.lower()
    if not any(word in lower for word in _EVALUATION_WORDS):
        return False
    marked = _EVALUATION.search(bare)
    if marked is None:
        return False
    losses = [lower.find(word) for word in _LOSS_WORDS if word in lower]
    return not losses or marked.start() < min(losses)


def is_source_code(text: str) -> bool:
    """Say whether a line is code that names a loss, and no line of a log."""
    return ("{" in text or "self." in text or _STATEMENT.match(text) is not None) and bool(_SOURCE_CODE.search(text))


@dataclass(frozen=True, slots=True)
class _Planned:
    """The parser of a log whose plan is settled."""

    plan: StepPlan

    def __call__(self, keys: Keys) -> GenericParser:
        """Return the state for one pass."""
        return GenericParser(keys, self.plan)


def _settled(keys: Keys, texts: Sequence[str]) -> _Planned:
    return _Planned(plan_steps(list(_looked_at(keys, texts))) if keys.step is None else StepPlan())


def _looked_at(keys: Keys, texts: Iterable[str]) -> Iterable[tuple[dict[str, Counter], bool]]:
    parser = GenericParser(keys)
    for text in texts:
        if is_source_code(text):
            continue
        bare = bare_text(text)
        record = parser.feed(0, text)
        if record is None or not record.values:
            yield counters(bare), False
        elif not is_evaluation_line(bare) and any(map(parser.is_training_loss, record.values)):
            yield counters(bare), True


# Tried last, and taken only if it reads twice as much as every other format: it finds some number in nearly any text.
GENERIC = LineFormat(name="generic", title="names and numbers in lines of text", parser=GenericParser, settled=_settled)


def _pattern_parser(keys: Keys) -> "PatternParser":
    if keys.regex is None:
        raise SettingError("--log-format regex needs --regex with the named groups 'loss' and 'step'")
    try:
        pattern = re.compile(keys.regex)
    except re.error as error:
        raise SettingError(f"--regex {keys.regex!r}: {error}") from error
    if "loss" not in pattern.groupindex and keys.loss not in pattern.groupindex:
        raise SettingError(f"--regex {keys.regex!r}: no named group 'loss'; write (?P<loss>...)")
    return PatternParser(pattern, keys)


class PatternParser:
    """Reads the lines that match, and keeps nothing between them."""

    def __init__(self, pattern: re.Pattern[str], keys: Keys) -> None:
        self._pattern = pattern
        self._step = keys.step or "step"
        self._loss = keys.loss or "loss"

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        match = self._pattern.search(text)
        if match is None:
            return None
        numbers = {name: parse_number(value) for name, value in match.groupdict().items() if value is not None}
        values = {name: number for name, number in numbers.items() if number is not None}
        step = values.pop(self._step, None)
        return LogRecord(line=line, step=step, values=values, garbled=self._loss not in values)

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None


# Lines that the pattern of --regex matches anywhere; its named groups are series.
REGEX = LineFormat(name="regex", title="the pattern of --regex", parser=_pattern_parser, preferred={"loss": ("loss",)})

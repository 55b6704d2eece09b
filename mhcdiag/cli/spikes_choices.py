"""From the words on the command line to what the stages take."""

import math
import re

from mhcdiag.errors import SettingError
from mhcdiag.policies.verdicts import SpikeGate
from mhcdiag.results.spikes import Kind

NEVER = "never"


def parse_kinds(text: str) -> frozenset[Kind]:
    """Return the kinds of events in a list by commas. Raises: SettingError for a word that is none."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if words == [NEVER]:
        return frozenset()
    known = {str(kind): kind for kind in Kind}
    for word in words:
        if word not in known:
            raise SettingError(f"--fail-on {text}: '{word}' is none of {', '.join(known)}, {NEVER}")
    if not words:
        raise SettingError(f"--fail-on: expected some of {', '.join(known)}, or {NEVER}")
    return frozenset(known[word] for word in words)


def parse_steps(text: str | None) -> tuple[float, float]:
    """Return first and last step of a range like `2000:` or `:500`. Raises: SettingError."""
    if text is None:
        return -math.inf, math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)?:(\d+(?:\.\d+)?)?", text.strip())
    if match is None:
        raise SettingError(f"--steps {text}: expected FIRST:LAST, e.g. 2000: or 2000:5000")
    first = float(match[1]) if match[1] else -math.inf
    last = float(match[2]) if match[2] else math.inf
    if first > last:
        raise SettingError(f"--steps {text}: the first step lies behind the last")
    return first, last


def parse_gate(fail_on: str, max_spikes: int | None, max_spike_score: float | None) -> SpikeGate:
    """Return the limits of the gate. Raises: SettingError."""
    return SpikeGate(fail_on=parse_kinds(fail_on), max_spikes=max_spikes, max_spike_score=max_spike_score)

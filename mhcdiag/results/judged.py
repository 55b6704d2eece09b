"""A measurement together with what the gates said of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mhcdiag.errors import InputError, MhcdiagError, RankError
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.presented import Brief
from mhcdiag.results.verdict import GainEvidence, Limit, Verdict, combine
from mhcdiag.results.weights import WeightsResult

Judged = TypeVar("Judged")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class JudgedGain(Brief):
    """One checkpoint, measured and judged."""

    result: GainResult
    """What was measured."""
    verdict: Verdict
    """What the gates say of it."""
    limits: tuple[Limit, ...]
    """The numbers they looked at."""
    reason: str
    """Why the verdict is not a pass; empty where it is."""
    evidence: GainEvidence | None = None
    """The weakest that any of these numbers rests on; None where none was judged."""
    weights: WeightsResult | None = None
    """What a scan of all its weights found, or why there was none; None where nobody asked for one."""

    @property
    def path(self) -> str:
        """The input as the user named it."""
        return self.result.path


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """An input that could not be measured; it never hides the others, and it never passes."""

    path: str
    """The input as the user named it."""
    reason: str
    """The error in one line."""

    @property
    def verdict(self) -> Verdict:
        """Always `unjudged`."""
        return Verdict.UNJUDGED


def overall(judged: Sequence[JudgedGain | Unreadable]) -> Verdict:
    """One verdict for several inputs: fail if any failed, else unjudged if any could not be judged."""
    return combine(each.verdict for each in judged)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class JudgedHealth(Brief):
    """One checkpoint, examined and judged."""

    result: HealthResult
    """What was found."""
    verdict: Verdict
    """What the gate says of it."""
    reason: str
    """Why the verdict is not a pass; empty where it is."""
    weights: WeightsResult | None = None
    """What a scan of all its weights found, or why there was none; None where nobody asked for one."""

    @property
    def path(self) -> str:
        """The input as the user named it."""
        return self.result.path


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class JudgedWeights(Brief):
    """The weights of one checkpoint, scanned and judged."""

    result: WeightsResult
    """What was found."""
    verdict: Verdict
    """Fail for NaN or infinity, or what `--fail-on` names; unjudged where nothing, or not all asked for, was read."""
    reason: str
    """Why the verdict is not a pass; empty where it is."""

    @property
    def path(self) -> str:
        """The input as the user named it."""
        return self.result.path


def readable(path: str, judge: Callable[[str], Judged]) -> Judged | Unreadable:
    """Judge one input; one that cannot be read becomes a record, so that it hides neither itself nor the others."""
    try:
        return judge(path)
    except RankError:
        raise  # no rank can go on without the others
    except InputError as error:
        reason = str(error)
    except MhcdiagError as error:
        reason = f"{path}: {error}"
    except OSError as error:
        reason = f"{path}: {error.strerror or error}"
    return Unreadable(path=path, reason=reason)

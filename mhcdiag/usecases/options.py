"""How checkpoints and logs are read and checked: the records that the command line and policy files hand to use cases.

Their fields have the names and the defaults of the options of `mhcdiag gain` and `mhcdiag spikes`, and of the keywords
of `mhcdiag.gain` and `mhcdiag.spikes`. The command line imports this for its help pages, so that nothing heavy may be
imported here.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mhcdiag.errors import SettingError
from mhcdiag.results.verdict import GainEvidence

if TYPE_CHECKING:
    from mhcdiag.detectors import DetectionSettings, PublishedRule
    from mhcdiag.policies.policy import Policy

OURS = "mhcdiag"
"""Name of the default detection rule: `mhcdiag.detectors.OURS`, which only NumPy's users may import."""

INPUTS = ("static", "aligned", "random", "embedding", "text", "captured")
ORIENTATIONS = ("target-rows", "source-rows")
DTYPES = ("float32", "float64")
ASSUMPTIONS = ("plain",)


@dataclass(frozen=True, kw_only=True, slots=True)
class GainOptions:
    """How a checkpoint is read and measured; `mhcdiag.gain` says what each means."""

    inputs: str | None = None
    text: str | None = None
    tokens: int = 1024
    seed: int = 0
    sites: tuple[int, int] | None = None
    key: str | None = None
    layout: str | None = None
    assume: str | None = None
    orientation: str | None = None
    sinkhorn_iters: int | None = None
    sinkhorn_eps: float | None = None
    tanh: bool | None = None
    device: str = "auto"
    dtype: str | None = None

    def __post_init__(self) -> None:
        refuse_less(1, tokens=self.tokens)
        refuse_unusable(
            assume=self.assume,
            orientation=self.orientation,
            sinkhorn_iters=self.sinkhorn_iters,
            sinkhorn_eps=self.sinkhorn_eps,
            dtype=self.dtype,
            seed=self.seed,
        )

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Return the options among the parameters of `mhcdiag gain`.

        Parameters
        ----------
        params
            By name, as typed or as a policy file has them; those that are no field are left out.

        Raises
        ------
        SettingError
            A value cannot be used.
        """
        given = _fields_among(cls, params)
        if isinstance(given.get("sites"), str):
            given["sites"] = parse_sites(given["sites"])
        return cls(**given)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """How a log is read and searched for events."""

    log_format: str | None = None
    """Format of the log; recognised when None."""
    loss_key: str | None = None
    """Name of the loss in the log."""
    step_key: str | None = None
    """Name of the step in the log."""
    regex: str | None = None
    """Pattern in place of a format."""
    series: tuple[str, ...] = ()
    """Further series to judge, by their names in the log."""
    steps: tuple[float, float] | None = None
    """First and last step that count; an infinite end is open."""
    rule: str = OURS
    """Name of the detection rule."""
    z: float | None = None
    """Robust deviations that open an event; None takes the rule's own for each series."""
    min_rise: float | None = None
    """Smallest relative rise."""
    window: int | None = None
    """Points of the baseline."""
    warmup: int | None = None
    """Points that are only learned from."""

    def __post_init__(self) -> None:
        refuse_less(0, z=self.z, min_rise=self.min_rise)
        # The same least values stand in `mhcdiag spikes --help`.
        refuse_less(16, window=self.window)
        refuse_less(8, warmup=self.warmup)
        if self.first_step > self.last_step:
            raise SettingError(f"steps {self.steps}: the first step lies behind the last")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Return the options among the parameters of `mhcdiag spikes`.

        Parameters
        ----------
        params
            By name, as typed or as a policy file has them; those that are no field are left out.

        Raises
        ------
        SettingError
            A value cannot be used.
        """
        given = _fields_among(cls, params)
        given["series"] = tuple(given.get("series") or ())
        if isinstance(given.get("steps"), str):
            given["steps"] = parse_steps(given["steps"])
        return cls(**given)

    @property
    def first_step(self) -> float:
        """Smallest step that counts."""
        return -math.inf if self.steps is None else self.steps[0]

    @property
    def last_step(self) -> float:
        """Largest step that counts."""
        return math.inf if self.steps is None else self.steps[1]

    def settings(self) -> "DetectionSettings":
        """Return the constants of our rule."""
        from mhcdiag.detectors import adjusted

        return adjusted(z=self.z, min_rise=self.min_rise, window=self.window, warmup=self.warmup)

    def published_rule(self) -> "PublishedRule | None":
        """Return the rule in place of ours.

        Raises
        ------
        SettingError
            There is no rule of that name.
        """
        from mhcdiag.detectors import RULES

        if self.rule == OURS:
            return None
        for rule in RULES:
            if rule.name == self.rule:
                return rule
        names = ", ".join([OURS, *(rule.name for rule in RULES)])
        raise SettingError(f"there is no rule '{self.rule}'; there are {names}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsOptions:
    """How all weights of a checkpoint are scanned; `mhcdiag.weights` says what each means."""

    match: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    sample: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sample <= 1:
            raise SettingError(f"sample {self.sample}: expected a share above 0 and at most 1")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Return the options among the parameters of `mhcdiag weights`.

        Parameters
        ----------
        params
            By name, as typed or as a policy file has them; those that are no field are left out.

        Raises
        ------
        SettingError
            A value cannot be used.
        """
        given = _fields_among(cls, params)
        for name in ("match", "allow"):
            given[name] = tuple(given.get(name) or ())
        return cls(**given)


JOBS = 2
"""Inputs that a check works on at a time unless the user says otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckOptions:
    """What the user asked of a check, on the command line, in the environment or in a file."""

    paths: tuple[str, ...] = ()
    """What to check, in place of the policy's inputs."""
    policy: "Policy | None" = None
    """What the policy file says; None without one."""
    policy_path: Path | None = None
    """That file."""
    baseline: Path | None = None
    """Earlier report to compare with."""
    strict: bool = False
    """Whether warnings, assumptions and skipped parts count."""
    require: str | None = None
    """What a pass on mappings must rest on; None takes what the policy's [gain] table says."""
    exit_zero: bool = False
    """Whether to end with 0 whatever is found."""
    scan: bool | None = None
    """Whether to look at all weights of checkpoints; None: of local ones up to 4 GB."""
    jobs: int | None = None
    """Inputs worked on at the same time; None for `JOBS`."""

    def __post_init__(self) -> None:
        refuse_less(1, jobs=self.jobs)
        self.required()

    def required(self) -> GainEvidence | None:
        """What a pass on mappings must rest on; None: what is merely sampled is a warning.

        Raises
        ------
        SettingError
            There is no such evidence.
        """
        word = self.rules.gain.get("require") if self.require is None else self.require
        if word is None or word in list(GainEvidence):
            return None if word is None else GainEvidence(word)
        raise SettingError(f"require '{word}': expected one of {', '.join(GainEvidence)}")

    @property
    def rules(self) -> "Policy":
        """The policy that applies; one without gates of its own has the built-in ones."""
        from mhcdiag.policies.policy import BUILT_IN

        policy = self.policy or BUILT_IN
        return policy if policy.gates else replace(policy, gates=BUILT_IN.gates)

    @property
    def policy_name(self) -> str:
        """What reports call it."""
        from mhcdiag.policies.policy import BUILT_IN_NAME

        if self.policy is None or self.policy_path is None:
            return BUILT_IN_NAME
        shown = os.path.relpath(self.policy_path)
        return shown if self.policy.gates else f"{shown} ({BUILT_IN_NAME} for gates)"


def parse_sites(text: str) -> tuple[int, int]:
    """Return `31:60` as a pair; both ends are needed, because a checkpoint's last site is not known here.

    Raises
    ------
    SettingError
        It is no such pair.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None:
        raise SettingError(f"{text!r} is not FIRST:LAST, e.g. 31:60 (sites are counted from 1)")
    return int(match[1]), int(match[2])


def parse_steps(text: str) -> tuple[float, float]:
    """Return first and last step of a range like `2000:` or `:500`.

    Raises
    ------
    SettingError
        It is no such range.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)?:(\d+(?:\.\d+)?)?", text.strip())
    if match is None:
        raise SettingError(f"--steps {text}: expected FIRST:LAST, e.g. 2000: or 2000:5000")
    first = float(match[1]) if match[1] else -math.inf
    last = float(match[2]) if match[2] else math.inf
    if first > last:
        raise SettingError(f"--steps {text}: the first step lies behind the last")
    return first, last


def refuse_unusable(
    *,
    assume: str | None = None,
    orientation: str | None = None,
    sinkhorn_iters: int | None = None,
    sinkhorn_eps: float | None = None,
    dtype: str | None = None,
    seed: int = 0,
) -> None:
    """Refuse what no checkpoint could make good, as the command line does before a function is called.

    Raises
    ------
    SettingError
        It names the option, and what it takes.
    """
    choices = (("assume", assume, ASSUMPTIONS), ("orientation", orientation, ORIENTATIONS), ("dtype", dtype, DTYPES))
    for name, word, known in choices:
        if word is not None and word not in known:
            raise SettingError(f"{name} '{word}': expected one of {', '.join(known)}")
    refuse_less(1, sinkhorn_iters=sinkhorn_iters)
    refuse_less(0, sinkhorn_eps=sinkhorn_eps, seed=seed)


def refuse_less(least: float, **values: float | None) -> None:
    """Refuse a number below the smallest that makes sense.

    Raises
    ------
    SettingError
        It names the option.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise SettingError(f"{name} {value}: expected at least {least:g}")


def _fields_among(record: type, params: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: params[field.name] for field in fields(record) if field.name in params}

"""From the keys of a file to a policy, with one clear line for the first thing that is wrong."""

import difflib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from mhcdiag.errors import InputError, SettingError
from mhcdiag.metrics import METRICS, find_metric
from mhcdiag.metrics.spikes import EVERY
from mhcdiag.policy.finding import read_toml
from mhcdiag.policy.record import ANY, Allow, Gate, Inputs, Policy
from mhcdiag.results.check import Family
from mhcdiag.results.spikes import Kind

_LIMITS = ("max", "min", "max_ratio")
_TABLES: dict[str, type] = {"inputs": Inputs, "gates": Gate, "allow": Allow}


def read_policy(path: Path) -> Policy:
    """Return the policy of a file.

    Arguments: path: a `mhcdiag.toml`, or a `pyproject.toml` with a table `[tool.mhcdiag]`.
    Raises: InputError, naming the key, what was found and what was expected.
    """
    table = read_toml(path)
    _refuse_unknown_keys(path, table)
    try:
        policy: Policy = _ADAPTER.validate_python(table)
    except ValidationError as error:
        raise _first(path, error) from error
    try:
        return replace(policy, gates=_checked_gates(policy.gates), allow=_checked_allow(policy.allow))
    except SettingError as error:
        raise InputError(path, found=str(error), hint="see `mhcdiag explain` for the metrics") from error


def _refuse_unknown_keys(path: Path, table: dict[str, object]) -> None:
    """Pydantic would refuse them too; this says which key was probably meant."""
    _known(path, "", table, Policy)
    for name, record in _TABLES.items():
        entries = table.get(name, [])
        for index, entry in enumerate(entries if isinstance(entries, list) else [entries], 1):
            if isinstance(entry, dict):
                where = f"[{name}]" if record is Inputs else f"[[{name}]] number {index}"
                _known(path, where, entry, record)


def _known(path: Path, where: str, entry: dict[str, object], record: type) -> None:
    assert is_dataclass(record)
    known = [field.name for field in fields(record)]
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise InputError(
                path,
                found=f"unknown key '{key}'" + (f" in {where}" if where else ""),
                expected=", ".join(known),
                hint=f"did you mean '{near[0]}'?" if near else "",
            )


def _first(path: Path, error: ValidationError) -> InputError:
    wrong = error.errors()[0]
    where = ""
    for part in wrong["loc"]:
        where += f" number {part + 1}" if isinstance(part, int) else f"{'.' if where else ''}{part}"
    shown = repr(wrong["input"])
    return InputError(
        path,
        found=f"{where}: {shown if len(shown) < 60 else shown[:57] + '...'}",
        expected=wrong["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
    )


def _checked_gates(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    named = []
    for index, gate in enumerate(gates, 1):
        where = f"gate number {index}" + (f" '{gate.name}'" if gate.name else "")
        try:
            _check_gate(gate)
        except SettingError as error:
            raise SettingError(f"{where}: {error}") from error
        named.append(replace(gate, name=gate.name or gate.metric))
    names = Counter(gate.name for gate in named)
    for name, count in names.items():
        if count > 1:
            raise SettingError(f"{count} gates are called '{name}'; give each its own name")
    return tuple(named)


def _check_gate(gate: Gate) -> None:
    metric = find_metric(gate.metric)
    given = [name for name in _LIMITS if getattr(gate, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "no limit"
        raise SettingError(f"{found}: expected exactly one of max, min, max_ratio (two limits are two gates)")
    limit = getattr(gate, given[0])
    if not math.isfinite(limit) or limit < 0 or (given[0] == "max_ratio" and limit == 0):
        raise SettingError(f"{given[0]} = {limit}: expected a finite number that is not negative")
    if metric.unit == "fraction" and given[0] != "max_ratio" and limit > 1:
        raise SettingError(f"{given[0]} = {limit}: {gate.metric} is a fraction between 0 and 1")
    if metric.needs_baseline and given[0] == "max_ratio":
        raise SettingError(f"{gate.metric} compares with the baseline already: use max")
    if gate.series is not None and metric.family is not Family.LOG:
        raise SettingError(f"series = '{gate.series}': {gate.metric} belongs to checkpoints, which have no series")


def _checked_allow(allowed: Sequence[Allow]) -> tuple[Allow, ...]:
    kinds = [*map(str, Kind), ANY]
    for index, one in enumerate(allowed, 1):
        if one.kind not in kinds:
            raise SettingError(f"allow number {index}: kind '{one.kind}' is none of {', '.join(kinds)}")
        if not one.reason.strip():
            raise SettingError(f"allow number {index}: expected a reason, which every report shows")
        if not one.steps[0] <= one.steps[1]:
            raise SettingError(f"allow number {index}: steps = {list(one.steps)}: the first lies behind the last")
    return tuple(allowed)


def gate_series(gates: Sequence[Gate]) -> tuple[str, ...]:
    """Return the series that gates name, which a log must be asked for beside its loss and gradient norm."""
    named = {gate.series for gate in gates if gate.series not in (None, EVERY)}
    own = {metric.series for metric in METRICS.values()}
    return tuple(sorted(str(name) for name in named - own))


_ADAPTER: TypeAdapter[Any] = TypeAdapter(with_config(ConfigDict(extra="forbid"))(Policy))

"""Policy files: found, read with one clear line for the first thing that is wrong, and written.

TOML alone does not make a policy: unknown keys are refused with the key that was probably meant, and limits that no
number can meet (two at once, NaN, a fraction above 1) before anything is measured.
"""

import difflib
import json
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from mhcdiag.errors import InputError, SettingError
from mhcdiag.metrics import METRICS, find_metric
from mhcdiag.metrics.spikes import EVERY
from mhcdiag.policies.policy import ANY, Allow, Inputs, Policy, PolicyGate
from mhcdiag.results.bands import EXPLODED_GAIN
from mhcdiag.results.check import Family
from mhcdiag.results.spikes import EventKind

FILE = "mhcdiag.toml"
PROJECT_FILE = "pyproject.toml"

DEFAULT = "default"
"""Where the value of an option comes from that is set nowhere."""

_LIMITS = ("max", "min", "max_ratio")
_TABLES: dict[str, type] = {"inputs": Inputs, "gates": PolicyGate, "allow": Allow}
_ADAPTER: TypeAdapter[Any] = TypeAdapter(with_config(ConfigDict(extra="forbid"))(Policy))

# Finding


def find_policy(folder: Path) -> Path | None:
    """Return the nearest policy file at or above a folder; None if there is none.

    In one folder `mhcdiag.toml` wins over `pyproject.toml`, which counts only if it has a table `[tool.mhcdiag]`.
    """
    for one in (folder, *folder.parents):
        if (one / FILE).is_file():
            return one / FILE
        project = one / PROJECT_FILE
        if project.is_file() and _has_table(project):
            return project
    return None


def read_toml(path: Path) -> dict[str, object]:
    """Return the policy's keys as they stand in the file; InputError, with line and column, where they cannot be."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            path, found=f"not TOML: {error}", expected="a policy; `mhcdiag check --init` writes one"
        ) from (error)
    except UnicodeDecodeError as error:
        raise InputError(path, found=f"not UTF-8 at byte {error.start}", expected="a policy in TOML") from error
    except OSError as error:
        raise InputError(path, found=error.strerror or str(error), expected="a policy in TOML") from error
    if path.name != PROJECT_FILE:
        return document
    tool = document.get("tool")
    table = tool.get("mhcdiag") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise InputError(path, found="no table [tool.mhcdiag]", expected="a policy")
    return table


def _has_table(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False  # somebody else's file and somebody else's error
    if "mhcdiag" not in text:
        return False  # a quick look before parsing: most projects have the file and not the table
    try:
        tool = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError:
        return "[tool.mhcdiag" in text  # a policy that is broken must not be taken for none
    return isinstance(tool, dict) and "mhcdiag" in tool


# Reading


def read_policy(path: Path) -> Policy:
    """Return the policy of a file.

    Parameters
    ----------
    path
        A `mhcdiag.toml`, or a `pyproject.toml` with a table `[tool.mhcdiag]`.

    Raises
    ------
    InputError
        The first thing that is wrong: it names the key, what was found and what was expected.
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


def _checked_gates(gates: Sequence[PolicyGate]) -> tuple[PolicyGate, ...]:
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


def _check_gate(gate: PolicyGate) -> None:
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
    kinds = [*map(str, EventKind), ANY]
    for index, one in enumerate(allowed, 1):
        if one.kind not in kinds:
            raise SettingError(f"allow number {index}: kind '{one.kind}' is none of {', '.join(kinds)}")
        if not one.reason.strip():
            raise SettingError(f"allow number {index}: expected a reason, which every report shows")
        if not one.steps[0] <= one.steps[1]:
            raise SettingError(f"allow number {index}: steps = {list(one.steps)}: the first lies behind the last")
    return tuple(allowed)


def gate_series(gates: Sequence[PolicyGate]) -> tuple[str, ...]:
    """Return the series that gates name, which a log must be asked for beside its loss and gradient norm."""
    named = {gate.series for gate in gates if gate.series not in (None, EVERY)}
    own = {metric.series for metric in METRICS.values()}
    return tuple(sorted(str(name) for name in named - own))


# Writing


def policy_tables(policy: Policy | None, *, gates: Sequence[PolicyGate]) -> str:
    """Return inputs, gates and allowed events as TOML, without the keys that are left at their defaults.

    Parameters
    ----------
    policy
        Of a file; None without one.
    gates
        Those that apply.
    """
    blocks = []
    if policy is not None:
        blocks.append(["[inputs]", *_entries(policy.inputs)])
    blocks += [["[[gates]]", *_entries(gate)] for gate in gates]
    blocks += [["[[allow]]", *_entries(one)] for one in (policy.allow if policy else ())]
    return "".join("\n".join(block) + "\n\n" for block in blocks).rstrip("\n") + "\n"


def setting_lines(settings: Sequence[tuple[str, Any, str]]) -> Iterator[str]:
    """Yield one line for each option, by name, value and source: `name = value  # source`.

    What is set nowhere is a comment, so that the lines are a policy again.
    """
    for name, value, source in settings:
        if value is None:
            yield f"# {name} is not set"
        else:
            mark = "# " if source == DEFAULT else ""
            yield f"{mark}{name} = {toml_value(value)}  # {source}"


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    if isinstance(value, float) and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is a TOML basic string, but for one character that TOML wants escaped.
    shown = json.dumps(str(value) if isinstance(value, PurePath) else value, ensure_ascii=False)
    return shown.replace("\x7f", "\\u007f")


def _entries(record: PolicyGate | Allow | Any) -> Iterator[str]:
    for field in fields(record):
        value = getattr(record, field.name)
        if value != field.default:
            yield f"{field.name} = {toml_value(value)}"


STARTER = f"""\
# What `mhcdiag check` looks at and when it fails. Every gate is explained by `mhcdiag explain METRIC`.
# Paths are relative to this file. The same tables may stand in pyproject.toml under [tool.mhcdiag].

[inputs]
checkpoints = ["checkpoints/*"]   # files or folders; ** crosses folders
logs = ["logs/*"]

# Options of the commands, by their names: `mhcdiag config` shows all of them with their values.
[gain]
tokens = 1024
# require = "measured"   # what a pass must rest on: certified, measured or sampled; by default sampled is a warning

[spikes]
# log_format = "megatron"

[check]
# baseline = "mhcdiag-baseline.json"   # `mhcdiag check --update-baseline` writes it
# strict = true

# A gate is one limit on one metric: max, min, or max_ratio (a multiple of the baseline's value).
[[gates]]
name = "finite mappings"
metric = "gain.nonfinite"
max = 0

[[gates]]
name = "forward gain"
metric = "gain.worst.forward.norm"
max = {EXPLODED_GAIN:g}
reason = "arXiv 2512.24880 calls this level exploded"

[[gates]]
name = "backward gain"
metric = "gain.worst.backward.norm"
max = {EXPLODED_GAIN:g}
reason = "arXiv 2512.24880 calls this level exploded"

[[gates]]
name = "rising gain"
metric = "gain.worst.backward.norm"
max = 30
severity = "warning"   # shown, and changes nothing unless --strict is given
reason = "healthy mHC models stay below 3"

[[gates]]
name = "no NaN"
metric = "spikes.count.nan"
series = "*"           # every series that was judged
max = 0

[[gates]]
name = "no divergence"
metric = "spikes.count.divergence"
series = "*"
max = 0

[[gates]]
name = "loss scale"
metric = "spikes.count.loss_scale"
max = 0

[[gates]]
name = "few spikes"
metric = "spikes.count.spike"
max = 3
severity = "warning"

# Events that are known, and why: they count nowhere, and every report shows them.
# [[allow]]
# kind = "spike"
# steps = [12000, 12050]
# paths = "logs/base*.jsonl"
# reason = "corrupt shard 17, skipped since"
"""

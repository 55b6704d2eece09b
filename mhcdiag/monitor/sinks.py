"""Where reports are written: JSON lines, TensorBoard, Weights & Biases."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mhcdiag.errors import OutputError
from mhcdiag.results.gain import LiveGains
from mhcdiag.results.numbers import Number, is_finite, log10_of

SCALARS = ("forward", "backward", "forward_max", "backward_max")


@runtime_checkable
class Sink(Protocol):
    """One place for reports."""

    def write(self, found: LiveGains) -> None:
        """Take one report."""


class JsonLines:
    """One JSON object a line, written at once, so that a run that dies leaves all but the last report.

    NaN and infinity are strings, as in the other JSON of this package.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._append("")  # a path that cannot be written fails before the first step, not after a day

    def write(self, found: LiveGains) -> None:
        """See `Sink`.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        self._append(json.dumps(as_json(found)) + "\n")

    def _append(self, text: str) -> None:
        try:
            with self._path.open("a") as file:
                file.write(text)
        except OSError as error:
            raise OutputError(f"{self._path}: {error.strerror or error}") from error


NAMES = {name: f"gain_{name}" for name in SCALARS}
"""In JSON lines, where a column named "forward" would not say that it is a gain: `trend` finds these."""


def as_json(found: LiveGains) -> dict[str, Any]:
    """One report; of several stacks each by its name, without what they share."""
    values = {NAMES.get(key, key): _jsonable(value) for key, value in asdict(found).items() if key != "stacks"}
    ordered = {key: values.pop(key) for key in ("step", *NAMES.values())} | values
    if found.stacks:
        ordered["stacks"] = {each.stack: _without(as_json(each), "step", "stack", "unread") for each in found.stacks}
    return ordered


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _jsonable(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_jsonable(each) for each in value]
    if isinstance(value, float) and not is_finite(value):
        return str(value)
    return value


class TensorBoard:
    """Scalars `gain/forward`, ... through a `SummaryWriter` of the user's."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, found: LiveGains) -> None:
        """See `Sink`."""
        for name, value in scalars(found).items():
            self._writer.add_scalar(name, value, found.step)


class WeightsAndBiases:
    """The same scalars through a run of the user's."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, found: LiveGains) -> None:
        """See `Sink`."""
        self._run.log({**scalars(found), "gain/step": found.step})


def scalars(found: LiveGains) -> dict[str, float]:
    """The numbers of a report that make a curve, and their decimal logarithms."""
    values: dict[str, Number] = {name: getattr(found, name) for name in SCALARS}
    logs = {f"gain/log10_{name}": log10_of(value) for name, value in values.items()}
    return {f"gain/{name}": float(value) for name, value in values.items()} | logs

"""Everything a user can cause, as one tree.

    MhcdiagError                 caught at the edge: one line on stderr, exit code 2
    ├── InputError               a file or directory that cannot be used; carries path, found, expected, hint
    │   ├── ContainerError       the container is unreadable: truncated, inconsistent, not what its name says
    │   ├── LayoutError          the tensors are readable, but no layout fits, several fit, or one fits badly
    │   └── LogError             a training log that cannot be read, or that holds nothing to judge
    ├── SettingError             options that contradict each other or the input
    ├── OutputError              a report or figure that cannot be written
    ├── GainAlarmError           a monitored training run crossed the limit that it was to stop at
    ├── RankError                one of several processes that share a measurement is gone
    └── MissingExtraError        a feature whose optional dependency is not installed; names the extra

Our own mistakes are never one of these: they end as a traceback and exit code 3.
"""

import os
from functools import partial


class MhcdiagError(Exception):
    """Base of all errors that a user can cause and mend."""


class InputError(MhcdiagError):
    """An input that cannot be used: which one, what was found, what was expected, what to do.

    Parameters
    ----------
    path
        The file or directory (or URL) as the user named it.
    found
        What stands there, as a clause: "8 bytes, shorter than a safetensors header".
    expected
        What should stand there; left out of the message when empty.
    hint
        What to do about it; left out of the message when empty.
    """

    def __init__(self, path: str | os.PathLike[str], *, found: str, expected: str = "", hint: str = "") -> None:
        self.path = os.fspath(path)
        self.found = found
        self.expected = expected
        self.hint = hint
        parts = [f"{self.path}: {found}"]
        if expected:
            parts.append(f"expected {expected}")
        if hint:
            parts.append(hint)
        super().__init__("; ".join(parts))

    def __reduce__(self) -> tuple[object, ...]:
        """Arguments by name, which pickling does not know of itself: workers hand these errors to their parent."""
        again = partial(type(self), found=self.found, expected=self.expected, hint=self.hint)
        return again, (self.path,)


class ContainerError(InputError):
    """A checkpoint whose bytes cannot be trusted or read."""


class LayoutError(InputError):
    """A checkpoint whose tensors do not make up residual mappings that we can read without guessing."""


class LogError(InputError):
    """A training log that cannot be read, or that holds no series to judge."""


class SettingError(MhcdiagError):
    """Options that contradict each other or the input they are used on."""


class OutputError(MhcdiagError):
    """A report or figure that cannot be written where it was asked for."""


class GainAlarmError(MhcdiagError):
    """The composite gain of a running model crossed a limit, and the monitor was told to stop the run."""


class RankError(MhcdiagError):
    """Of the processes that share one measurement, another one ended."""


class MissingExtraError(MhcdiagError):
    """A feature whose optional dependency is missing.

    Parameters
    ----------
    feature
        What the user asked for: "reading .zst files".
    extra
        The extra of this package that installs it: "zstd".
    """

    def __init__(self, feature: str, *, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'mhcdiag[{extra}]'")

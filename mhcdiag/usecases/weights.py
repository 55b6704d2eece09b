"""Every value of a checkpoint, looked at once: `mhcdiag.weights`, and the same beside `gain`, `health` and `check`."""

import os
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from math import prod

from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.health import SEVERITIES
from mhcdiag.results.weights import TensorNumbers, WeightsResult
from mhcdiag.results.wording import counted
from mhcdiag.tensorfiles import is_remote, open_checkpoint
from mhcdiag.tensorfiles.element_types import BITS
from mhcdiag.tensorfiles.streams import unread_in
from mhcdiag.usecases.options import WeightsOptions
from mhcdiag.weight_scan.roles import Scanned, placed
from mhcdiag.weight_scan.rules import RULES
from mhcdiag.weight_scan.rules.interface import Subject
from mhcdiag.weight_scan.rules.precision import smallest_of
from mhcdiag.weight_scan.scanning import Progress, Scan, scan

UNASKED = 4_000_000_000
"""Bytes up to which `gain`, `health` and `check` scan a local checkpoint unless told not to: some ten seconds."""
LOCAL_RATE = 5e8
REMOTE_RATE = 3e7
"""Bytes a second that a scan is expected to take in, from a plain SSD and over a network: "about N min" and no more."""


def weights(
    path: str | os.PathLike[str],
    *,
    match: Sequence[str] = (),
    allow: Sequence[str] = (),
    sample: float = 1.0,
    key: str | None = None,
) -> WeightsResult:
    """Look at every value of a checkpoint: NaN, infinity, and what is unlike the other layers.

    Parameters
    ----------
    path
        A checkpoint, whatever its container; of a remote one every byte is fetched.
    match
        Patterns (`*.mlp.*`) of which the name of a tensor must match one; none takes all tensors.
    allow
        Patterns of tensors whose findings count nowhere; they are kept in `allowed`.
    sample
        Share of each large tensor to look at, above 0 and at most 1.
    key
        Which state dict of a pickle that holds several.

    Raises
    ------
    mhcdiag.MhcdiagError
        The checkpoint cannot be opened, or an option not be used. A tensor that cannot be read is in `skipped`.
    """
    options = WeightsOptions(match=tuple(match), allow=tuple(allow), sample=sample)
    return scan_weights(path, options, key=key)


def scan_weights(
    path: str | os.PathLike[str], options: WeightsOptions, *, key: str | None = None, progress: Progress | None = None
) -> WeightsResult:
    """Do as `weights` does, and tell how far it is.

    Raises
    ------
    mhcdiag.MhcdiagError
        The checkpoint cannot be opened.
    """
    return _scanned(os.fspath(path), open_checkpoint(path, key=key), options, progress)


def weights_beside(
    path: str | os.PathLike[str],
    options: WeightsOptions,
    *,
    wanted: bool | None,
    key: str | None = None,
    progress: Progress | None = None,
) -> WeightsResult:
    """What a command that measures something else says of all weights.

    Parameters
    ----------
    wanted
        Whether to scan; None scans local checkpoints up to `UNASKED` bytes.

    Raises
    ------
    mhcdiag.MhcdiagError
        The checkpoint cannot be opened.
    """
    checkpoint = open_checkpoint(path, key=key)
    why = "--no-scan was given"
    if wanted is None:
        size = checkpoint.bytes_total
        too_much = f"{size / 1e9:.1f} GB are more than the {UNASKED / 1e9:.0f} GB that are scanned unasked"
        why = "a remote checkpoint" if is_remote(os.fspath(path)) else too_much
        wanted = not is_remote(os.fspath(path)) and size <= UNASKED
    if not wanted:
        return _unscanned(os.fspath(path), checkpoint, options, why)
    return _scanned(os.fspath(path), checkpoint, options, progress)


def _unscanned(path: str, checkpoint: NamedTensors, options: WeightsOptions, why: str) -> WeightsResult:
    infos = checkpoint.tensors.values()
    total = sum(prod(info.shape) * BITS.get(info.dtype, 8) // 8 for info in infos)
    return WeightsResult(
        path=path,
        unscanned=why,
        expected_seconds=_expected(path, total * options.sample),
        tensors=len(infos),
        tensors_scanned=0,
        elements=sum(prod(info.shape) for info in infos),
        elements_scanned=0,
        bytes_total=total,
        bytes_scanned=0,
        sample=options.sample,
        match=options.match,
        allow=options.allow,
        left_out=0,
        skipped=(),
        findings=(),
        allowed=(),
        notes=(),
        kernel="",
        seconds=0.0,
    )


def _expected(path: str, size: float) -> float:
    return size / (REMOTE_RATE if is_remote(path) else LOCAL_RATE)


def _scanned(path: str, checkpoint: NamedTensors, options: WeightsOptions, progress: Progress | None) -> WeightsResult:
    begun = time.perf_counter()
    config = checkpoint.config or {}
    found = scan(checkpoint, match=options.match, sample=options.sample, small=smallest_of(config), progress=progress)
    scanned = placed(found.parts)
    models = [one for one in scanned if one.part.is_models]
    subject = Subject(
        scanned=models,
        beside=[one for one in scanned if not one.part.is_models],
        tensors=checkpoint.tensors,
        config=config,
        is_sample=options.sample < 1.0,
    )
    every = [one for rule in RULES for one in rule.find(subject)]
    every.sort(key=lambda one: SEVERITIES.index(one.severity), reverse=True)
    allowed = [one for one in every if any(fnmatchcase(one.tensor, pattern) for pattern in options.allow)]
    left_out = set(map(id, allowed))
    looked_at = {one.part.tensor for one in scanned}
    return WeightsResult(
        path=path,
        unscanned="" if looked_at or found.skipped else _nothing(found, options),
        expected_seconds=_expected(path, found.bytes_total),
        tensors=found.tensors,
        tensors_scanned=len(looked_at),
        elements=found.elements,
        elements_scanned=sum(one.summary.scanned for one in scanned),
        bytes_total=found.bytes_total,
        bytes_scanned=found.bytes_scanned,
        sample=options.sample,
        match=options.match,
        allow=options.allow,
        left_out=found.left_out,
        skipped=tuple(found.skipped),
        findings=tuple(one for one in every if id(one) not in left_out),
        allowed=tuple(allowed),
        notes=tuple(_notes(subject, options)),
        unread=tuple(unread_in(checkpoint)),
        kernel=found.kernel,
        seconds=time.perf_counter() - begun,
        absmax=max((one.summary.absmax for one in scanned), default=0.0),
        numbers=tuple(map(_numbers, scanned)),
    )


def _nothing(found: Scan, options: WeightsOptions) -> str:
    if found.left_out:
        return f"none of {counted(found.left_out, 'tensor')} matches {' or '.join(options.match)}"
    return "the checkpoint holds no tensors"


def _notes(subject: Subject, options: WeightsOptions) -> Iterator[str]:
    if options.sample < 1.0:
        yield f"a sample of {options.sample:.2g} of each large tensor: duplicates and dead rows were not looked for"
    for role, family in subject.families.items():
        zero = [one for one in family.members if one.summary.is_zero and one.summary.is_matrix]
        if len(family.members) > 1 and 2 * len(zero) > len(family.members):
            yield f"{len(zero)} of {len(family.members)} tensors {role} are all zero, as most of their role"


def _numbers(one: Scanned) -> TensorNumbers:
    summary = one.summary
    return TensorNumbers(
        name=one.name,
        dtype=summary.stream.stored,
        shape=summary.stream.shape,
        elements=summary.elements,
        scanned=summary.scanned,
        nan=summary.nan,
        infinite=summary.infinite,
        zeros=summary.zeros,
        absmax=summary.absmax,
        rms=summary.rms,
    )

"""Run a model over a text and write down every mapping that it forms: `mhcdiag.capture`."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy
import torch
from torch import Tensor, nn

from mhcdiag.errors import InputError, OutputError, SettingError
from mhcdiag.livepasses.details import site_details
from mhcdiag.livepasses.stacks import LiveStack, choose_stack
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.fingerprint import fingerprint, fingerprint_of
from mhcdiag.tokenruns.passes import Pass, run_pass
from mhcdiag.tokenruns.text import SAMPLE_NAME, Tokenizer, read_text, refuse_unknown_tokens, token_ids
from mhcdiag.tokenruns.transformers_models import (
    evaluating,
    known_tokens,
    load_whole,
    on_device,
    readable_sites,
    runner_of,
)

BYTES = 4
"""Of one number: mappings are stored as float32."""
DETAILED_TOKENS = 8
"""First tokens of which streams, branch and post weights are stored, too: what `health --captured` compares."""

Floats = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MapShape:
    """What the header says."""

    sites: Sequence[str]
    """In the order in which they run."""
    tokens: int
    streams: int
    first_tokens: Sequence[int]
    """Positions of the tokens that begin a sequence."""
    details: Mapping[str, Floats] = field(default_factory=dict)
    """Further tensors by their names in the file, written with the header."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What else the file says of itself, such as `tied_to`."""


class MapWriter:
    """Writes a safetensors file of captured mappings under a temporary name, and renames it when it is whole.

    Raises
    ------
    OutputError
        The file cannot be written.
    """

    def __init__(self, path: Path, shape: MapShape) -> None:
        refuse_place(path)
        self._path = path
        self._shape = shape
        self._row_bytes = shape.streams * shape.streams * BYTES
        header = _header(shape, site_bytes=shape.tokens * self._row_bytes)
        self._data_start = len(header)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error
        self._temporary = Path(temporary)
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        try:
            self._file.write(header)
            self._file.truncate(self._data_start + len(shape.sites) * shape.tokens * self._row_bytes)
            self._file.seek(0, os.SEEK_END)
            for values in shape.details.values():
                self._file.write(numpy.ascontiguousarray(values, dtype="<f4").tobytes())
        except OSError as error:
            raise self._given_up(error) from error

    def write(self, site: int, first_token: int, maps: Floats) -> None:
        """Write the mappings [token, n, n] of some tokens of one site."""
        row = site * self._shape.tokens + first_token
        try:
            self._file.seek(self._data_start + row * self._row_bytes)
            self._file.write(numpy.ascontiguousarray(maps, dtype="<f4").tobytes())
        except OSError as error:
            raise self._given_up(error) from error

    def _given_up(self, error: OSError) -> OutputError:
        """What to raise, after throwing away what was written."""
        with suppress(OSError):  # it may fail to write what it still holds
            self._file.close()
        self._temporary.unlink(missing_ok=True)
        return OutputError(f"{self._path}: {error.strerror or error}; nothing was written")

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file its name, or throw it away where something went wrong."""
        if kind is not None:
            with suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)
            return
        umask = os.umask(0)
        os.umask(umask)
        try:
            self._file.close()
            self._temporary.chmod(0o666 & ~umask)
            self._temporary.replace(self._path)
        except OSError as failure:
            raise self._given_up(failure) from failure


def refuse_place(path: Path) -> None:
    """Say where no file can be put, before hours of work are.

    Raises
    ------
    OutputError
        There is something else than a file, or no directory to put it into.
    """
    if not path.name or path.is_dir():
        raise OutputError(f"{path}: is a directory; expected the name of a file to write")
    if (path.exists() or path.is_symlink()) and not path.is_file():
        raise OutputError(f"{path}: is no ordinary file; expected the name of a file to write")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: {path.parent} is no directory; make it first")


def _header(shape: MapShape, *, site_bytes: int) -> bytes:
    tensors: dict[str, Any] = {
        f"layers.{i}.h_res": {
            "dtype": "F32",
            "shape": [shape.tokens, shape.streams, shape.streams],
            "data_offsets": [i * site_bytes, (i + 1) * site_bytes],
        }
        for i in range(len(shape.sites))
    }
    start = len(shape.sites) * site_bytes
    for name, values in shape.details.items():
        end = start + values.size * BYTES
        tensors[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [start, end]}
        start = end
    metadata = {"sites": json.dumps(list(shape.sites)), "first_tokens": json.dumps(list(shape.first_tokens))}
    text = json.dumps({"__metadata__": {**shape.metadata, **metadata}, **tensors}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """What was written."""

    path: str
    sites: int
    """Calls of sites: one that runs three times in a pass counts three times."""
    streams: int
    tokens: int
    sequences: int
    stack: str = ""
    """The stack of streams, as the paths of its sites call it."""
    tied_to: str = ""
    """Hash of the weights that ran."""
    idle: tuple[str, ...] = ()
    """Sites that did not run, and are not in the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """What runs, and what it is called."""

    name: str
    module: nn.Module
    run: Callable[[Tensor], object]
    tied_to: str


def capture(
    model: "str | os.PathLike[str] | nn.Module",
    text: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    tokenizer: Tokenizer | None = None,
    tokens: int = 4096,
    length: int = 1024,
    device: str | None = None,
    stack: str | None = None,
    run: Callable[[Tensor], object] | None = None,
    step: int | None = None,
) -> Captured:
    """Capture H_res of real tokens: what `mhcdiag gain` then measures is the measure of arXiv 2512.24880, section 3.1.

    Memory holds the model and the mappings of one sequence. Of the first tokens the file also holds what entered and
    left each site (`x_in`, `x_out`, `branch`, `post`), which `mhcdiag health --captured` compares with the weights, and
    a hash of the weights (`tied_to`; see `mhcdiag.tensorfiles.fingerprint`).

    Parameters
    ----------
    model
        A directory as `save_pretrained` writes it, or a model that is loaded already.
    text
        A text file in UTF-8; None takes the one that ships with this package.
    out
        The file to write.
    tokenizer
        Directory of the tokenizer, or a function from a text to token ids; None: that of the model, or the one which a
        loaded model came from.
    tokens
        Most tokens of the text to run.
    length
        Tokens of a sequence.
    device
        Where to run the model; None: the CPU for a directory, and where it is for a loaded model.
    stack
        Which stack of streams, by the beginning of its sites' paths ("encoder"), where the model has several.
    run
        What runs the model on token ids [1, token]; None calls the model with them.
    step
        Optimiser step of the weights, to be written into the file.

    Raises
    ------
    mhcdiag.MhcdiagError
        The model or the text cannot be read or run, or the model mixes no streams.
    """
    if tokens < 1 or length < 1:
        raise SettingError(f"{tokens} tokens in sequences of {length}: expected at least one of each")
    refuse_place(Path(out))
    words, text_name = read_text(text), SAMPLE_NAME if text is None else os.fspath(text)
    ids = token_ids(words, tokenizer or _tokenizer_of(model), name=text_name)[:tokens]
    running = _running(model, device, run)
    refuse_unknown_tokens(ids, known_tokens(running.module), running.name)
    found, shape, idle = _write(running, ids, Path(out), length=length, stack=stack, step=step)
    return Captured(
        path=os.fspath(out),
        sites=len(shape.sites),
        streams=shape.streams,
        tokens=shape.tokens,
        sequences=len(shape.first_tokens),
        stack=found.name,
        tied_to=running.tied_to,
        idle=idle,
    )


def _running(
    model: "str | os.PathLike[str] | nn.Module", device: str | None, run: Callable[[Tensor], object] | None
) -> _Model:
    if isinstance(model, nn.Module):
        module, name = on_device(model, device), type(model).__name__
        tied_to = fingerprint_of(module.state_dict())
    else:
        module, name = on_device(load_whole(model), device or "cpu"), os.fspath(model)
        tied_to = fingerprint(open_checkpoint(model))
    return _Model(name=name, module=module, run=run or runner_of(module), tied_to=tied_to)


def _write(
    model: _Model, ids: Tensor, out: Path, *, length: int, stack: str | None, step: int | None
) -> tuple[LiveStack, MapShape, tuple[str, ...]]:
    """Run sequence after sequence; the first one says what the file will hold."""
    place = next((each.device for each in model.module.parameters()), torch.device("cpu"))
    starts = range(0, len(ids), length)
    sites = readable_sites(model.module, model.name).sites

    def of_sequence(start: int, *, first: int = 0) -> Pass:
        part = ids[start : start + length].to(place)[None]
        return run_pass(model.module, sites, model.run, part, name=model.name, first=first)

    with evaluating(model.module):
        first_pass = of_sequence(0, first=DETAILED_TOKENS)
        opening = choose_stack(first_pass.stacks, stack)
        shape = MapShape(
            sites=opening.sites,
            tokens=len(ids),
            streams=opening.maps(opening.calls[0]).shape[-1],
            first_tokens=tuple(starts),
            details=site_details(opening),
            metadata=_metadata(model, first_pass, opening, step),
        )
        with MapWriter(out, shape) as writer:
            for start in starts:
                found = choose_stack(of_sequence(start).stacks, stack) if start else opening
                _refuse_other_sites(opening, found, model.name)
                for site, call in enumerate(found.calls):
                    _refuse_other_tokens(len(ids[start : start + length]), call.tokens, model.name)
                    writer.write(site, start, found.maps(call).float().cpu().numpy())
    return opening, shape, first_pass.idle


def _metadata(model: _Model, seen: Pass, stack: LiveStack, step: int | None) -> dict[str, str]:
    """What ran, and which sites of the model are not in the file: a part of a model says little of the whole."""
    others = [site for each in seen.stacks if each.name != stack.name for site in each.sites]
    left_out = [*seen.idle, *others]
    found = {"tied_to": model.tied_to} | ({} if step is None else {"step": str(step)})
    return found | ({"left_out": json.dumps(left_out)} if left_out else {})


def _refuse_other_sites(first: LiveStack, found: LiveStack, name: str) -> None:
    if found.sites != first.sites:
        raise InputError(
            name,
            found=f"{len(found.sites)} calls of sites in one sequence, {len(first.sites)} in the first",
            expected="the same sites in every sequence: a model that skips blocks has no one composite",
        )


def _refuse_other_tokens(given: int, seen: int, name: str) -> None:
    if given != seen:
        raise InputError(name, found=f"mappings of {seen} tokens for {given} token ids", expected="one for each token")


def _tokenizer_of(model: "str | os.PathLike[str] | nn.Module") -> str | os.PathLike[str]:
    if not isinstance(model, nn.Module):
        return model
    place = getattr(model, "name_or_path", "")
    if not place:
        raise SettingError(f"{type(model).__name__} was not loaded from a directory: give tokenizer=")
    return str(place)

"""Run a model of transformers over a text and write down every mapping that it forms: `mhcdiag.capture`."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy
import torch
from torch import Tensor, nn

from mhcdiag.errors import InputError, LayoutError, MissingExtraError, OutputError, SettingError
from mhcdiag.livemaps import live_sites
from mhcdiag.livemaps.interface import Maps

if TYPE_CHECKING:
    import transformers

BYTES = 4
"""Of one number: mappings are stored as float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MapShape:
    """What the header says."""

    sites: Sequence[str]
    """In the order in which they run."""
    tokens: int
    streams: int
    first_tokens: Sequence[int]
    """Positions of the tokens that begin a sequence."""


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
        except OSError as error:
            raise self._given_up(error) from error

    def write(
        self, site: int, first_token: int, maps: "numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float32]]"
    ) -> None:
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
    tensors = {
        f"layers.{i}.h_res": {
            "dtype": "F32",
            "shape": [shape.tokens, shape.streams, shape.streams],
            "data_offsets": [i * site_bytes, (i + 1) * site_bytes],
        }
        for i in range(len(shape.sites))
    }
    metadata = {"sites": json.dumps(list(shape.sites)), "first_tokens": json.dumps(list(shape.first_tokens))}
    text = json.dumps({"__metadata__": metadata, **tensors}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """What was written."""

    path: str
    sites: int
    streams: int
    tokens: int
    sequences: int


def capture(
    model: "str | os.PathLike[str] | nn.Module",
    text: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    tokens: int = 4096,
    length: int = 1024,
    device: str | None = None,
) -> Captured:
    """Capture H_res of real tokens: what `mhcdiag gain` then measures is the measure of arXiv 2512.24880, section 3.1.

    Memory holds the model and the mappings of one sequence.

    Parameters
    ----------
    model
        A directory as `save_pretrained` writes it, or a model of transformers that is loaded already.
    text
        A text file in UTF-8.
    out
        The file to write.
    tokenizer
        Directory of the tokenizer; None: that of the model, or the one which a loaded model came from.
    tokens
        Most tokens of the text to run.
    length
        Tokens of a sequence.
    device
        Where to run the model; None: the CPU for a directory, and where it is for a loaded model.

    Raises
    ------
    mhcdiag.MhcdiagError
        The model or the text cannot be read, or the model mixes no streams.
    """
    if tokens < 1 or length < 1:
        raise SettingError(f"{tokens} tokens in sequences of {length}: expected at least one of each")
    refuse_place(Path(out))
    name = type(model).__name__ if isinstance(model, nn.Module) else os.fspath(model)
    ids = _token_ids(Path(text), tokenizer or _tokenizer_of(model))[:tokens]
    module = _on_device(model, device) if isinstance(model, nn.Module) else _on_device(_model(model), device or "cpu")
    _refuse_unknown_tokens(ids, module, name)
    ids = ids.to(next(module.parameters()).device)
    starts = range(0, len(ids), length)
    with torch.no_grad(), _evaluating(module), _watched(module, name) as caught:
        first = _pass(module, ids[:length], caught)
        shape = MapShape(
            sites=tuple(first),
            tokens=len(ids),
            streams=next(iter(first.values())).shape[-1],
            first_tokens=tuple(starts),
        )
        with MapWriter(Path(out), shape) as writer:
            for start in starts:
                maps = first if start == 0 else _pass(module, ids[start : start + length], caught)
                for site, site_name in enumerate(shape.sites):
                    writer.write(site, start, maps[site_name].float().cpu().numpy())
    return Captured(
        path=os.fspath(out), sites=len(shape.sites), streams=shape.streams, tokens=len(ids), sequences=len(starts)
    )


def _tokenizer_of(model: "str | os.PathLike[str] | nn.Module") -> str | os.PathLike[str]:
    if not isinstance(model, nn.Module):
        return model
    place = getattr(model, "name_or_path", "")
    if not place:
        raise SettingError(f"{type(model).__name__} was not loaded from a directory: give tokenizer=")
    return str(place)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; a loaded model is the caller's, and every part of it gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _pass(model: nn.Module, ids: Tensor, caught: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mappings [token, n, n] of one sequence, by site in the order of running."""
    caught.clear()
    model(input_ids=ids[None], use_cache=False)
    return dict(caught)


@contextmanager
def _watched(model: nn.Module, path: str) -> Iterator[dict[str, Tensor]]:
    sites = live_sites(model)
    if not sites:
        raise LayoutError(
            path, found=f"{type(model).__name__} holds no module that mixes streams", expected="hyper-connections"
        )
    caught: dict[str, Tensor] = {}
    handles = []
    for site in sites:

        def take(maps: Maps, name: str = site.name) -> None:
            found = maps()
            caught[name] = found.reshape(-1, *found.shape[-2:])

        handles += site.reader.attach(site.module, take)
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("capturing mappings", extra="hf") from error
    return transformers


def _model(path: str | os.PathLike[str]) -> nn.Module:
    package = _transformers()
    try:
        config: transformers.PretrainedConfig = package.AutoConfig.from_pretrained(path, local_files_only=True)
        architecture = getattr(package, (config.architectures or ["?"])[0], package.AutoModelForCausalLM)
        model: nn.Module
        model, loading = architecture.from_pretrained(
            path, dtype="auto", local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # of every package that has a hand in it
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(path, found=f"transformers cannot load the model: {reason}") from error
    _refuse_random_mixers(model, loading["missing_keys"], os.fspath(path))
    return model


def _refuse_random_mixers(model: nn.Module, missing: Iterable[str], path: str) -> None:
    """What a checkpoint lacks, transformers fills with random numbers; of those nothing would be learned."""
    mixers = tuple(f"{site.name}." for site in live_sites(model))
    lacking = sorted(name for name in missing if name.startswith(mixers))
    if lacking:
        raise InputError(
            path,
            found=f"no {lacking[0]}" + (f" and {len(lacking) - 1} more of its mixers' tensors" if lacking[1:] else ""),
            expected="weights of every mixer: transformers would take random ones",
        )


def _on_device(model: nn.Module, device: str | None) -> nn.Module:
    try:
        return model if device is None else model.to(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        reason = str(error).partition("\n")[0]
        raise SettingError(f"--device {device}: {reason}; expected cpu, or a device of this machine") from error


def _refuse_unknown_tokens(ids: Tensor, model: nn.Module, path: str) -> None:
    embeddings = getattr(model, "get_input_embeddings", lambda: None)()
    known = getattr(embeddings, "num_embeddings", None)
    if known is not None and int(ids.max()) >= known:
        raise InputError(
            path,
            found=f"a tokenizer that gives token {int(ids.max())}",
            expected=f"tokens below {known}, as the model has",
        )


def _token_ids(text: Path, model_path: str | os.PathLike[str]) -> Tensor:
    try:
        words = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(text, found=f"cannot be read: {error}", expected="a text file in UTF-8") from error
    package = _transformers()
    try:
        tokenizer = package.AutoTokenizer.from_pretrained(model_path, local_files_only=True)
    except Exception as error:  # as in `_model`
        raise InputError(
            model_path, found="no tokenizer that transformers can load", expected="the files of save_pretrained"
        ) from error
    ids: Tensor = tokenizer(words, return_tensors="pt", verbose=False)["input_ids"][0]
    if not len(ids):
        raise InputError(text, found="no tokens", expected="some text")
    return ids

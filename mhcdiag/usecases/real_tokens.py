"""Mappings of a checkpoint's model on a text: what `mhcdiag gain --inputs text` measures."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts.readings import CapturedReading, ParametricReading, Reading
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.fingerprint import fingerprint
from mhcdiag.tensorfiles.places import is_remote
from mhcdiag.tensorfiles.recognition import locate
from mhcdiag.tokenruns.interface import RunMaps, TextRun
from mhcdiag.tokenruns.running import device_of, refuse_no_device, run_directory
from mhcdiag.tokenruns.text import SAMPLE_NAME
from mhcdiag.tokenruns.toys import is_toy, run_toy

if TYPE_CHECKING:
    from mhcdiag.layouts import Layout
    from mhcdiag.layouts.interface import Overrides, Recognition

NOTE = "text inputs: the model ran on {tokens} tokens of {text}; other text may amplify more or less"


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOptions:
    """How a model runs on a text; `mhcdiag.gain` says what each means."""

    text: str | None
    tokens: int
    device: str
    dtype: str | None
    sites: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadRun:
    """What ran, as a measurement takes it."""

    reading: Reading
    maps: RunMaps
    recognition: "Recognition"
    sites_total: int
    """Calls of sites of the whole model."""


def read_run(
    checkpoint: NamedTensors,
    layout: "Layout",
    recognition: "Recognition",
    overrides: "Overrides",
    options: TextOptions,
) -> ReadRun:
    """Run the model of a checkpoint on a text.

    Where each site that the layout found ran once, the mappings are theirs, and what the layout guarantees for any
    input is reported beside them; else the calls have names of their own, and nothing bounds them.

    Raises
    ------
    mhcdiag.MhcdiagError
        The model cannot be run here, or mixes no streams, or options say how the layout is to be read.
    """
    if given := [name for name, value in asdict(overrides).items() if value is not None]:
        raise SettingError(f"{given[0]} means nothing for inputs 'text': the model's own code runs")
    runs_on = device_of(options.device)
    refuse_no_device(runs_on)
    if options.tokens < 1:
        raise SettingError(f"{options.tokens} tokens: expected at least one")
    run = _run(checkpoint, options, device=runs_on)
    total = len(run.sites)
    first, last = options.sites or (1, total)
    if not 1 <= first <= last <= total:
        raise SettingError(f"sites {first}:{last} are not within 1:{total}, the sites that ran")
    recognition = replace(recognition, skipped=(*recognition.skipped, *run.skipped))
    part = run.maps[first - 1 : last]
    reading: Reading
    if _has_these_sites(checkpoint, layout, recognition, overrides, run):
        recognition = replace(recognition, sites=recognition.sites[first - 1 : last])
        reading = layout.read(checkpoint, recognition, overrides, dynamic=True)
        maps = RunMaps(stack=reading.stack, maps=part)
    else:
        names = run.sites[first - 1 : last]
        maps = RunMaps(stack=Stack(sites=names, tensors=names, streams=part.shape[1]), maps=part)
        reading = CapturedReading(source=maps)
    note = NOTE.format(tokens=part.shape[-1], text=options.text or SAMPLE_NAME)
    reading = replace(
        reading,
        first_tokens=run.first_tokens,
        tied_to=fingerprint(checkpoint),
        assumed=(*reading.assumed, *run.assumed),
        notes=(*reading.notes, *run.notes, note),
    )
    return ReadRun(reading=reading, maps=maps, recognition=recognition, sites_total=total)


def _run(checkpoint: NamedTensors, options: TextOptions, *, device: str) -> TextRun:
    text, tokens, dtype = options.text, options.tokens, options.dtype
    if is_toy(checkpoint):
        return run_toy(checkpoint, text, tokens=tokens, device=device, dtype=dtype)
    # In the cache of Hugging Face the files lie in a snapshot.
    folder = checkpoint.path if is_remote(checkpoint.path) else locate(checkpoint.path).place.path
    return run_directory(folder, text=text, tokens=tokens, device=device, dtype=dtype)


def _has_these_sites(
    checkpoint: NamedTensors, layout: "Layout", recognition: "Recognition", overrides: "Overrides", run: TextRun
) -> bool:
    """Whether the layout reads just the sites that ran."""
    try:
        reading = layout.read(checkpoint, recognition, overrides, dynamic=False)
    except LayoutError:
        return False
    if not isinstance(reading, ParametricReading) or run.is_finest:
        return False
    return len(reading.stack.sites) == len(run.sites) and reading.stack.streams == run.maps.shape[1]

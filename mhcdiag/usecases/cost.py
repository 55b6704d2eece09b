"""What hyper-connections cost, by the formulas of arXiv 2512.24880 for one token: `mhcdiag.cost`."""

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from mhcdiag.errors import InputError, SettingError
from mhcdiag.results.cost import CostResult, Traffic

DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
STREAM_KEYS = ("hc_mult", "hc_count", "streams", "num_residual_streams")
"""What configurations call the number of streams: DeepSeek-V4 and its kin, Qwen4, our toy, Megatron-LM."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """One model."""

    width: int
    """Features C per stream."""
    streams: int = 4
    """Streams n."""
    blocks: int
    """Transformer blocks; each has two sites."""
    dtype: str = "bf16"
    """Element type of the streams."""

    def __post_init__(self) -> None:
        for name in ("width", "streams", "blocks"):
            if getattr(self, name) < 1:
                raise SettingError(f"--{name} {getattr(self, name)}: expected at least 1")
        if self.dtype not in DTYPE_BYTES:
            raise SettingError(f"--dtype {self.dtype}: expected one of {', '.join(DTYPE_BYTES)}")


PRESETS = {
    "3b": Sizes(width=1280, blocks=12),
    "9b": Sizes(width=1920, blocks=18),
    "27b": Sizes(width=2560, blocks=30),
    "v4-flash": Sizes(width=4096, blocks=43),
    "v4-pro": Sizes(width=7168, blocks=61),
}
"""Table 5 of arXiv 2512.24880, and arXiv 2606.19348; four streams, bf16."""


DEFAULT = "27b"


def cost(
    config: str | os.PathLike[str] | None = None,
    *,
    preset: str | None = None,
    width: int | None = None,
    streams: int | None = None,
    blocks: int | None = None,
    dtype: str = "bf16",
    measure: bool = False,
) -> CostResult:
    """Return what hyper-connections cost beside the ordinary residual stream: traffic, memory, parameters.

    Parameters
    ----------
    config
        A config.json, or a folder with one.
    preset
        Name of a published model in its place, `27b` by default.
    width, streams, blocks
        Features C per stream, streams n, transformer blocks (two sites each), over what these say.
    dtype
        Element type of the streams: `bf16`, `fp16` or `fp32`.
    measure
        Also time the toy models on this machine, for about a minute.

    Raises
    ------
    mhcdiag.MhcdiagError
        The configuration cannot be read, or an option cannot be used.
    """
    name, sizes = _chosen_sizes(config, preset, width=width, streams=streams, blocks=blocks, dtype=dtype)
    result = cost_of(sizes, model=name)
    if not measure:
        return result
    from mhcdiag.toy.training import step_times

    return replace(result, measured=step_times())


def _chosen_sizes(
    config: str | os.PathLike[str] | None,
    preset: str | None,
    *,
    width: int | None,
    streams: int | None,
    blocks: int | None,
    dtype: str,
) -> tuple[str, Sizes]:
    """Where the sizes come from, in words, and the sizes."""
    if config is not None and preset is not None:
        raise SettingError("CONFIG and --preset both give sizes: name one")
    if preset is not None and preset not in PRESETS:
        raise SettingError(f"--preset {preset}: there are {', '.join(PRESETS)}")
    if config is not None:
        name, sizes = os.fspath(config), read_sizes(config, dtype=dtype)
    else:
        name = preset or DEFAULT
        sizes = replace(PRESETS[name], dtype=dtype)
    changed = replace(
        sizes,
        width=sizes.width if width is None else width,
        streams=sizes.streams if streams is None else streams,
        blocks=sizes.blocks if blocks is None else blocks,
    )
    return (f"{name}, changed by options" if changed != sizes else name), changed


def read_sizes(path: str | os.PathLike[str], *, dtype: str) -> Sizes:
    """Return the sizes in a config.json, or in the one inside a folder.

    Parameters
    ----------
    path
        The file or the folder.
    dtype
        Element type of the streams, which configurations do not say.

    Raises
    ------
    InputError
        A size is missing or no whole number.
    """
    place = Path(path) / "config.json" if Path(path).is_dir() else Path(path)
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(place), found=str(error.strerror or error), expected="a config.json") from error
    except ValueError as error:
        raise InputError(str(place), found="it is not JSON", expected="a config.json") from error
    if not isinstance(config, dict):
        raise InputError(str(place), found="it is no JSON object", expected="a config.json")
    nested = config.get("text_config")  # of models that also see, whose text part is one of several
    section: dict[str, object] = nested if isinstance(nested, dict) else config
    return Sizes(
        width=_whole(place, section, ("hidden_size",)),
        streams=_whole(place, section, STREAM_KEYS),
        blocks=_whole(place, section, ("num_hidden_layers",)),
        dtype=dtype,
    )


def _whole(place: Path, config: dict[str, object], keys: tuple[str, ...]) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if value is not None:
            raise InputError(str(place), found=f"{key} = {value!r}", expected="a whole number of at least 1")
    raise InputError(
        str(place), found=f"no {' or '.join(keys)}", expected="the sizes of the model", hint="give them by options"
    )


def residual_traffic(sizes: Sizes) -> Traffic:
    """The residual add: two vectors in, one out (Table 2)."""
    return Traffic(topology="residual", reads=2 * sizes.width, writes=sizes.width)


def hyper_traffic(sizes: Sizes) -> Traffic:
    """Hyper-connections, one kernel per step: (5n + 1) C + n^2 + 2n in, (3n + 1) C + n^2 + 2n out (Table 2)."""
    n, c = sizes.streams, sizes.width
    mappings = n * n + 2 * n
    return Traffic(topology="hc", reads=(5 * n + 1) * c + mappings, writes=(3 * n + 1) * c + mappings)


def fused_traffic(sizes: Sizes) -> Traffic:
    """The fused mHC: one kernel mixes, writes and adds (section 4.3.1).

    It reads (n + 1) C elements instead of (3n + 1) C and writes n C instead of 3 n C. What is left besides are the two
    passes that compute the mappings and read the streams.
    """
    n, c = sizes.streams, sizes.width
    apart = hyper_traffic(sizes)
    return Traffic(
        topology="mhc, fused",
        reads=apart.reads - (3 * n + 1) * c + (n + 1) * c,
        writes=apart.writes - 3 * n * c + n * c,
    )


def recompute_block(*, streams: int, sites: int) -> float:
    """Sites per block that is recomputed in the backward pass: L_r* = sqrt(n L / (n + 2)), equation 20."""
    return math.sqrt(streams * sites / (streams + 2))


def parameters_hc(sizes: Sizes) -> int:
    """Of all sites: theta (n + 2) C, biases n^2 + 2n, three factors (equation 5)."""
    n = sizes.streams
    return 2 * sizes.blocks * ((n + 2) * sizes.width + n * n + 2 * n + 3)


def parameters_mhc(sizes: Sizes) -> int:
    """Of all sites: phi n C (n^2 + 2n), biases n^2 + 2n, three factors (equation 7)."""
    n = sizes.streams
    return 2 * sizes.blocks * ((n * sizes.width + 1) * (n * n + 2 * n) + 3)


def cost_of(sizes: Sizes, *, model: str) -> CostResult:
    """Return all costs of one model by formula.

    Parameters
    ----------
    sizes
        Of the model.
    model
        Where they come from, in words.
    """
    n, c, sites = sizes.streams, sizes.width, 2 * sizes.blocks
    size = DTYPE_BYTES[sizes.dtype]
    block = recompute_block(streams=n, sites=sites)
    whole = max(1, round(block))
    # Of each block the streams at its entry are kept, n C; inside the block that is being recomputed (n + 2) C a site.
    kept = n * c * math.ceil(sites / whole) + (n + 2) * c * whole
    return CostResult(
        model=model,
        width=c,
        streams=n,
        sites=sites,
        dtype=sizes.dtype,
        traffic=(residual_traffic(sizes), hyper_traffic(sizes), fused_traffic(sizes)),
        parameters_hc=parameters_hc(sizes),
        parameters_mhc=parameters_mhc(sizes),
        stream_bytes=n * c * sites * size,
        recompute_block=block,
        recomputed_bytes=kept * size,
        pipeline_bytes=n * c * size,
    )

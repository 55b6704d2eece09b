"""The sizes that costs depend on: presets, or a config.json."""

import json
from dataclasses import dataclass
from pathlib import Path

from mhcdiag.errors import InputError, SettingError

DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
STREAM_KEYS = ("hc_mult", "hc_count", "streams", "num_residual_streams")


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


def read_sizes(path: str, *, dtype: str) -> Sizes:
    """The sizes in a config.json, or in the one inside a folder.

    Arguments: dtype: element type of the streams. Raises: InputError where a size is missing or no whole number.
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
    nested = config.get("text_config")
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

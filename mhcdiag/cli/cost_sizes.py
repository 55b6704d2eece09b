"""Which sizes `mhcdiag cost` is asked about."""

from dataclasses import replace

from mhcdiag.errors import SettingError
from mhcdiag.usecases.cost import PRESETS, Sizes, read_sizes

DEFAULT = "27b"


def chosen_sizes(
    config: str | None,
    preset: str | None,
    *,
    width: int | None,
    streams: int | None,
    blocks: int | None,
    dtype: str,
) -> tuple[str, Sizes]:
    """Where the sizes come from, in words, and the sizes. Raises: SettingError, InputError."""
    if config is not None and preset is not None:
        raise SettingError("CONFIG and --preset both give sizes: name one")
    if preset is not None and preset not in PRESETS:
        raise SettingError(f"--preset {preset}: there are {', '.join(PRESETS)}")
    if config is not None:
        name, sizes = config, read_sizes(config, dtype=dtype)
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

"""How each implementation stores and applies its residual mappings: one family a file.

`recognise` finds the family of a checkpoint by names, shapes and configuration.
"""

from collections.abc import Sequence

from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts.families.bytedance import BYTEDANCE, BYTEDANCE_STATIC
from mhcdiag.layouts.families.captured import Captured
from mhcdiag.layouts.families.deepseek_v4 import DEEPSEEK_V4, DEEPSEEK_V41, GLM5_NEXT, NANOWHALE
from mhcdiag.layouts.families.gguf_names import GGUF_V4
from mhcdiag.layouts.families.identity import HY_V4, QWEN4_EXP
from mhcdiag.layouts.families.liger import LIGER
from mhcdiag.layouts.families.lucidrains import HyperConnections, ManifoldHyperConnections
from mhcdiag.layouts.families.magi import MAGI
from mhcdiag.layouts.families.megatron import MEGATRON, MEGATRON_BRIDGE
from mhcdiag.layouts.families.mhc_cu import MHC_CU
from mhcdiag.layouts.families.mhc_lite import KROM_HC, MHC_LITE, MHC_LITE_MHC, TBP_MHC
from mhcdiag.layouts.families.mhc_pytorch import MHC_PYTORCH
from mhcdiag.layouts.families.motif import MOTIF
from mhcdiag.layouts.families.openpangu import OPENPANGU
from mhcdiag.layouts.families.plain import Plain
from mhcdiag.layouts.families.telechat import TELECHAT
from mhcdiag.layouts.families.tokenbender import TOKENBENDER
from mhcdiag.layouts.families.toy import Toy
from mhcdiag.layouts.interface import Layout, Recognition
from mhcdiag.layouts.smell import smelling_keys, smelling_tensors
from mhcdiag.namedtensors import NamedTensors

LAYOUTS: tuple[Layout, ...] = (
    DEEPSEEK_V4,
    DEEPSEEK_V41,
    GLM5_NEXT,
    NANOWHALE,
    GGUF_V4,
    OPENPANGU,
    MOTIF,
    MAGI,
    TELECHAT,
    MEGATRON,
    MEGATRON_BRIDGE,
    HyperConnections(),
    ManifoldHyperConnections(),
    BYTEDANCE,
    BYTEDANCE_STATIC,
    MHC_LITE_MHC,
    TBP_MHC,
    MHC_LITE,
    KROM_HC,
    TOKENBENDER,
    LIGER,
    MHC_CU,
    MHC_PYTORCH,
    HY_V4,
    QWEN4_EXP,
    Captured(),
    Toy(),
    Plain(),
)

__all__ = ["LAYOUTS", "Layout", "recognise"]


def recognise(checkpoint: NamedTensors, *, layout: str | None = None) -> tuple[Layout, Recognition]:
    """Find the layout of a checkpoint.

    Parameters
    ----------
    layout
        Name of the only layout to try; None tries all.

    Raises
    ------
    LayoutError
        No layout fits, several do, or the one that fits is incomplete.
    SettingError
        There is no layout of that name.
    """
    candidates = [known for known in LAYOUTS if layout in (None, known.name)]
    if not candidates:
        raise SettingError(f"there is no layout {layout!r}; known: {', '.join(known.name for known in LAYOUTS)}")
    mixers = smelling_tensors(checkpoint.tensors)
    found = [(known, match) for known in candidates if (match := known.recognise(checkpoint, mixers)) is not None]
    if len(found) > 1:
        names = " and ".join(known.name for known, _ in found)
        raise LayoutError(checkpoint.path, found=f"layouts {names} both fit", hint="choose one by --layout")
    if not found:
        raise _unknown(checkpoint, mixers, candidates)
    return found[0]


def _unknown(checkpoint: NamedTensors, tensors: Sequence[str], tried: Sequence[Layout]) -> LayoutError:
    keys = smelling_keys(checkpoint.config)
    clues = [f"tensor {name} {list(checkpoint.tensors[name].shape)}" for name in tensors[:5]]
    clues += [f"config key {key}" for key in keys[:3]]
    more = max(0, len(tensors) - 5) + max(0, len(keys) - 3)
    if clues:
        found = (
            "no known layout, but what looks like a mixer: " + ", ".join(clues) + (f" and {more} more" if more else "")
        )
        hint = "nothing was measured; mhcdiag inspect shows more; if you know the layout, say --layout"
    else:
        names = ", ".join(list(checkpoint.tensors)[:5]) or "none"
        found = f"no known layout and no numbered blocks among {len(checkpoint.tensors)} tensors ({names})"
        hint = "is this a checkpoint?"
    return LayoutError(
        checkpoint.path, found=found, expected="one of " + ", ".join(known.name for known in tried), hint=hint
    )

"""The layouts, one family of implementations a file; `layouts/interface.py` states the rules for an entry."""

from mhcdiag.layouts.families.altup import ALTUP
from mhcdiag.layouts.families.bytedance import BYTEDANCE, BYTEDANCE_STATIC
from mhcdiag.layouts.families.captured import CAPTURED
from mhcdiag.layouts.families.cross_layer import CROSS_LAYER
from mhcdiag.layouts.families.deepseek_v4 import DEEPSEEK_V4, DEEPSEEK_V41, GGUF_V4, GLM5_NEXT, NANOWHALE
from mhcdiag.layouts.families.identity import HY_V4, QWEN4_EXP
from mhcdiag.layouts.families.liger import LIGER
from mhcdiag.layouts.families.lucidrains import HYPER_CONNECTIONS, MANIFOLD_HYPER_CONNECTIONS
from mhcdiag.layouts.families.magi import MAGI
from mhcdiag.layouts.families.megatron import MEGATRON, MEGATRON_BRIDGE
from mhcdiag.layouts.families.mhc_cu import MHC_CU
from mhcdiag.layouts.families.mhc_lite import KROM_HC, MHC_LITE, MHC_LITE_MHC, TBP_MHC
from mhcdiag.layouts.families.mhc_pytorch import MHC_PYTORCH
from mhcdiag.layouts.families.motif import MOTIF
from mhcdiag.layouts.families.openpangu import OPENPANGU
from mhcdiag.layouts.families.plain import PLAIN
from mhcdiag.layouts.families.post_norm import POST_NORM_LAYOUT
from mhcdiag.layouts.families.residual_scalars import RESIDUAL_SCALARS
from mhcdiag.layouts.families.telechat import TELECHAT
from mhcdiag.layouts.families.tokenbender import TOKENBENDER
from mhcdiag.layouts.families.toy import TOY
from mhcdiag.layouts.families.x_transformers import X_TRANSFORMERS
from mhcdiag.layouts.interface import Layout

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
    HYPER_CONNECTIONS,
    MANIFOLD_HYPER_CONNECTIONS,
    BYTEDANCE,
    BYTEDANCE_STATIC,
    X_TRANSFORMERS,
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
    CAPTURED,
    TOY,
    ALTUP,
    RESIDUAL_SCALARS,
    CROSS_LAYER,
    POST_NORM_LAYOUT,
    PLAIN,
)
"""In the order of tables and messages; which one fits does not depend on it."""

"""What hyper-connections cost: the paper's formulas for any size."""

from mhcdiag.cost.formulas import cost_of
from mhcdiag.cost.sizes import PRESETS, Sizes, read_sizes

__all__ = ["PRESETS", "Sizes", "cost_of", "read_sizes"]

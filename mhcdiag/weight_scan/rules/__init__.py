"""What may be wrong with weights, one rule a file; `interface.py` says what a rule must keep to."""

from mhcdiag.weight_scan.rules.duplicates import DUPLICATES
from mhcdiag.weight_scan.rules.empty import EMPTY
from mhcdiag.weight_scan.rules.freshness import FRESHNESS
from mhcdiag.weight_scan.rules.interface import Rule
from mhcdiag.weight_scan.rules.lines import LINES
from mhcdiag.weight_scan.rules.nonfinite import NONFINITE
from mhcdiag.weight_scan.rules.precision import PRECISION
from mhcdiag.weight_scan.rules.routers import ROUTERS
from mhcdiag.weight_scan.rules.scale import SCALE

RULES: tuple[Rule, ...] = (NONFINITE, EMPTY, ROUTERS, DUPLICATES, FRESHNESS, LINES, SCALE, PRECISION)
"""Every rule, in the order in which its findings are listed among those that are equally bad."""

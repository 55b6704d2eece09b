"""Shapes are enforced: every annotated function of the package is checked by jaxtyping with beartype."""

import os
from importlib.util import find_spec
from pathlib import Path

from jaxtyping import install_import_hook

# As the command line does, before torch is loaded: several processes share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COMPILED = (
    "cpu_loops",
    "cpu_selection",
    "cpu_sinkhorn_loops",
    "gpu_probe",
    "gpu_programs",
    "gpu_sinkhorn_programs",
    "gpu_span_programs",
)
"""Modules whose functions Numba or Triton compiles: a wrapper around them would be compiled in their place."""


def _kernels() -> list[str]:
    [folder] = find_spec("mhcdiag.kernels").submodule_search_locations
    names = sorted(path.stem for path in Path(folder).glob("[a-z]*.py"))
    return [f"mhcdiag.kernels.{name}" for name in names if name not in COMPILED]


CHECKED = ("mappings", "measures", "layouts", "checkups")

install_import_hook([*_kernels(), *(f"mhcdiag.{package}" for package in CHECKED)], "beartype.beartype")

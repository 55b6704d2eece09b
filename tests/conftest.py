"""Shapes are enforced: every annotated function of the package is checked by jaxtyping with beartype."""

import os
from importlib.util import find_spec
from pathlib import Path

from jaxtyping import install_import_hook

# As the command line does, before torch is loaded: several processes share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COMPILED = {
    "composite.cpu_loops", "composite.cpu_selection", "composite.gpu_programs", "gpu_launch", "sinkhorn.cpu",
    "sinkhorn.gpu_programs",
}  # fmt: skip
"""Modules whose functions Numba or Triton compiles: a wrapper around them would be compiled in their place."""

CHECKED = ("mappings", "measures", "layouts", "health_checks")


def _kernels() -> list[str]:
    [folder] = find_spec("mhcdiag.kernels").submodule_search_locations
    paths = [path.relative_to(folder).with_suffix("") for path in Path(folder).rglob("[a-z]*.py")]
    names = {".".join(path.parts) for path in paths}
    assert names >= COMPILED, f"moved: {COMPILED - names}"
    return sorted(f"mhcdiag.kernels.{name}" for name in names - COMPILED)


def _packages() -> list[str]:
    # A name that is none would be hooked without a word, and nothing checked.
    names = [f"mhcdiag.{package}" for package in CHECKED]
    assert all(find_spec(name) for name in names), names
    return names


install_import_hook([*_kernels(), *_packages()], "beartype.beartype")

"""Shapes are enforced: every annotated function of the package is checked by jaxtyping with beartype."""

from jaxtyping import install_import_hook

install_import_hook(["mhcdiag.kernels", "mhcdiag.mappings", "mhcdiag.measures", "mhcdiag.layouts"], "beartype.beartype")

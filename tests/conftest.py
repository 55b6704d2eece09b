"""Shapes are enforced: every annotated function of the package is checked by jaxtyping with beartype."""

from jaxtyping import install_import_hook

CHECKED = ("kernels", "mappings", "measures", "layouts", "checkups")

install_import_hook([f"mhcdiag.{package}" for package in CHECKED], "beartype.beartype")

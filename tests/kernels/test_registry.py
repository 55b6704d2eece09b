"""Every file of `kernels/` that implements composites or Sinkhorn-Knopp is in its table, and documented."""

import ast
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_cases import ALL_KERNELS, ALL_SINKHORNS

from mhcdiag.kernels import composite, sinkhorn
from mhcdiag.kernels.choice import Implementation
from mhcdiag.kernels.composite.dispatch import KERNELS
from mhcdiag.kernels.composite.interface import Kernel
from mhcdiag.kernels.sinkhorn.interface import SinkhornKernel
from mhcdiag.kernels.sinkhorn.normalise import SINKHORN_KERNELS

ROOT = Path(__file__).parents[2]
FAMILIES = {
    "composite": (composite, KERNELS, "KERNELS (mhcdiag/kernels/composite/dispatch.py)", Kernel),
    "sinkhorn": (
        sinkhorn,
        SINKHORN_KERNELS,
        "SINKHORN_KERNELS (mhcdiag/kernels/sinkhorn/normalise.py)",
        SinkhornKernel,
    ),
}
every_family = pytest.mark.parametrize(("package", "table", "where", "protocol"), FAMILIES.values(), ids=FAMILIES)


def implementations(package, protocol: type) -> Iterator[tuple[str, str, str]]:
    """File, name and docstring of each class with all methods of a protocol; read, since Triton may be absent."""
    methods = {name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")}
    for module in pkgutil.iter_modules(package.__path__):
        file = Path(package.__path__[0]) / f"{module.name}.py"
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef) or node.name in (protocol.__name__, "_Differentiable"):
                continue
            if methods <= {each.name for each in node.body if isinstance(each, ast.FunctionDef)}:
                [name] = [ast.literal_eval(each.value) for each in node.body
                          if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) == "name"]  # fmt: skip
                yield str(file.relative_to(ROOT)), name, ast.get_docstring(node) or ""


@every_family
def test_every_implementation_is_in_its_table(package, table: tuple[Implementation, ...], where: str, protocol: type):
    listed = [each.name for each in table]
    found = {name: file for file, name, _ in implementations(package, protocol)}
    assert len(found) >= 3
    for name, file in found.items():
        assert name in listed, f"{file}: '{name}' is not in {where}"
    assert sorted(listed) == sorted(found), f"{where} against {sorted(found.values())}"


@every_family
def test_each_is_documented(package, table, where: str, protocol: type):
    page = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    section = page.partition("\n## Large inputs, GPUs, several processes\n")[2].partition("\n## ")[0].lower()
    for file, name, text in implementations(package, protocol):
        assert text, f"{file}: no docstring"
        assert name in section, f"{file}: the section on large inputs of docs/checkpoints.md does not name '{name}'"


@every_family
def test_the_last_one_suits_everything_and_runs_everywhere(package, table, where: str, protocol: type):
    last = table[-1]
    assert (last.name, last.device, last.streams) == ("torch", None, None), where
    assert all(last.suits(device=device, streams=5, matrices=0) for device in ("cpu", "cuda", "mps"))
    assert isinstance(last.load(), protocol)


def test_those_that_run_here_are_tested_under_their_own_names():
    for table, tested in ((KERNELS, ALL_KERNELS), (SINKHORN_KERNELS, ALL_SINKHORNS)):
        assert {kernel.name for kernel in tested} <= {each.name for each in table}
        for each in table:
            kernel = each.load() if each.name != "triton" else None
            assert kernel is None or (kernel.name == each.name and type(kernel) in map(type, tested)), each.name

"""Every rule is listed, finds the kinds that it says, and keeps to what is told of thresholds."""

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from plantedweights import as_safetensors, sound

import mhcdiag
import mhcdiag.weight_scan.rules
from mhcdiag.results.weights import WeightsKind
from mhcdiag.weight_scan.rules import RULES, Rule, freshness, lines, routers, scale

NO_PLUGINS = ("interface",)
FILES = [
    module.name for module in pkgutil.iter_modules(mhcdiag.weight_scan.rules.__path__) if module.name not in NO_PLUGINS
]
DOCS = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_every_file_holds_a_rule_that_is_listed(name: str) -> None:
    own = [one for one in vars(import_module(f"mhcdiag.weight_scan.rules.{name}")).values() if isinstance(one, Rule)]
    assert len(own) == 1, f"mhcdiag/weight_scan/rules/{name}.py: a file holds one rule, this one {len(own)}"
    assert own[0] in RULES, f"mhcdiag/weight_scan/rules/{name}.py: its rule is not in RULES of rules/__init__.py"


def test_every_kind_is_found_by_one_rule_and_documented() -> None:
    kinds = [kind for rule in RULES for kind in rule.kinds]
    assert sorted(kinds) == sorted(WeightsKind)
    for kind in kinds:
        assert re.search(rf"^\| `{kind}` ", DOCS, re.MULTILINE), f"{kind} is not in the table of docs/weights.md"


def kinds_of(folder: Path, tensors: dict[str, torch.Tensor]) -> set[str]:
    return {
        str(one.kind) for one in mhcdiag.weights(as_safetensors(folder, tensors)).findings if one.severity != "note"
    }


@pytest.mark.parametrize(
    ("kind", "limit", "make"),
    [
        ("outlier_rows", lines.FAR, lambda t, x: t["model.layers.2.self_attn.v_proj.weight"][17].mul_(x)),
        ("scale", scale.FAR, lambda t, x: t["model.layers.2.self_attn.v_proj.weight"].mul_(x)),
        ("scale", scale.FAR, lambda t, x: t["model.layers.2.self_attn.v_proj.weight"].div_(x)),
        (
            "router_exploding",
            routers.EXPLODING,
            lambda t, x: t["model.layers.1.block_sparse_moe.gate.weight"][3].mul_(x),
        ),
        ("router_dead", 1 / routers.DEAD, lambda t, x: t["model.layers.1.block_sparse_moe.gate.weight"][3].div_(x)),
    ],
)
def test_a_rule_finds_from_its_limit_on(kind: str, limit: float, make, tmp_path: Path) -> None:
    below, above = sound(), sound()
    make(below, limit / 3)
    make(above, limit * 3)
    assert kind not in kinds_of(tmp_path / "below", below)
    assert kind in kinds_of(tmp_path / "above", above)


def test_rows_that_are_large_in_all_layers_are_no_finding(tmp_path: Path) -> None:
    tensors = sound()
    for layer in range(4):
        tensors[f"model.layers.{layer}.self_attn.v_proj.weight"][17] *= 1000
    assert kinds_of(tmp_path, tensors) == set()


def test_a_run_that_has_hardly_begun_looks_fresh_everywhere_and_that_is_no_finding(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    tensors = sound()
    for layer in range(4):
        for expert in range(4):
            for name in ("w1", "w2"):
                full = f"model.layers.{layer}.block_sparse_moe.experts.{expert}.{name}.weight"
                tensors[full] = 0.02 * torch.randn(tensors[full].shape, generator=g)
    assert kinds_of(tmp_path, tensors) == set()
    assert freshness.MOST_TRAINED < 1


def test_two_matrices_of_one_layer_that_are_equal_are_found(tmp_path: Path) -> None:
    tensors = sound()
    tensors["model.layers.2.self_attn.v_proj.weight"] = tensors["model.layers.2.self_attn.k_proj.weight"].clone()
    assert kinds_of(tmp_path / "one", tensors) == {"duplicate"}
    for layer in range(4):
        block = f"model.layers.{layer}.self_attn"
        tensors[f"{block}.v_proj.weight"] = tensors[f"{block}.k_proj.weight"].clone()
    assert kinds_of(tmp_path / "all", tensors) == set()


def test_matrices_with_the_same_rows_in_another_order_are_no_copies(tmp_path: Path) -> None:
    tensors = sound()
    name = "model.layers.3.block_sparse_moe.experts.{}.w1.weight"
    tensors[name.format(2)] = tensors[name.format(0)].flip(0).contiguous()
    assert kinds_of(tmp_path, tensors) == set()

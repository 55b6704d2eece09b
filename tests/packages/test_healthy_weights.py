"""Nothing is found in the weights of healthy models: of twenty families, as their own package makes and saves them."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from packages.healthy_models import FAMILIES, TRAINED, built, trained

import mhcdiag
from mhcdiag.results.health import Severity


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny matrices: a second thread costs more than it gains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def saved(model: torch.nn.Module, folder: Path) -> Path:
    with (
        warnings.catch_warnings(action="ignore"),
        open(os.devnull, "w") as nowhere,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("sys.stderr", nowhere)  # a bar of progress for one file
        model.save_pretrained(folder)
    return folder


def serious(path: Path) -> list[str]:
    result = mhcdiag.weights(path)
    assert result.is_complete
    assert result.is_finite
    return [f"{one.kind}: {one.what}" for one in result.findings if one.severity is not Severity.NOTE]


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_found_in_a_healthy_model(family: str, tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        model = built(family)
    assert serious(saved(model, tmp_path / "fresh")) == []
    torch.save({"model": model.state_dict()}, tmp_path / "tied.pt")
    assert serious(tmp_path / "tied.pt") == []
    if family in TRAINED:
        with warnings.catch_warnings(action="ignore"):
            trained(model, steps=6)
        assert serious(saved(model, tmp_path / "trained")) == []


def test_there_are_twenty() -> None:
    assert len(FAMILIES) >= 20


def test_a_router_of_a_saved_model_is_known_by_its_experts(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        model = built("Mixtral")
    routers = [name for name, _ in model.named_parameters() if name.endswith("gate.weight")]
    with torch.no_grad():
        model.get_parameter(routers[1])[1:] = 0
    assert [line.partition(":")[0] for line in serious(saved(model, tmp_path / "m"))] == ["router_dead", "dead_rows"]

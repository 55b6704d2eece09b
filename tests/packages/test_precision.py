"""What storing mixers in BF16 changes, against running modules in float32 and in what BF16 made of them."""

import copy

import pytest
import torch
from packages import lucidrains_stacks
from packages.transformers_models import DEEPSEEK_V4, mixers
from reference import composite
from safetensors.torch import save_file

import mhcdiag

TOKENS = 40


def examined(path):
    (check,) = mhcdiag.health(path, only=["precision"]).checks
    return check


def gains(maps) -> list[float]:
    products = [composite(maps, token, 0, len(maps) - 1) for token in range(TOKENS)]
    return [sum(abs(p).sum(axis=axis).max() for p in products) / TOKENS for axis in (1, 0)]


@pytest.fixture
def v4(build_case):
    """A model whose mixers are rounded to BF16, and what float32 and BF16 give on the same random streams."""
    pytest.importorskip("transformers")
    case = build_case("deepseek_v4")
    model = copy.deepcopy(case.model)
    exact = case.gaussian(model, sites=99, tokens=TOKENS, seed=3)
    with torch.no_grad():
        for _, mixer in mixers(model, DEEPSEEK_V4):
            for parameter in mixer.parameters():
                parameter.copy_(parameter.bfloat16())
    return case, model, exact, case.gaussian(model, sites=99, tokens=TOKENS, seed=3)


def test_the_change_is_that_of_the_running_modules(tmp_path, v4):
    case, model, exact, rounded = v4
    assert examined(case.path).overall == {"coarse_tensors": 0.0}
    tensors = {name: value.bfloat16() if "_hc." in name else value for name, value in model.state_dict().items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((case.path / "config.json").read_bytes())
    check = examined(tmp_path)
    true = abs(rounded - exact).max(axis=(-2, -1)).mean(axis=1)
    assert check.overall["coarse_tensors"] == 3 * len(true)
    for found, expected in zip(check.per_site["h_change"], true, strict=True):
        assert 0.5 * expected < found < 3 * expected  # the largest of three draws against one
    change = max(abs(one / other - 1) for one, other in zip(gains(rounded), gains(exact), strict=True))
    assert 0.2 * change < check.overall["gain_change"] < 10 * max(change, 1e-4)
    (finding,) = check.findings
    assert str(finding.severity) == "warn"
    assert finding.what.startswith(f"{3 * len(true)} mixing tensors are stored in BF16 where this family keeps float32")
    assert f"H_res by {check.overall['h_change']:.2g}" in finding.what


@pytest.mark.parametrize("kind", ["mhc", "hc"])
def test_wrappers_of_hyper_connections(tmp_path, kind: str):
    pytest.importorskip("hyper_connections")
    model = lucidrains_stacks.stack(kind, sites=4, streams=4, dim=24, seed=2)
    save_file(model.state_dict(), tmp_path / "exact.safetensors")
    assert examined(tmp_path / "exact.safetensors").findings == ()
    before = lucidrains_stacks.gaussian_maps(model, sites=4, tokens=TOKENS, seed=1)
    model = model.bfloat16()
    save_file(model.state_dict(), tmp_path / "rounded.safetensors")
    after = lucidrains_stacks.gaussian_maps(model.float(), sites=4, tokens=TOKENS, seed=1)
    check = examined(tmp_path / "rounded.safetensors")
    assert [str(finding.severity) for finding in check.findings] == ["warn"]
    true = abs(after - before).max(axis=(-2, -1)).mean(axis=1)
    for found, expected in zip(check.per_site["h_change"], true, strict=True):
        assert 0.4 * expected < found < 4 * expected

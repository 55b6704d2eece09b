"""Mixers stored in 16 bits: whose they are, what the lost digits may have been worth, and what cannot be told."""

from math import inf, isnan, nan

import numpy as np
import pytest
import torch
from health_checks.subjects import as_tensor, random_maps, run, said, subject, whats
from health_checks.test_health import save, v4

import mhcdiag
from mhcdiag.health_checks import examine
from mhcdiag.health_checks.families.precision import CHECK as precision
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.weight_readers.records import Coarse
from mhcdiag.weight_readers.rounding import DRAWS, _redrawn, redrawn_maps, stored_coarsely

MAPS = random_maps()
COARSE = Coarse(names=("a", "b"), dtypes=("BF16",), unusual=True)


def of(*drawn: np.ndarray, coarse: Coarse = COARSE):
    return subject(MAPS, coarse=coarse, redrawn=lambda: iter([as_tensor(MAPS), *map(as_tensor, drawn)]))


def test_the_largest_change_of_any_draw_counts():
    small, large = MAPS.copy(), MAPS.copy()
    small[:, :, 0, 0] += 0.01
    large[2, :, 1, 2] -= 0.25
    outcome = run(precision, of(small, large))
    assert outcome.per_site["h_change"] == pytest.approx((0.01, 0.01, 0.25, 0.01, 0.01))
    assert said(outcome) == [("warn", "site 2", 5)]
    assert whats(outcome)[0].startswith("2 mixing tensors are stored in BF16 where this family keeps float32: rounding")
    assert "changed H_res by 0.25 and the composite gain by " in whats(outcome)[0]


def test_the_gain_is_that_of_the_whole_composite_in_the_direction_that_changes_most():
    changed = MAPS.copy()
    changed[0] *= 1.02
    assert run(precision, of(MAPS, changed)).overall["gain_change"] == pytest.approx(0.02)
    changed = MAPS.copy()
    changed[0] *= 0.98
    assert run(precision, of(changed)).overall["gain_change"] == pytest.approx(1 / 0.98 - 1)


def test_a_gain_beyond_float64_is_compared_all_the_same():
    maps = np.full((400, 1, 2, 2), 10.0)
    exploded = subject(maps, coarse=COARSE, redrawn=lambda: iter([as_tensor(maps), as_tensor(maps * 1.001)]))
    assert run(precision, exploded).overall["gain_change"] == pytest.approx(1.001**400 - 1, rel=1e-6)


def test_what_the_family_itself_keeps_in_16_bits_is_no_finding():
    usual = Coarse(names=("a",), dtypes=("BF16",), unusual=False)
    outcome = run(precision, of(MAPS * 1.5, coarse=usual))
    assert (outcome.findings, outcome.overall["coarse_tensors"]) == ((), 1.0)
    assert outcome.overall["h_change"] > 0.1


def test_nothing_stored_in_16_bits_draws_nothing():
    outcome = run(precision, of(coarse=Coarse(names=(), dtypes=(), unusual=False)))
    assert (outcome.overall, outcome.findings) == ({"coarse_tensors": 0.0}, ())


def test_parameters_that_change_nothing_are_no_finding():
    assert run(precision, of(MAPS)).findings == ()
    assert run(precision, of(MAPS * (1 + 1e-9)), change=inf).findings == ()


def test_maps_that_are_not_finite_fail():
    broken = MAPS.copy()
    broken[1, 0, 0, 0] = nan
    assert isnan(run(precision, of(broken)).overall["h_change"])
    (result,) = examine(of(broken), only=["precision"])
    assert "fail" in [str(finding.severity) for finding in result.findings]


def test_captured_mappings_have_no_parameters():
    why = "captured mappings and plain models have no such parameters"
    assert run(precision, subject(MAPS)).not_checkable == why


@pytest.mark.parametrize(("dtype", "digits"), [(torch.bfloat16, 8), (torch.float16, 11)], ids=["bf16", "f16"])
def test_what_is_drawn_is_rounded_to_what_is_stored(dtype: torch.dtype, digits: int):
    """And reaches as far as rounding does: half a unit of the last place."""
    generator = torch.Generator().manual_seed(0)
    stored = (torch.randn(20_000, generator=generator) * 3).to(dtype)
    drawn = _redrawn(stored, generator)
    assert drawn.dtype is torch.float32
    # A power of two has closer neighbours below itself: what is drawn there may round to one of them.
    powers = torch.frexp(stored.float()).mantissa.abs() == 0.5
    same = drawn.to(dtype)[~powers] == stored[~powers]
    assert float(same.double().mean()) > 0.999, "all but those that float32 itself rounds to half-way"
    relative = ((drawn - stored.float()) / stored.float()).abs().max()
    assert 0.9 * 2.0**-digits < float(relative) <= 2.0**-digits
    assert _redrawn(torch.zeros(3, dtype=dtype), generator).tolist() == [0, 0, 0]
    exact = torch.ones(3)
    assert _redrawn(exact, generator) is exact


@pytest.mark.parametrize(
    ("kind", "coarse", "unusual"),
    [
        ("deepseek_v4", ("base",), True),
        ("deepseek_v4", ("fn",), True),
        ("glm5_next", ("fn",), False),
        ("glm5_next", ("fn", "base"), True),
        ("deepseek_v4", (), False),
    ],
)
def test_families_differ_in_what_they_keep(tmp_path, kind: str, coarse: tuple[str, ...], unusual: bool):
    tensors = {
        name: value.bfloat16() if name.endswith(tuple(f"_{role}" for role in coarse) or "-") else value
        for name, value in v4().items()
    }
    if kind == "glm5_next":
        tensors = {f"model.language_model.{name}": value for name, value in tensors.items()}
    path = save(tmp_path, tensors)
    config = path / "config.json"
    config.write_text(config.read_text().replace("deepseek_v4", kind))
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint, layout=None)
    found = stored_coarsely(checkpoint, layout, recognition)
    assert (len(found.names), found.unusual) == (6 * len(coarse), unusual)
    (check,) = mhcdiag.health(path, only=["precision"]).checks
    assert bool(check.findings) is unusual


def test_static_inputs_leave_the_projection_alone(tmp_path):
    tensors = {name: value.bfloat16() if name.endswith("_fn") else value for name, value in v4().items()}
    checkpoint = open_checkpoint(save(tmp_path, tensors))
    layout, recognition = recognise(checkpoint, layout=None)
    maps = [
        list(redrawn_maps(checkpoint, layout, recognition, Overrides(), dynamic=dynamic)) for dynamic in (False, True)
    ]
    assert [len(each) for each in maps] == [DRAWS + 1] * 2
    assert torch.equal(maps[0][0], maps[0][1])
    assert not torch.equal(maps[1][0], maps[1][1])

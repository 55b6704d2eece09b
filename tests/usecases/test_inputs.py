"""Which inputs `gain` and `health` take for each kind of reading, and what they then say of them."""

from pathlib import Path

import pytest
import torch
from layouts.formulas import CASES
from stacks import CONFIG, captured_tensors, deepseek_v4_tensors, hyper_connections_tensors, write

import mhcdiag
from mhcdiag.errors import SettingError

KINDS = ("dependent", "unconstrained", "static", "captured", "identity", "plain")
RANDOM_NOTE = "random inputs are standard Gaussian and independent at every site; real tokens may amplify more or less"
STATIC_NOTE = (
    "static inputs set the input-dependent part to zero: no token sees these mappings, and they can understate the "
    "gain many times over (50-fold in a trained toy); captured mappings are the truth"
)


@pytest.fixture
def path(tmp_path: Path, kind: str) -> Path:
    if kind == "dependent":
        return write(tmp_path, deepseek_v4_tensors(), config=CONFIG)
    if kind == "unconstrained":
        return write(tmp_path, hyper_connections_tensors())
    if kind == "static":
        model = CASES["bytedance_static"]()
        return write(tmp_path, {name: torch.tensor(each).float() for name, each in model.tensors.items()})
    if kind == "captured":
        maps = torch.eye(3).expand(2, 5, 3, 3) + 0.1 * torch.rand(
            2, 5, 3, 3, generator=torch.Generator().manual_seed(0)
        )
        return write(tmp_path, captured_tensors(maps), metadata={"first_tokens": "[0]"})
    if kind == "identity":
        sites = [f"layers.0.hc_{kind}_layer.hc_pre." for kind in ("attn", "ffn")]
        tensors = {f"{site}hc_base": torch.zeros(6) for site in sites}
        tensors |= {f"{site}hc_scale": torch.zeros(2) for site in sites}
        return write(tmp_path, tensors, config={"model_type": "hy_v4", "num_hidden_layers": 1, "hc_mult": 3})
    tensors = {f"layers.{i}.mlp.weight": torch.zeros(2, 2) for i in range(2)}
    return write(tmp_path, tensors, config={"model_type": "llama"})


CHOSEN = {
    "dependent": {None: "random", "random": "random", "static": "static"},
    "unconstrained": {None: "aligned", "aligned": "aligned", "random": "random", "static": "static"},
    "static": {None: "static", "static": "static"},
    "captured": {None: "captured", "captured": "captured"},
    "identity": {None: "static", "aligned": "static", "random": "static", "static": "static"},
    "plain": {None: "static", "aligned": "static", "random": "static", "static": "static"},
}
"""By kind: what a wish comes to in `gain`; every other wish is refused."""
POSSIBLE = {"dependent": "random, static", "unconstrained": "aligned, random, static", "captured": "captured"}
LAYOUT = {
    "dependent": "deepseek-v4",
    "unconstrained": "hyper-connections",
    "static": "bytedance-shc",
    "identity": "hy-v4",
}


@pytest.mark.parametrize("wanted", [None, "aligned", "random", "static", "captured"])
@pytest.mark.parametrize("kind", KINDS)
def test_gain_takes_the_inputs_that_a_reading_has(path: Path, kind: str, wanted: str | None):
    if wanted in CHOSEN[kind]:
        assert mhcdiag.gain(path, inputs=wanted, tokens=7).inputs == CHOSEN[kind][wanted]
        return
    said = (
        f"inputs '{wanted}' do not exist for layout {LAYOUT.get(kind, kind)}; possible: {POSSIBLE.get(kind, 'static')}"
    )
    with pytest.raises(SettingError) as caught:
        mhcdiag.gain(path, inputs=wanted, tokens=7)
    assert str(caught.value) == said


@pytest.mark.parametrize("wanted", [None, "aligned", "random", "static", "captured", "embedding"])
@pytest.mark.parametrize("kind", KINDS)
def test_health_refuses_inputs_only_where_there_is_a_choice(path: Path, kind: str, wanted: str | None):
    if kind not in POSSIBLE or kind == "captured":
        assert mhcdiag.health(path, inputs=wanted, tokens=7).inputs == CHOSEN[kind][None]
    elif wanted in CHOSEN[kind]:
        assert mhcdiag.health(path, inputs=wanted, tokens=7).inputs == CHOSEN[kind][wanted]
    else:
        with pytest.raises(SettingError) as caught:
            mhcdiag.health(path, inputs=wanted, tokens=7)
        assert str(caught.value) == f"inputs '{wanted}' do not exist here; possible: {POSSIBLE[kind]}"


@pytest.mark.parametrize(
    ("kind", "inputs", "layout", "tokens", "kernel"),
    [
        ("dependent", "random", "deepseek-v4", 7, "torch"),
        ("dependent", "static", "deepseek-v4", 1, "torch"),
        ("unconstrained", "aligned", "hyper-connections", 7, "torch"),
        ("static", "static", "bytedance-shc", 1, "torch"),
        ("captured", "captured", "captured", 5, "torch"),
        ("identity", "static", "identity", 1, "none"),
        ("plain", "static", "plain", 1, "none"),
    ],
)
def test_gain_reports_each_kind_as_what_it_is(path: Path, inputs: str, layout: str, tokens: int, kernel: str):
    result = mhcdiag.gain(path, inputs=inputs, tokens=7)
    assert (result.inputs, result.layout, result.tokens, result.kernel) == (inputs, layout, tokens, kernel)


@pytest.mark.parametrize(
    ("kind", "inputs", "notes"),
    [
        ("dependent", "random", (RANDOM_NOTE,)),
        ("dependent", "static", (STATIC_NOTE,)),
        ("static", "static", ()),
        ("captured", "captured", ()),
        ("identity", "static", ("hy_v4 never mixes its streams: every H_res is the identity, so the gain is 1 by "
                                "construction",)),
        ("plain", "static", ("one residual stream, nothing is mixed: the gain is 1 by construction (by model_type "
                             "llama)",)),
    ],
)  # fmt: skip
def test_notes_tell_what_inputs_leave_out(path: Path, inputs: str, notes: tuple[str, ...]):
    assert mhcdiag.gain(path, inputs=inputs, tokens=7).notes == notes


@pytest.mark.parametrize(
    ("kind", "forward", "backward", "why"),
    [
        ("dependent", 1.0, 2.0, "a property of stochastic matrices, whatever the parameters"),
        ("captured", None, None, "captured mappings are what some tokens saw; they bound nothing for other inputs"),
        ("identity", 1.0, 1.0, "nothing is mixed: every mapping is the identity"),
        ("plain", 1.0, 1.0, "nothing is mixed: every mapping is the identity"),
    ],
)
def test_each_kind_knows_its_bound(path: Path, forward: float | None, backward: float | None, why: str):
    bound = mhcdiag.gain(path, tokens=7).bound
    assert (bound["forward"].worst, bound["backward"].worst) == (forward, backward)
    assert bound["backward"].why.startswith(why)


@pytest.mark.parametrize("kind", ["captured"])
def test_first_tokens_of_captured_sequences_count_apart(path: Path):
    assert ("single", "forward", "norm", "mean_without_first") in mhcdiag.gain(path).gain


@pytest.mark.parametrize(
    ("kind", "examined", "passed_over"),
    [
        ("dependent", "gates", "attention"),
        ("static", "gates", "attention"),
        ("captured", "collapse", "gates"),
        ("identity", "collapse", "attention"),
        ("plain", "norms", "gates"),
    ],
)
def test_health_knows_of_each_kind_what_it_has(path: Path, kind: str, examined: str, passed_over: str):
    checks = {check.name: check.not_checkable for check in mhcdiag.health(path, tokens=7).checks}
    reasons = {"attention": "one residual stream", "gates": "no such parameters"}
    assert reasons[passed_over] in checks[passed_over]
    said = {"plain": "no norm weights under a known name"}  # the weights were looked at, and there are none
    assert checks[examined] == said.get(kind, "")


@pytest.mark.parametrize("kind", ["dependent"])
@pytest.mark.parametrize(("tokens", "seed"), [(0, 0), (7, -1)])
def test_random_inputs_need_a_token_and_a_seed(path: Path, tokens: int, seed: int):
    with pytest.raises(SettingError, match="expected at least one token and a seed of at least 0"):
        mhcdiag.gain(path, tokens=tokens, seed=seed)

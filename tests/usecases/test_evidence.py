"""Checkpoints that look sound and are not known to be: none of them gets a plain pass, and none a proof."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from stacks import CONFIG, captured_tensors, deepseek_v4_tensors, hyper_connections_tensors, write

import mhcdiag
from mhcdiag.policies.verdicts import judge_gain
from mhcdiag.reports.gain_console import verdict_line
from mhcdiag.results.evidence import doubt_of_bounds
from mhcdiag.results.gain import Direction
from mhcdiag.results.verdict import GainEvidence, Verdict

CERTIFIED, MEASURED, SAMPLED = GainEvidence.CERTIFIED, GainEvidence.MEASURED, GainEvidence.SAMPLED
UNREAD = "the projection of the input was not read: it may hold NaN, or logits beyond all range"
TIED = {"tied_to": "step 160"}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mhc_cu(*, scale: float = 0.01, base: float = 0.0, projection: float = 1.0, streams: int = 4, width: int = 8):
    """The dynamic layer of mHC.cu at two sites."""
    tensors = {}
    for i in range(2):
        tensors[f"layers.{i}.phi_res"] = projection * random(streams**2, streams * width, seed=i)
        tensors[f"layers.{i}.b_res"] = torch.full((streams, streams), base)
        tensors[f"layers.{i}.alpha_res"] = torch.tensor(scale)
    return tensors


def static_cu(first: torch.Tensor) -> dict[str, torch.Tensor]:
    """The static layer at two sites: the logits of the first, and zeros."""
    found = {}
    for i, logits in enumerate((first, torch.zeros_like(first))):
        found |= {
            f"layers.{i}.H_res": logits,
            f"layers.{i}.H_pre": torch.zeros(4),
            f"layers.{i}.H_post": torch.zeros(4),
        }
    return found


def evidence(result: mhcdiag.GainResult, *, max_gain: float = 1000.0) -> GainEvidence | None:
    """Of a pass; its line must say so before all else unless it is proved or measured."""
    judged = judge_gain(result, max_gain=max_gain)
    assert judged.verdict is Verdict.PASS
    plain = verdict_line(judged).plain.startswith("PASS  ")
    assert plain is (judged.evidence in (CERTIFIED, MEASURED))
    return judged.evidence


def v4(tmp_path: Path, **config: object) -> Path:
    tensors = deepseek_v4_tensors(streams=4, width=8)
    return write(tmp_path, tensors, config=CONFIG | {"hc_mult": 4, "hidden_size": 8} | config)


def test_a_sinkhorn_checkpoint_is_certified_where_its_layout_guarantees_it(tmp_path):
    result = mhcdiag.gain(v4(tmp_path), tokens=64)
    assert [evidence(result, max_gain=limit) for limit in (1000.0, 30.0, 4.0, 3.999)] == [CERTIFIED] * 3 + [SAMPLED]
    line = verdict_line(judge_gain(result, max_gain=3.0)).plain
    assert line.startswith(
        "PASS on sampled inputs; the layout guarantees only 4; measure real tokens with `mhcdiag gain"
    )


@pytest.mark.parametrize(
    ("options", "doubt"),
    [
        ({"sites": (1, 2)}, "2 of 6 sites were looked at"),
        ({"inputs": "static"}, UNREAD),
        ({"inputs": "embedding", "tokens": 200}, "1 of 6 sites were looked at"),
    ],
)
def test_a_part_of_a_model_proves_nothing_of_it(tmp_path, options: dict, doubt: str):
    path = v4(tmp_path)
    tensors = deepseek_v4_tensors(streams=4, width=8) | {"embed.weight": random(300, 8)}
    save_file(tensors, path / "model.safetensors")
    result = mhcdiag.gain(path, **options)
    assert evidence(result) is SAMPLED
    assert doubt_of_bounds(result) == doubt


def test_an_assumed_layout_proves_nothing_until_the_user_says_it(tmp_path):
    path = write(tmp_path, deepseek_v4_tensors(streams=4, width=8))
    assert evidence(mhcdiag.gain(path, tokens=64)) is SAMPLED
    assert evidence(mhcdiag.gain(path, tokens=64, orientation="source-rows")) is CERTIFIED


def test_an_eps_of_zero_can_divide_zero_by_zero(tmp_path):
    result = mhcdiag.gain(v4(tmp_path, hc_eps=0), tokens=64)
    assert evidence(result) is SAMPLED
    assert result.bound[Direction.BACKWARD].worst is None
    assert "finite in float32 up to 20 only" in result.bound_doubt


def test_tanh_that_was_assumed_bounds_nothing_for_sure(tmp_path):
    path = write(tmp_path, hyper_connections_tensors(sites=4, spread=0.05))
    assert evidence(mhcdiag.gain(path, tokens=64)) is SAMPLED
    assert evidence(mhcdiag.gain(path, tokens=64, tanh=True)) is CERTIFIED
    assert evidence(mhcdiag.gain(path, inputs="static", tanh=True)) is SAMPLED
    assert evidence(mhcdiag.gain(path, tokens=64, tanh=False)) is SAMPLED


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({}, ""),
        ({"base": 80.0}, ""),
        ({"scale": 5.0}, "finite in float32 up to 87.3 only"),
        ({"base": 87.4}, "finite in float32 up to 87.3 only"),
        ({"scale": 1e-36, "projection": 1e38}, "some input can make the projection overflow float32"),
    ],
)
def test_where_some_input_can_overflow_there_is_no_bound(tmp_path, changes: dict, doubt: str):
    """Finite parameters, and NaN for an input that the one random token here need not be."""
    result = mhcdiag.gain(write(tmp_path, mhc_cu(**changes)), inputs="random", tokens=1)
    assert result.bound[Direction.FORWARD].worst == (None if doubt else 4.0)
    assert doubt in result.bound_doubt
    assert judge_gain(result).evidence is (SAMPLED if doubt else CERTIFIED)


def test_a_static_layer_that_overflows_has_no_bound_and_one_that_does_not_reaches_n(tmp_path):
    logits = torch.full((4, 4), -80.0)
    logits[0] = 0.0
    sound = mhcdiag.gain(write(tmp_path / "sound", static_cu(logits)))
    assert sound.worst["forward", "norm"].value == pytest.approx(4.0, abs=1e-6)
    assert sound.bound[Direction.FORWARD].single == (4.0, 4.0)
    assert evidence(sound) is CERTIFIED
    broken = mhcdiag.gain(write(tmp_path / "broken", static_cu(torch.full((4, 4), 89.0))))
    assert judge_gain(broken).verdict is Verdict.FAIL
    assert broken.bound[Direction.FORWARD].worst is None


def test_what_no_input_changes_is_its_own_bound(tmp_path):
    """Static hyper-connections: the gain of every token is the one that is measured."""
    tensors = {}
    for i in range(8):
        path = f"layers.{i // 2}.{('attn', 'ff')[i % 2]}."
        tensors[path + "static_alpha"] = torch.cat(
            [torch.zeros(3, 1), torch.eye(3) + 0.4 * random(3, 3, seed=i)], dim=1
        )
        tensors[path + "static_beta"] = torch.ones(3)
    result = mhcdiag.gain(write(tmp_path, tensors))
    for way in Direction:
        assert result.bound[way].worst == pytest.approx(result.worst[way, "norm"].value, rel=1e-12)
        assert result.bound[way].prefix == pytest.approx(result.curve("prefix", way, "norm"), rel=1e-12)
    assert evidence(result) is CERTIFIED


@pytest.mark.parametrize(
    ("tokens", "metadata", "expected"),
    [(128, TIED, MEASURED), (127, TIED, SAMPLED), (128, {}, SAMPLED), (128, {"tied_to": "latest"}, SAMPLED)],
)
def test_captured_mappings_are_many_and_name_their_checkpoint(tmp_path, tokens: int, metadata: dict, expected):
    maps = torch.eye(3) + 0.01 * random(4, tokens, 3, 3)
    path = write(tmp_path, captured_tensors(maps), metadata=metadata)
    assert evidence(mhcdiag.gain(path)) is expected
    assert evidence(mhcdiag.gain(path, sites=(1, 2))) is SAMPLED


def test_one_mapping_for_all_tokens_is_one_token(tmp_path):
    path = write(tmp_path, {f"layers.{i}.h_res": torch.eye(3) for i in range(4)}, metadata=TIED)
    assert evidence(mhcdiag.gain(path)) is SAMPLED


@pytest.mark.parametrize(("other", "expected"), [("step 160", MEASURED), ("step 161", SAMPLED), ("", SAMPLED)])
def test_a_folder_of_captured_files_is_of_one_checkpoint(tmp_path, other: str, expected: GainEvidence):
    maps = torch.eye(3) + 0.01 * random(4, 200, 3, 3)
    save_file(captured_tensors(maps[:, :100]), tmp_path / "a.safetensors", metadata=TIED)
    save_file(captured_tensors(maps[:, 100:]), tmp_path / "b.safetensors", metadata={"tied_to": other})
    assert evidence(mhcdiag.gain(tmp_path)) is expected


def test_an_orthostochastic_projection_is_never_certified(tmp_path):
    tensors = {f"layers.{i}.{kind}.H_res_logits": random(4, 4, seed=i) for i in range(3) for kind in ("attn", "mlp")}
    result = mhcdiag.gain(write(tmp_path, tensors, config={"mhc_h_res_proj": "orthostochastic"}))
    assert evidence(result, max_gain=1e300) is SAMPLED


def test_nan_in_a_projection_that_static_inputs_do_not_read(tmp_path):
    tensors = mhc_cu()
    tensors["layers.1.phi_res"][0, 0] = float("nan")
    path = write(tmp_path, tensors)
    assert evidence(mhcdiag.gain(path, inputs="static")) is SAMPLED
    assert judge_gain(mhcdiag.gain(path, inputs="random", tokens=8)).verdict is Verdict.FAIL

"""`mhcdiag.weights` on sound checkpoints and on planted faults, and on what must never be called a pass."""

import json
from pathlib import Path

import pytest
import torch
from plantedweights import (
    ATTENTION,
    CONTAINERS,
    EMBEDDING,
    EXPERT,
    FAULTS,
    ROUTER,
    as_pt,
    as_safetensors,
    planted,
    sound,
)
from safetensors.torch import save_file

import mhcdiag
from mhcdiag.policies.weights_verdicts import judge_weights
from mhcdiag.results.health import Severity
from mhcdiag.usecases import weights as usecase
from mhcdiag.usecases.options import WeightsOptions
from mhcdiag.usecases.weights import weights_beside


def serious(result: mhcdiag.WeightsResult) -> list[tuple[str, str]]:
    return [(str(one.kind), one.tensor) for one in result.findings if one.severity is not Severity.NOTE]


@pytest.mark.parametrize("container", CONTAINERS)
def test_nothing_is_found_in_a_sound_model(container: str, tmp_path: Path) -> None:
    result = mhcdiag.weights(CONTAINERS[container](tmp_path / "m", sound()))
    assert serious(result) == []
    assert result.is_complete
    assert result.is_finite
    assert result.tensors == result.tensors_scanned == len(sound())
    assert result.elements == result.elements_scanned == sum(tensor.numel() for tensor in sound().values())
    assert judge_weights(result).verdict == "pass"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_nothing_else(fault: str, tmp_path: Path) -> None:
    kind, tensor, _ = FAULTS[fault]
    result = mhcdiag.weights(as_safetensors(tmp_path / "m", planted(fault)))
    found = serious(result)
    assert (kind, tensor) in found
    assert {name for _, name in found} == {tensor}
    assert judge_weights(result).verdict == ("fail" if kind in ("nan", "infinite") else "pass")
    assert judge_weights(result, fail_on=Severity.WARN).verdict == "fail"
    one = next(each for each in result.findings if each.kind == kind)
    assert one.what.startswith(f"{tensor}: ")
    assert one.why


@pytest.mark.parametrize("container", [name for name in CONTAINERS if name != "safetensors"])
@pytest.mark.parametrize(
    "fault", ["nan", "infinite", "zero v_proj", "equal experts", "fresh expert", "collapsed router"]
)
def test_a_fault_is_found_in_every_container(fault: str, container: str, tmp_path: Path) -> None:
    kind, tensor, _ = FAULTS[fault]
    assert (kind, tensor) in serious(mhcdiag.weights(CONTAINERS[container](tmp_path / "m", planted(fault))))


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_first_place_is_named(container: str, tmp_path: Path) -> None:
    tensors = sound()
    tensors[ATTENTION][3, 9] = tensors[ATTENTION][50, 1] = float("nan")
    tensors[EMBEDDING][-1, -1] = float("inf")
    result = mhcdiag.weights(CONTAINERS[container](tmp_path / "m", tensors))
    found = {one.tensor: (str(one.kind), one.position, one.count) for one in result.nonfinite}
    assert found == {ATTENTION: ("nan", (3, 9), 2), EMBEDDING: ("infinite", (127, 63), 1)}
    assert not result.is_finite
    assert judge_weights(result).verdict == "fail"


def test_numbers_are_those_of_the_tensors(tmp_path: Path) -> None:
    tensors = sound()
    tensors[ATTENTION][0, :5] = 0
    numbers = {one.name: one for one in mhcdiag.weights(as_safetensors(tmp_path / "m", tensors)).numbers}
    assert set(numbers) == set(tensors)
    for name, tensor in tensors.items():
        one = numbers[name]
        assert (one.dtype, one.shape, one.scanned) == ("F32", tuple(tensor.shape), tensor.numel())
        assert one.zeros == int((tensor == 0).sum())
        assert one.absmax == pytest.approx(float(tensor.abs().max()), rel=1e-6)
        assert one.rms == pytest.approx(float(tensor.double().square().mean().sqrt()), rel=1e-5)


# What is so in most layers is how the model is made


def test_what_all_layers_share_is_no_finding(tmp_path: Path) -> None:
    tensors = sound()
    for layer in range(4):
        tensors[f"model.layers.{layer}.self_attn.v_proj.weight"].zero_()
        tensors[f"model.layers.{layer}.self_attn.o_proj.weight"][:, 5] = 0
        tensors[f"model.layers.{layer}.self_attn.q_proj.bias"] = torch.zeros(64)
    result = mhcdiag.weights(as_safetensors(tmp_path / "m", tensors))
    assert serious(result) == []
    assert any("self_attn.v_proj.weight are all zero, as most" in note for note in result.notes)


def test_a_model_made_larger_by_copies_is_no_finding_and_one_copy_is(tmp_path: Path) -> None:
    tensors = sound()
    for layer in range(4):
        for expert in range(1, 4):
            name = f"model.layers.{layer}.block_sparse_moe.experts"
            tensors[f"{name}.{expert}.w1.weight"].copy_(tensors[f"{name}.0.w1.weight"])
    assert serious(mhcdiag.weights(as_safetensors(tmp_path / "m", tensors))) == []


def test_ties_and_padding_are_notes(tmp_path: Path) -> None:
    tensors = sound()
    tensors[EMBEDDING][0] = 0
    tensors["lm_head.weight"] = tensors[EMBEDDING]
    result = mhcdiag.weights(as_pt(tmp_path / "m", tensors))
    assert serious(result) == []
    assert {(str(one.kind), one.tensor) for one in result.findings} == {
        ("duplicate", "lm_head.weight"), ("dead_rows", EMBEDDING), ("dead_rows", "lm_head.weight")
    }  # fmt: skip


def test_a_mask_of_minus_infinity_is_a_note_and_nothing_else_is(tmp_path: Path) -> None:
    tensors = sound()
    mask = torch.triu(torch.full((8, 8), float("-inf")), diagonal=1)
    tensors["model.layers.0.attn.bias"] = mask
    result = mhcdiag.weights(as_safetensors(tmp_path / "m", tensors))
    assert [(one.severity, one.tensor) for one in result.findings] == [("note", "model.layers.0.attn.bias")]
    assert judge_weights(result).verdict == "pass"
    for broken in (mask.clone().index_put_((torch.tensor([5]), torch.tensor([0])), torch.tensor(float("-inf"))), -mask):
        tensors["model.layers.0.attn.bias"] = broken
        assert judge_weights(mhcdiag.weights(as_safetensors(tmp_path / "m", tensors))).verdict == "fail"
    del tensors["model.layers.0.attn.bias"]
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(64).index_fill_(0, torch.tensor([3]), float("-inf"))
    assert judge_weights(mhcdiag.weights(as_safetensors(tmp_path / "m", tensors))).verdict == "fail"


# Whatever holds NaN


def _nested(folder: Path) -> Path:
    torch.save(
        {"model": sound(), "ema": {"shadow": [torch.ones(3), torch.tensor([0.0, float("nan")])]}}, folder / "a.pt"
    )
    return folder / "a.pt"


def _optimizer(folder: Path) -> Path:
    state = {"state": {0: {"exp_avg": torch.full((2, 2), float("nan"))}}, "param_groups": []}
    torch.save({"model": sound(), "optimizer": state}, folder / "a.pt")
    return folder / "a.pt"


def _odd(tensor: torch.Tensor, *, pickled: bool = True):
    def save(folder: Path) -> Path:
        if not pickled:
            save_file({"odd": tensor}, folder / "a.safetensors")
            return folder / "a.safetensors"
        torch.save({"odd": tensor}, folder / "a.pt")
        return folder / "a.pt"

    return save


NAN = float("nan")
HIDDEN = {
    "nested": (_nested, "ema.shadow.1"),
    "optimizer": (_optimizer, "optimizer.state.0.exp_avg"),
    "0-d": (_odd(torch.tensor(NAN)), "odd"),
    "0-d safetensors": (_odd(torch.tensor(NAN), pickled=False), "odd"),
    "last of many": (_odd(torch.ones(1_100_000).index_fill_(0, torch.tensor([1_099_999]), NAN)), "odd"),
    "bfloat16": (_odd(torch.tensor([[1.0, NAN]]).bfloat16()), "odd"),
    "float16": (_odd(torch.tensor([[1.0, NAN]]).half()), "odd"),
    "float64": (_odd(torch.tensor([[1.0, NAN]]).double()), "odd"),
    "e4m3": (_odd(torch.tensor([[1.0, NAN]]).to(torch.float8_e4m3fn), pickled=False), "odd"),
    "e5m2": (_odd(torch.tensor([[1.0, NAN]]).to(torch.float8_e5m2)), "odd"),
    "e8m0": (_odd(torch.tensor([[127, 255]], dtype=torch.uint8).view(torch.float8_e8m0fnu), pickled=False), "odd"),
    "complex": (_odd(torch.tensor([1 + 1j, complex(0, NAN)])), "odd"),
    "complex safetensors": (_odd(torch.tensor([1 + 1j, complex(0, NAN)]), pickled=False), "odd"),
    "expanded": (_odd(torch.tensor([NAN]).expand(1_000_000, 1_000_000)), "odd"),
    "transposed": (_odd(torch.tensor([[1.0, 2.0], [NAN, 3.0]]).t()), "odd"),
}


@pytest.mark.parametrize("where", HIDDEN)
def test_nan_is_found_wherever_it_stands(where: str, tmp_path: Path) -> None:
    save, tensor = HIDDEN[where]
    result = mhcdiag.weights(save(tmp_path))
    assert [(one.kind, one.tensor, one.count) for one in result.nonfinite if one.kind == "nan"][-1][:2] == (
        "nan",
        tensor,
    )
    assert judge_weights(result).verdict == "fail"


def test_scales_that_are_bytes_are_read_as_powers_of_two(tmp_path: Path) -> None:
    scales = torch.full((4, 8, 2), 120, dtype=torch.uint8)
    blocks = torch.randint(0, 256, (4, 8, 2, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = ("mlp.experts.down_proj_blocks", "mlp.experts.down_proj_scales")
    save_file(dict(zip(names, (blocks, scales), strict=True)), tmp_path / "a.safetensors")
    result = mhcdiag.weights(tmp_path / "a.safetensors")
    assert judge_weights(result).verdict == "pass"
    assert next(one for one in result.numbers if "blocks" in one.name).elements == 8 * 2 * 32
    assert max(one.absmax for one in result.numbers if "blocks" in one.name) == 6.0
    scales[2, 7, 1] = 255
    save_file(dict(zip(names, (blocks, scales), strict=True)), tmp_path / "a.safetensors")
    (found,) = mhcdiag.weights(tmp_path / "a.safetensors").nonfinite
    assert (found.tensor, found.position) == ("mlp.experts.down_proj_scales", (2, 7, 1))


@pytest.mark.parametrize(
    ("packed", "scale", "dtype", "per_scale", "is_packed"),
    [
        ("w.weight", "w.scale", torch.float8_e8m0fnu, 32, True),  # DeepSeek-V4
        ("w.weight_packed", "w.weight_scale", torch.uint8, 32, True),  # compressed-tensors, MX
        ("w.weight", "w.weight_scale", torch.float8_e4m3fn, 16, True),  # NVIDIA
        ("w.weight", "w.weight_scale", torch.float32, 32, False),  # one value a byte
        ("w.weight", "w.weight_scale", torch.float8_e8m0fnu, 64, False),
    ],
)
def test_bytes_are_two_values_where_the_scales_beside_them_say_so(
    packed: str, scale: str, dtype: torch.dtype, per_scale: int, is_packed: bool, tmp_path: Path
) -> None:
    scales = torch.full((6, 128 // per_scale), 120, dtype=torch.uint8)
    scales = torch.ones(scales.shape) if dtype == torch.float32 else scales.view(dtype)
    tensors = {packed: torch.full((6, 64), 0x77, dtype=torch.uint8), scale: scales}
    save_file(tensors, tmp_path / "a.safetensors")
    numbers = {one.name: one for one in mhcdiag.weights(tmp_path / "a.safetensors").numbers}
    assert (numbers[packed].elements, numbers[packed].absmax) == ((768, 6.0) if is_packed else (384, 119.0))
    if is_packed and dtype != torch.float32:
        scales.view(torch.uint8)[5, 0] = 0x7F if dtype == torch.float8_e4m3fn else 255
        save_file(tensors, tmp_path / "a.safetensors")
        (found,) = mhcdiag.weights(tmp_path / "a.safetensors").nonfinite
        assert (found.tensor, found.position, found.kind) == (scale, (5, 0), "nan")


def test_one_number_beside_the_model_may_be_infinite(tmp_path: Path) -> None:
    torch.save({"model": sound(), "best_loss": torch.tensor(float("inf"))}, tmp_path / "a.pt")
    result = mhcdiag.weights(tmp_path / "a.pt")
    assert [one.severity for one in result.findings] == ["note"]
    assert judge_weights(result).verdict == "pass"


# What was not looked at is no pass, or is said


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [({}, "the checkpoint holds no tensors"), ({"a": torch.zeros(0, 4)}, "1 tensor without a value")],
)
def test_a_checkpoint_without_a_value_is_unjudged(tensors, reason: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    judged = judge_weights(mhcdiag.weights(tmp_path / "a.safetensors"))
    assert (judged.verdict, judged.reason) == ("unjudged", f"nothing was scanned: {reason}")


def test_a_pattern_that_matches_nothing_is_unjudged(tmp_path: Path) -> None:
    path = as_safetensors(tmp_path / "m", planted("nan"))
    judged = judge_weights(mhcdiag.weights(path, match=["*.nothing.*"]))
    assert judged.verdict == "unjudged"
    assert "none of 58 tensors matches *.nothing.*" in judged.reason


def test_a_pattern_leaves_out_and_the_rest_is_no_whole(tmp_path: Path) -> None:
    path = as_safetensors(tmp_path / "m", planted("nan"))
    result = mhcdiag.weights(path, match=["*.experts.*"])
    assert (result.tensors_scanned, result.left_out, result.is_complete, result.is_finite) == (32, 26, False, False)
    assert judge_weights(result).verdict == "pass"
    assert judge_weights(result, strict=True).verdict == "unjudged"
    assert judge_weights(mhcdiag.weights(path, match=["*.v_proj.*"])).verdict == "fail"


def test_a_sample_is_no_whole(tmp_path: Path) -> None:
    values = torch.ones(2048, 2048) + torch.arange(2048.0)
    values[1000, 1000] = NAN
    save_file({"a": values}, tmp_path / "a.safetensors")
    result = mhcdiag.weights(tmp_path / "a.safetensors", sample=0.01)
    assert 0.01 < result.elements_scanned / result.elements < 0.05
    assert not result.is_finite
    assert judge_weights(result, strict=True).verdict == "unjudged"
    assert judge_weights(mhcdiag.weights(tmp_path / "a.safetensors")).verdict == "fail"


def test_what_is_allowed_is_kept_and_shown(tmp_path: Path) -> None:
    result = mhcdiag.weights(as_safetensors(tmp_path / "m", planted("nan")), allow=["*.v_proj.*"])
    assert (len(result.findings), [one.tensor for one in result.allowed]) == (0, [ATTENTION])
    assert not result.is_finite
    assert judge_weights(result).verdict == "pass"
    assert "1 finding of --allow" in judge_weights(result, strict=True).reason


def test_a_tensor_that_cannot_be_read_leaves_it_unjudged(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4, 4), "b": torch.eye(3).to_sparse()}, tmp_path / "a.pt")
    result = mhcdiag.weights(tmp_path / "a.pt")
    assert [one.what for one in result.skipped] == ["b"]
    assert judge_weights(result).verdict == "unjudged"
    torch.save({"a": torch.tensor([NAN]), "b": torch.eye(3).to_sparse()}, tmp_path / "a.pt")
    assert judge_weights(mhcdiag.weights(tmp_path / "a.pt")).verdict == "fail"


def test_a_shard_that_the_index_does_not_name_is_said(tmp_path: Path) -> None:
    path = CONTAINERS["shards"](tmp_path / "m", sound())
    save_file({"stray": torch.tensor([NAN])}, path / "more.safetensors")
    result = mhcdiag.weights(path)
    assert result.unread == ("1 file beside it, not part of it: 'more.safetensors'",)
    assert judge_weights(result).verdict == "pass"
    assert judge_weights(result, strict=True).verdict == "unjudged"


# Element types that cannot hold a value


def _with_config(folder: Path, tensors: dict[str, torch.Tensor], **config: str) -> Path:
    path = as_safetensors(folder, tensors)
    (path / "config.json").write_text(json.dumps({"model_type": "mixtral", "num_local_experts": 4} | config))
    return path


def test_a_value_that_float16_cannot_hold_is_found(tmp_path: Path) -> None:
    tensors = sound()
    tensors[ATTENTION][0, 0] = 70_000.0
    assert ("overflow", ATTENTION) in serious(mhcdiag.weights(_with_config(tmp_path, tensors, dtype="float16")))
    kinds = {kind for kind, _ in serious(mhcdiag.weights(_with_config(tmp_path, tensors, torch_dtype="bfloat16")))}
    assert "overflow" not in kinds
    tensors[ATTENTION][0, 0] = 65_504.0
    tensors[ATTENTION] = tensors[ATTENTION].half()
    assert ("saturated", ATTENTION) in serious(mhcdiag.weights(_with_config(tmp_path, tensors)))


def test_values_that_float16_flushes_are_found(tmp_path: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in sound().items()}
    assert serious(mhcdiag.weights(_with_config(tmp_path, tensors))) == []
    tensors[ATTENTION] = (sound()[ATTENTION] / 5000).half()
    found = mhcdiag.weights(_with_config(tmp_path, tensors))
    assert ("flush", ATTENTION) in serious(found)
    wide = sound()
    wide[ATTENTION] /= 1e7
    assert ("flush", ATTENTION) in serious(mhcdiag.weights(_with_config(tmp_path, wide, dtype="float16")))
    assert "flush" not in {kind for kind, _ in serious(mhcdiag.weights(_with_config(tmp_path, wide)))}


# Experts in one tensor


def test_experts_that_are_stacked_are_looked_at_one_by_one(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in sound().items() if "experts" not in name}
    for layer in range(4):
        block = f"model.layers.{layer}.block_sparse_moe.experts"
        tensors[f"{block}.gate_up_proj"] = torch.stack([sound()[f"{block}.{e}.w1.weight"] for e in range(4)])
    name = "model.layers.3.block_sparse_moe.experts.gate_up_proj"
    assert serious(mhcdiag.weights(as_safetensors(tmp_path / "a", tensors))) == []
    tensors[name][2] = 0
    tensors[name][3] = tensors[name][0]
    found = {str(one.kind): one for one in mhcdiag.weights(as_safetensors(tmp_path / "b", tensors)).findings}
    assert set(found) == {"zero", "duplicate"}
    assert (found["zero"].tensor, found["zero"].position) == (name, (2,))
    assert (found["duplicate"].position, found["duplicate"].beside) == ((3,), (f"{name}[0]",))
    tensors[name][1, 4, 5] = NAN
    (broken,) = mhcdiag.weights(as_safetensors(tmp_path / "c", tensors)).nonfinite
    assert (broken.tensor, broken.position) == (name, (1, 4, 5))


# Beside other commands


def test_a_local_checkpoint_is_scanned_unless_it_is_large_or_not_wanted(tmp_path: Path, monkeypatch) -> None:
    path = as_safetensors(tmp_path / "m", planted("nan"))
    options = WeightsOptions()
    assert len(weights_beside(path, options, wanted=None).nonfinite) == 1
    said = weights_beside(path, options, wanted=False)
    assert (said.unscanned, said.tensors, said.elements_scanned) == ("--no-scan was given", 58, 0)
    assert not said.is_finite
    monkeypatch.setattr(usecase, "UNASKED", 1000)
    large = weights_beside(path, options, wanted=None)
    assert "more than the 0 GB that are scanned unasked" in large.unscanned
    assert large.expected_seconds == pytest.approx(large.bytes_total / usecase.LOCAL_RATE)
    assert len(weights_beside(path, options, wanted=True).nonfinite) == 1


def test_the_case_of_a_collapsed_mixture_names_experts_and_routers(tmp_path: Path) -> None:
    tensors = sound()
    for layer in range(4):
        block = f"model.layers.{layer}.block_sparse_moe"
        tensors[f"{block}.gate.weight"][1:] = 0
        tensors[f"{block}.experts.2.w1.weight"].zero_()
    found = serious(mhcdiag.weights(as_safetensors(tmp_path / "m", tensors)))
    assert {("router_dead", ROUTER), ("zero", EXPERT)} <= set(found)
    assert len(found) == 8

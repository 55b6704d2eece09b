"""`mhcdiag inspect` and `mhcdiag layouts` through the command line."""

import json

import pytest
import torch
from layouts.alpha_families import mhc_lite_mhc
from stacks import CONFIG, deepseek_v4_tensors, write

import mhcdiag
from mhcdiag.cli.main import run
from mhcdiag.layouts import LAYOUTS
from mhcdiag.tensorfiles import CONTAINERS


def test_a_recognised_checkpoint_says_what_is_what(tmp_path, capsys):
    tensors = deepseek_v4_tensors() | {"hc_head_fn": torch.zeros(2, 14), "mtp.0.my_h_res": torch.zeros(2, 2)}
    path = write(tmp_path, tensors | {"other.h_pre": torch.zeros(3)}, config=CONFIG)
    assert run(["inspect", str(path), "--verbose"]) == 0
    out = capsys.readouterr().out
    for line in (
        "layout     deepseek-v4 (deepseek_v4): 6 sites, 0.attn to 2.ffn",
        "tensors of sites: 18",
        "layers.2.hc_ffn_scale   F32  [3]  2.ffn scale",
        "excluded by design: 2",
        "look like a mixer and are not used: 1",
        "other.h_pre",
        "model_type = 'deepseek_v4'; hc_mult = 2",
    ):
        assert line in out


def test_only_headers_are_read(tmp_path):
    tensors = deepseek_v4_tensors() | {"embed.weight": torch.zeros(1000, 1000)}
    result = mhcdiag.inspect(write(tmp_path, tensors, config=CONFIG))
    assert result.bytes_read < 10_000
    assert result.bytes_total > 4_000_000
    assert result.parameters > 1_000_000
    assert result.tensors == 19


def test_a_failed_recognition_says_why_and_exits_with_2(tmp_path, capsys):
    tensors = {name: tensor for name, tensor in deepseek_v4_tensors().items() if name != "layers.1.hc_attn_base"}
    assert run(["inspect", str(write(tmp_path, tensors, config=CONFIG))]) == 2
    out = capsys.readouterr().out
    assert "not recognised: layer 1 has layers.1.hc_attn_fn but no base beside it" in out
    assert "tried      deepseek-v4: layer 1 has" in out
    assert "layers.0.hc_attn_base" in out


def test_two_layouts_that_fit_are_both_named(tmp_path, capsys):
    model = mhc_lite_mhc(None).tensors
    silent = ("static_alpha", "dynamic_alpha_fn")  # zeros show neither the one nor the other
    tensors = {name: torch.tensor(v * (not name.endswith(silent)), dtype=torch.float32) for name, v in model.items()}
    assert run(["inspect", str(write(tmp_path, tensors))]) == 2
    out = capsys.readouterr().out
    assert "layouts mhc-lite-mhc and tbp-mhc both fit" in out
    assert "tried      mhc-lite-mhc: fits" in out
    assert run(["inspect", str(tmp_path), "--layout", "tbp-mhc"]) == 0


def test_json_holds_the_same(tmp_path, capsys):
    path = write(tmp_path, deepseek_v4_tensors(), config=CONFIG)
    assert run(["inspect", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert found["layout"] == "deepseek-v4"
    assert len(found["mixers"]) == 18
    assert found["mixers"][0] == {"name": "layers.0.hc_attn_base", "dtype": "F32", "shape": [8], "use": "0.attn base"}


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path, capsys):
    path = write(tmp_path, deepseek_v4_tensors(), config=CONFIG)
    assert run(["inspect", str(tmp_path / "absent"), str(path)]) == 2
    captured = capsys.readouterr()
    assert "no such file" in captured.err
    assert "deepseek-v4" in captured.out


@pytest.mark.parametrize("as_json", [False, True])
def test_layouts_lists_all_with_source_and_status(capsys, as_json: bool):
    assert run(["layouts", *(["--json"] if as_json else [])]) == 0
    out = capsys.readouterr().out
    if as_json:
        found = json.loads(out)
        assert [each["name"] for each in found["layouts"]] == [each.name for each in LAYOUTS]
        assert [each["title"] for each in found["containers"]] == [each.title for each in CONTAINERS]
        assert all(each["source"] and each["status"] for each in found["layouts"])
        return
    joined = " ".join(out.split())
    for each in LAYOUTS:
        assert f"{each.name} [{each.evidence}]" in joined
        assert " ".join(each.source.split()) in joined

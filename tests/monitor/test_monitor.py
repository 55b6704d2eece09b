"""Gains while a model trains: what is reported, when, and that nothing else changes."""

import copy
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from packages import lucidrains_stacks
from reference import reference
from torch import nn

from mhcdiag import Monitor
from mhcdiag.errors import GainAlarmError, OutputError, SettingError
from mhcdiag.kernels.choice import Implementation
from mhcdiag.kernels.composite import dispatch
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.monitor import reducing
from mhcdiag.monitor.catching import spread
from mhcdiag.results.gain import LiveGains
from mhcdiag.usecases.log_judging import read_table
from mhcdiag.usecases.options import LogOptions

SITES, STREAMS = 6, 3


def stack(seed: int = 0) -> lucidrains_stacks.Stack:
    return lucidrains_stacks.stack("mhc", sites=SITES, streams=STREAMS, dim=11, seed=seed).train()


def train(model: nn.Module, steps: int, monitor: Monitor | None) -> list[float]:
    """A few steps on random tokens, with dropout, so that a random number drawn on the side would show."""
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(steps):
        ids = lucidrains_stacks.token_ids(step)
        out = nn.functional.dropout(model(ids), 0.3)
        loss = nn.functional.cross_entropy(out.flatten(0, 1), ids.flatten() % out.shape[-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if monitor is not None:
            monitor.step()
    return losses


@pytest.fixture
def deterministic():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    yield
    torch.use_deterministic_algorithms(mode=False)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("deterministic")
def test_training_is_the_same_bit_for_bit_with_and_without():
    plain, watched = stack(), stack()
    names = [name for name, _ in watched.state_dict().items()]
    without = train(plain, 7, None)
    with Monitor(watched, every=2) as monitor:
        assert train(watched, 7, monitor) == without
        assert monitor.last.step == 7
    assert list(watched.state_dict()) == names
    for mine, theirs in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.modules())


def test_reports_are_the_gains_of_what_ran(tmp_path: Path):
    model = stack()
    ids = lucidrains_stacks.token_ids(5)
    expected = reference(lucidrains_stacks.captured_maps(model, ids))
    model.train()
    with Monitor(model, jsonl=tmp_path / "gains.jsonl") as monitor:
        model(ids)
        found = monitor.step()
    assert found.tokens == ids.numel()
    np.testing.assert_allclose(found.prefix_forward, expected.gain["prefix", "forward", "norm", "mean"], rtol=1e-4)
    np.testing.assert_allclose(found.suffix_backward, expected.gain["suffix", "backward", "norm", "mean"], rtol=1e-4)
    kinds = ("single", "prefix", "suffix")
    for direction, largest, worst in (
        ("forward", found.forward, found.forward_max),
        ("backward", found.backward, found.backward_max),
    ):
        assert largest == pytest.approx(max(max(expected.gain[k, direction, "norm", "mean"]) for k in kinds), rel=1e-4)
        assert worst == pytest.approx(max(max(expected.gain[k, direction, "norm", "max"]) for k in kinds), rel=1e-4)
    line = json.loads((tmp_path / "gains.jsonl").read_text())
    assert line["gain_forward"] == found.forward
    assert line["gain_backward_max"] == found.backward_max
    assert list(line)[:3] == ["step", "gain_forward", "gain_backward"]
    assert "forward" not in line
    assert line["sites"] == [name for name, _ in model.wrappers()]
    assert line["stack"] == "layers"


def test_every_so_many_steps():
    identity = torch.eye(2).expand(5, 2, 2)
    reported = []
    with Monitor(every=3) as monitor:
        for _ in range(8):
            monitor.observe("a", identity)
            if (found := monitor.step()) is not None:
                reported.append(found.step)
    assert reported == [1, 4, 7]


def test_the_first_pass_counts_and_validation_does_not():
    model = stack()
    first, other = lucidrains_stacks.token_ids(0), lucidrains_stacks.token_ids(1)
    with Monitor(model) as monitor:
        with torch.no_grad():
            model.eval()(other)
        model.train()(first)
        model(other)
        once = monitor.step()
    with Monitor(model) as monitor:
        model(first)
        assert monitor.step() == once


@pytest.mark.parametrize(("batch", "length"), [(256, 64), (512, 128), (64, 1024), (16, 4096), (7, 300), (1, 1000)])
def test_tokens_are_spread_over_positions(batch: int, length: int):
    """The first token of a sequence is unlike the others: it counts as often as it should, whatever the shape."""
    maps = torch.eye(2).expand(batch, length, 2, 2).clone()
    maps[:, 0] *= 5
    with Monitor(tokens=256) as monitor:
        monitor.observe("a", maps)
        found = monitor.step()
    assert found.tokens == 256
    assert found.forward == pytest.approx(1 + 4 / length, abs=4 * 2 / 256)


@pytest.mark.parametrize("count", [257, 300, 500, 512, 1000, 4096, 65_537])
def test_kept_tokens_reach_to_the_end(count: int):
    """About 64 of 256 from each quarter (9 more at worst, for 1000), also where few tokens are left out."""
    quarters = spread(count, 256).mul(4).div(count, rounding_mode="floor").long().bincount(minlength=4)
    assert (quarters - 64).abs().max() <= 9


@pytest.mark.parametrize("count", [6, 7, 64, 999, 1 << 20])
def test_kept_tokens_are_different_ones(count: int):
    places = spread(count, 5).tolist()
    assert len(set(places)) == 5
    assert all(0 <= place < count for place in places)


def test_a_pass_that_was_broken_off_and_tried_again_is_not_mixed_with_the_next():
    model, ids = stack(), lucidrains_stacks.token_ids(3)
    failing = list(model.modules())[-1].register_forward_hook(raise_once())
    with Monitor(model) as monitor:
        with pytest.raises(MemoryError):
            model(ids)
        failing.remove()
        model(ids[:1])
        retried = monitor.step()
    with Monitor(model) as monitor:
        model(ids[:1])
        assert monitor.step() == retried


def raise_once() -> Callable[..., None]:
    def hook(*_: object) -> None:
        raise MemoryError

    return hook


def test_copies_and_saved_models_take_no_hook_along(tmp_path: Path):
    model, ids = stack(), lucidrains_stacks.token_ids(3)
    with Monitor(model) as monitor:
        average = copy.deepcopy(model)
        average(ids[:1])
        torch.save(model, tmp_path / "model.pt")
        model(ids)
        found = monitor.step()
    with Monitor(model) as monitor:
        model(ids)
        assert monitor.step() == found
    torch.load(tmp_path / "model.pt", weights_only=False)(ids)


def test_a_resumed_run_counts_on():
    with Monitor(every=2, steps_done=5) as monitor:
        assert [found and found.step for found in (observed(monitor, 1.0) for _ in range(4))] == [6, None, 8, None]


def observed(monitor: Monitor, gain: float) -> LiveGains:
    monitor.observe("a", torch.eye(2)[None] * gain)
    return monitor.step()


@pytest.mark.parametrize(("limits", "gains", "reason"), [
    ({"max_gain": 10.0}, [9.0, 11.0], "step 2: composite gain 11.00 above the limit 10.00"),
    ({"max_gain": 10.0}, [9.0, math.nan], "step 2: composite gain nan above the limit 10.00"),
    ({"max_growth": 3.0}, [2.0, 5.0, 16.0], "step 3: composite gain 16.00 after 5.000 at step 2, more than 3.000"),
])  # fmt: skip
def test_an_alarm_names_step_gain_and_limit(
    limits: dict, gains: list[float], reason: str, caplog: pytest.LogCaptureFixture
):
    calls: list[tuple[int, str]] = []
    with Monitor(every=1, on_alarm=lambda found, why: calls.append((found.step, why)), **limits) as monitor:
        for gain in gains:
            observed(monitor, gain)
    assert [step for step, _ in calls] == [len(gains)]
    assert calls[0][1].startswith(reason)
    with Monitor(every=1, **limits) as monitor, caplog.at_level(logging.WARNING, logger="mhcdiag"):
        for gain in gains:
            observed(monitor, gain)
    assert reason in caplog.text
    with Monitor(every=1, on_alarm="stop", **limits) as monitor:
        for gain in gains[:-1]:
            observed(monitor, gain)
        with pytest.raises(GainAlarmError, match=r"composite gain"):
            observed(monitor, gains[-1])


def test_nan_is_written_as_text(tmp_path: Path):
    with Monitor(jsonl=tmp_path / "gains.jsonl") as monitor:
        observed(monitor, math.nan)
    assert json.loads((tmp_path / "gains.jsonl").read_text())["gain_forward"] == "nan"


def test_scalars_go_to_the_writers_of_the_user():
    written: list[tuple[str, float, int]] = []
    logged: list[dict[str, float]] = []

    class Writer:
        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

    class Run:
        def log(self, values: dict[str, float]) -> None:
            logged.append(values)

    with Monitor(tensorboard=Writer(), wandb=Run()) as monitor:
        observed(monitor, 100.0)
    assert ("gain/forward", 100.0, 1) in written
    assert ("gain/log10_backward", 2.0, 1) in written
    assert logged[0]["gain/step"] == 1
    assert logged[0]["gain/backward_max"] == 100.0


def test_tensorboard_holds_what_was_written(tmp_path: Path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer, Monitor(tensorboard=writer) as monitor:
        observed(monitor, 100.0)
    columns = read_table(str(tmp_path), LogOptions()).columns
    assert list(columns["gain/forward"]) == [100.0]
    assert list(columns["gain/log10_backward"]) == [2.0]


def test_a_model_without_known_mappings_is_refused():
    with pytest.raises(SettingError, match=r"Linear holds no module .* call observe"), Monitor(nn.Linear(2, 2)):
        pass


def test_sites_that_disagree_are_refused():
    with Monitor() as monitor:
        monitor.observe("a", torch.eye(2)[None])
        monitor.observe("b", torch.eye(3)[None])
        with pytest.raises(SettingError, match=r"expected the same tokens and streams"):
            monitor.step()


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"tokens": 0},
        {"steps_done": -1},
        {"on_alarm": "panic"},
        {"on_alarm": None},
        {"max_gain": "10"},
        {"max_gain": math.nan},
        {"max_growth": 0},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict):
    with pytest.raises(SettingError, match="expected"):
        Monitor(**options)


def test_a_file_that_cannot_be_written_is_named_before_the_first_step(tmp_path: Path):
    with pytest.raises(OutputError, match=r"nowhere/gains.jsonl: No such file"):
        Monitor(jsonl=tmp_path / "nowhere" / "gains.jsonl")


def test_a_disk_that_fills_up_does_not_end_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with Monitor(jsonl=tmp_path / "g.jsonl") as monitor:
        (tmp_path / "g.jsonl").unlink()
        (tmp_path / "g.jsonl").mkdir()  # root may write to everything else
        assert observed(monitor, 1.0).forward == 1.0
    assert "report not written" in caplog.text


def test_a_step_without_a_pass_gives_no_report_and_says_so(caplog: pytest.LogCaptureFixture):
    with Monitor(stack()) as monitor:
        assert monitor.step() is None
    assert "no site ran" in caplog.text


@pytest.mark.parametrize("is_cuda", [False, True])
def test_on_a_gpu_one_program_takes_the_place_of_many(is_cuda: bool, monkeypatch: pytest.MonkeyPatch):
    """No GPU is needed to see what would be chosen there."""
    of_gpu = ReferenceKernel()
    triton = Implementation(name="triton", load=lambda: of_gpu, device="cuda")
    monkeypatch.setattr(dispatch, "KERNELS", (triton, *dispatch.KERNELS))
    maps = SimpleNamespace(is_cuda=is_cuda, dtype=torch.bfloat16, shape=(60, 4, 4, 256))
    assert (reducing._kernel_for(maps) is of_gpu) == is_cuda

"""Whatever a model holds or does, a monitored training goes on: what cannot be read is said once."""

import logging
from pathlib import Path

import pytest
import torch
from packages import lucidrains_stacks
from packages.live_models import tower, worst
from torch import nn

from mhcdiag import Monitor
from mhcdiag.errors import SettingError
from mhcdiag.results.gain import LiveGains

IDS = lucidrains_stacks.token_ids(1)
MAPS = lucidrains_stacks.captured_maps(tower(0), IDS)


class Mixer(nn.Module):
    """Looks like a mixer of transformers, and returns anything."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.fn, self.base, self.scale = (nn.Parameter(torch.zeros(*shape)) for shape in ((15, 12), (15,), (3,)))
        self.hc_mult, self.hc_sinkhorn_iters, self.output = 3, 3, output

    def forward(self, _streams: torch.Tensor) -> object:
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


class Beside(nn.Module):
    """A sound stack, and something strange beside it."""

    def __init__(self, strange: nn.Module) -> None:
        super().__init__()
        self.sound, self.strange = tower(0), strange

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        self.strange(torch.randn(2, 5, 3, 4))
        return self.sound(ids)


def trained(model: nn.Module, caplog: pytest.LogCaptureFixture, steps: int = 3) -> tuple[list[LiveGains], list[str]]:
    caplog.clear()
    with Monitor(model, every=1) as monitor, caplog.at_level(logging.WARNING, logger="mhcdiag"):
        found = []
        for _ in range(steps):
            model(IDS).square().mean().backward()
            found.append(monitor.step())
    return found, [record.getMessage() for record in caplog.records]


POST = torch.zeros(2, 5, 3)
OUTPUTS = {
    "nothing": (None, "it returned NoneType; expected post, comb"),
    "one tensor": (torch.zeros(2, 5, 3, 3), "it returned Tensor; expected post, comb"),
    "too few": ((POST,), "it returned tuple; expected post, comb"),
    "text": ("abc", "it returned str"),
    "whole numbers": ((POST, torch.zeros(2, 5, 3, 3, dtype=torch.long)), "type int64; expected a dense floating-point"),
    "not square": ((POST, torch.zeros(2, 5, 3, 4)), "H of shape [2, 5, 4, 3]"),
    "complex": ((POST, torch.zeros(2, 5, 3, 3, dtype=torch.complex64)), "type complex64"),
    "meta": ((POST, torch.zeros(2, 5, 3, 3, device="meta")), "on the meta device"),
    "empty": ((POST, torch.zeros(0, 3, 3)), "at least one token and one stream"),
    "other tokens": ((POST, torch.zeros(7, 3, 3)), "7 mappings of 3 streams for an input of shape [2, 5, 3, 4]"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_hook_that_fails_is_taken_away_with_one_warning(kind: str, caplog: pytest.LogCaptureFixture):
    output, reason = OUTPUTS[kind]
    model = Beside(Mixer(output))
    found, said = trained(model, caplog)
    assert len(said) == 1
    assert "site strange is not in the reports of gains" in said[0]
    assert reason in said[0]
    for each in found:
        assert (each.unread, each.stacks) == (("strange",), ())
        assert each.forward == pytest.approx(worst(MAPS), rel=1e-5)
    assert not model.strange._forward_hooks


def test_what_is_left_out_stands_in_the_log(tmp_path: Path):
    model = Beside(Mixer(None))
    with Monitor(model, jsonl=tmp_path / "gains.jsonl") as monitor:
        model(IDS)
        monitor.step()
    assert '"unread": ["strange"]' in (tmp_path / "gains.jsonl").read_text()


class Evil(nn.Module):
    """Its attributes raise what no `hasattr` expects."""

    def __getattr__(self, name: str) -> object:
        if name in ("fn", "static_alpha", "mapping_proj"):
            raise RuntimeError("not yet")
        return super().__getattr__(name)

    def forward(self, streams: torch.Tensor) -> torch.Tensor:
        return streams


class LookAlike(nn.Module):
    """The parameters of hyper-connections, and another way to mix."""

    def __init__(self, **changes: object) -> None:
        super().__init__()
        self.static_alpha, self.dynamic_alpha_fn = nn.Parameter(torch.eye(3, 4)), nn.Parameter(torch.zeros(4, 4))
        self.num_residual_streams, self.norm = 3, nn.LayerNorm(4, bias=False)
        for name, value in changes.items():
            delattr(self, name)
            setattr(self, name, value)

    def forward(self, streams: torch.Tensor) -> torch.Tensor:
        return streams


class Squaring(LookAlike):
    def width_connection(self, residuals):
        self.norm(residuals)
        return residuals, residuals.square(), {}


class Raising(LookAlike):
    def width_connection(self, residuals):
        raise KeyError("mask")


TRIALS = {
    "no method": (LookAlike(), "neither of width_connection, prepare"),
    "norm is a function": (Squaring(norm=lambda x: x), "its norm is no module"),
    "not linear": (Squaring(), "not linear in them"),
    "raises": (Raising(), "KeyError: 'mask'"),
}


@pytest.mark.parametrize("kind", TRIALS)
def test_what_only_looks_like_a_wrapper_is_found_out_at_the_start(kind: str, caplog: pytest.LogCaptureFixture):
    strange, reason = TRIALS[kind]
    found, said = trained(Beside(strange), caplog)
    assert len(said) == 1
    assert reason in said[0]
    assert [each.unread for each in found] == [("strange",)] * 3
    with pytest.raises(SettingError, match="holds no module whose mappings are known; itself: "):
        Monitor(strange)


def test_attributes_that_raise_are_no_sites(caplog: pytest.LogCaptureFixture):
    found, said = trained(Beside(Evil()), caplog)
    assert (said, [each.unread for each in found]) == ([], [()] * 3)


def test_a_model_that_raises_raises_what_it_raised():
    model = Beside(Mixer(ValueError("no gradient")))
    with Monitor(model) as monitor:
        with pytest.raises(ValueError, match="no gradient"):
            model(IDS)
        assert monitor.step() is None
        model.strange.output = (POST, torch.eye(3).expand(2, 5, 3, 3))
        monitor._catcher.arm()
        model(IDS)
        assert len(monitor.step().stacks) == 2


def test_a_report_that_fails_does_not_end_the_training(monkeypatch, caplog: pytest.LogCaptureFixture):
    from mhcdiag.monitor import live

    monkeypatch.setattr(live, "live_gains", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no LAPACK")))
    found, said = trained(tower(0), caplog, steps=1)
    assert found == [None]
    assert "no report of gains: RuntimeError: no LAPACK" in said[0]


def test_a_tracker_that_fails_does_not_end_the_training(caplog: pytest.LogCaptureFixture):
    class Run:
        def log(self, _values):
            raise ConnectionError("no route to host")

    with Monitor(wandb=Run()) as monitor, caplog.at_level(logging.WARNING, logger="mhcdiag"):
        monitor.observe("a", torch.eye(2)[None])
        assert monitor.step().forward == 1.0
    assert "report not written: no route to host" in caplog.text


def test_transforms_of_functions_and_inference_leave_it_alone():
    from torch.func import functional_call, grad

    model = tower(0)
    parameters = dict(model.named_parameters())
    with Monitor(model, every=1) as monitor:
        grad(lambda values: functional_call(model, values, (IDS,)).square().mean())(parameters)
        assert monitor.step().forward == pytest.approx(worst(MAPS), rel=1e-5)
        with torch.inference_mode():
            model(IDS)
        assert monitor.step().forward == pytest.approx(worst(MAPS), rel=1e-5)


WRONG = {
    "whole numbers": torch.ones(2, 3, 3, dtype=torch.int32),
    "yes and no": torch.ones(3, 3, dtype=torch.bool),
    "complex": torch.ones(3, 3, dtype=torch.complex64),
    "not square": torch.ones(5, 2, 3),
    "a vector": torch.ones(3),
    "no token": torch.ones(0, 3, 3),
    "no stream": torch.ones(5, 0, 0),
    "meta": torch.ones(3, 3, device="meta"),
    "sparse": torch.eye(3).to_sparse(),
    "a list": [[1.0]],
    "nothing": None,
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_mapping_is_refused_where_it_is_handed_over(kind: str):
    with Monitor(every=5) as monitor:
        for _ in range(2):  # at steps that are not reported, too
            with pytest.raises(SettingError, match=r"expected a dense floating-point tensor \[\.\.\., n, n\]"):
                monitor.observe("a", WRONG[kind])
            monitor.observe("a", torch.eye(2))
            monitor.step()


def test_sites_that_come_again_are_micro_batches_and_that_is_said(caplog: pytest.LogCaptureFixture):
    with Monitor(every=1) as monitor, caplog.at_level(logging.WARNING, logger="mhcdiag"):
        for _ in range(2):
            for gain in (2.0, 5.0):
                for site in "ab":
                    monitor.observe(site, torch.eye(2)[None] * gain)
            assert monitor.step().forward == 4.0
    assert caplog.text.count("the same 2 sites were handed over 2 times in a step") == 1


def test_a_site_that_comes_again_among_others_counts_again():
    with Monitor() as monitor:
        for site in ("a", "b", "b", "b", "c"):
            monitor.observe(site, torch.eye(2)[None] * 2)
        found = monitor.step()
    assert (found.forward, found.sites) == (32.0, ("a", "b", "b@2", "b@3", "c"))


def test_stacks_can_be_handed_over_by_name(tmp_path: Path):
    with Monitor(jsonl=tmp_path / "gains.jsonl") as monitor:
        monitor.observe("a", torch.eye(2)[None] * 3, stack="encoder")
        monitor.observe("a", torch.eye(4).expand(7, 4, 4) * 5, stack="decoder")
        monitor.observe("b", torch.eye(2)[None] * 3, stack="encoder")
        found = monitor.step()
    assert [(each.stack, each.forward, each.tokens) for each in found.stacks] == [
        ("encoder", 9.0, 1),
        ("decoder", 5.0, 7),
    ]
    import json

    line = json.loads((tmp_path / "gains.jsonl").read_text())
    assert (line["gain_forward"], line["stack"]) == (9.0, "encoder")
    assert line["stacks"]["decoder"]["gain_backward"] == 5.0


def test_parts_of_a_model_that_run_again_by_themselves_are_said_to_count_once(caplog: pytest.LogCaptureFixture):
    model = tower(0)
    with Monitor(model, every=1) as monitor, caplog.at_level(logging.WARNING, logger="mhcdiag"):
        streams = model.pack(model.embedding(IDS).unsqueeze(2).expand(-1, -1, 3, -1))
        for _ in range(3):
            for layer in model.layers:
                streams = layer(streams)
        assert len(monitor.step().sites) == 6
    assert "'layers.0' ran more than once in a step outside of the model's own forward pass" in caplog.text


class Odd(dict):
    """What a block returns beside its streams; its values cannot be listed."""

    def values(self):
        raise RuntimeError("lazy")


def test_outputs_of_blocks_may_be_anything():
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sound = tower(0)

        def forward(self, ids):
            return Odd(out=self.sound(ids))

    model = Strange()
    with Monitor(model, every=1) as monitor:
        for _ in range(2):
            model(IDS)["out"].mean().backward()
            assert monitor.step().forward == pytest.approx(worst(MAPS), rel=1e-5)

"""Each check on a sick model, made by doing the bug, and on a healthy one, where all are silent."""

import json

import pytest
import torch
from layouts.reference_model import softmax_sinkhorn
from measures.test_paper_figure8 import FIGURE
from safetensors.torch import load_file, save_file
from stacks import CONFIG, deepseek_v4_tensors, write

import mhcdiag
from mhcdiag.cli.main import run
from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.health_checks import CHECKS
from mhcdiag.results.numbers import text

STREAMS, WIDTH, TOKENS = 4, 7, 6


def v4(*, layers: int = 3, diagonal: float = 3.0, spread: float = 0.3, **changes: float) -> dict[str, torch.Tensor]:
    """A model whose mixers keep streams apart, converge and learn."""
    tensors = deepseek_v4_tensors(layers=layers, streams=STREAMS, width=WIDTH)
    noise = torch.Generator().manual_seed(0)
    for name in tensors:
        if name.endswith("_base"):
            gates = torch.randn(2 * STREAMS, generator=noise) * 0.3
            logits = torch.eye(STREAMS) * diagonal + torch.randn(STREAMS, STREAMS, generator=noise) * spread
            tensors[name] = torch.cat([gates, logits.flatten()])
        elif name.endswith("_scale"):
            tensors[name] = torch.full((3,), changes.get("alpha", 0.3))
        else:
            tensors[name] = tensors[name] * 0.1
    return tensors


def config(layers: int = 3, iterations: int = 20) -> dict[str, object]:
    return CONFIG | {"num_hidden_layers": layers, "hc_mult": STREAMS, "hidden_size": WIDTH,
                     "hc_sinkhorn_iters": iterations}  # fmt: skip


def save(tmp_path, tensors, **settings):
    return write(tmp_path, tensors, config=config(**settings))


def findings(result) -> dict[str, list[str]]:
    """What each check found, by name; checks that found nothing are left out."""
    return {check.name: [f.what for f in check.findings] for check in result.checks if check.findings}


def checked(result) -> set[str]:
    return {check.name for check in result.checks if not check.not_checkable}


def implementation(tensors, path: str, x, *, bug: str = ""):
    """post [token, n] and H [token, n, n] as an implementation of DeepSeek-V4 computes them, in float64."""
    fn, base, scale = (tensors[f"{path}{role}"].double() for role in ("fn", "base", "scale"))
    flat = x.double().flatten(1)
    projected = flat / (flat.square().mean(dim=1, keepdim=True) + 1e-6).sqrt() @ fn.T
    order = {"post first": (1, 0, 2), "comb first": (2, 0, 1)}.get(bug, (0, 1, 2))
    sizes = [(STREAMS, STREAMS, STREAMS**2)[part] for part in order]
    logits = dict(zip(order, zip(projected.split(sizes, dim=1), base.split(sizes), strict=True), strict=True))
    post, comb = (logits[part][0] * scale[part] + logits[part][1] for part in (1, 2))
    iterations, eps = {"two iterations": (2, 1e-6), "large eps": (20, 1e-3)}.get(bug, (20, 1e-6))
    combs = [softmax_sinkhorn(one.view(STREAMS, STREAMS).numpy(), iterations, eps) for one in comb]
    return (2 * post.sigmoid()).float(), torch.stack([torch.tensor(one.T.copy()).float() for one in combs])


def captured(tmp_path, *, bug: str = "", **changes: float):
    """Captured activations of an implementation of `v4`, right or with one bug."""
    generator = torch.Generator().manual_seed(5)
    tensors, file = v4(**changes), {}
    x = torch.randn(TOKENS, STREAMS, WIDTH, generator=generator)
    for site in range(6):
        post, h_res = implementation(tensors, f"layers.{site // 2}.hc_{('attn', 'ffn')[site % 2]}_", x, bug=bug)
        branch = torch.randn(TOKENS, WIDTH, generator=generator) * 0.1
        used = {"transposed": h_res.mT, "not mixed": torch.eye(STREAMS)}.get(bug, h_res)
        file |= {
            f"layers.{site}.x_in": x.clone(),
            f"layers.{site}.branch": branch,
            f"layers.{site}.h_res": h_res.clone(),
        }
        file[f"layers.{site}.post"] = (post / 2 if bug == "post halved" else post).contiguous()
        if bug == "captured transposed":
            file[f"layers.{site}.h_res"] = h_res.mT.contiguous()
        x = used @ x + post[..., None] * branch[:, None]
        file[f"layers.{site}.x_out"] = x.clone()
    folder = tmp_path / "run"
    folder.mkdir()
    save_file(file, folder / "captured.safetensors")
    return folder / "captured.safetensors"


def test_all_checks_are_silent_on_a_healthy_model(tmp_path):
    result = mhcdiag.health(save(tmp_path, v4()), captured=captured(tmp_path))
    assert findings(result) == {}
    plain = {"scales", "deepnorm", "attention", "norms", "writers"}  # what these models do not have
    assert checked(result) == {check.name for check in CHECKS} - plain
    assert result.worst() is None


def test_weights_alone_cannot_tell_orientation(tmp_path):
    result = mhcdiag.health(save(tmp_path, v4()))
    (conformance,) = [check for check in result.checks if check.name == "conformance"]
    assert conformance.not_checkable.startswith("not checkable from weights")
    assert not conformance.findings


@pytest.mark.parametrize(
    ("bug", "found"),
    [
        ("transposed", "H is applied transposed"),
        ("not mixed", "the streams are never mixed"),
        ("post halved", "post is half of what is applied"),
        ("post first", "follows slices in the order post|pre|res"),
        ("comb first", "follows slices in the order res|pre|post"),
    ],
)
def test_wrong_implementations_are_named(tmp_path, bug: str, found: str):
    result = mhcdiag.health(save(tmp_path, v4()), captured=captured(tmp_path, bug=bug), only=["conformance"])
    assert any(found in what for what in findings(result)["conformance"])
    assert result.worst() == "fail"


@pytest.mark.parametrize(
    ("bug", "found"), [("two iterations", "follows 2 Sinkhorn iterations"), ("large eps", "follows Sinkhorn eps 0.001")]
)
def test_another_iteration_is_named(tmp_path, bug: str, found: str):
    path = save(tmp_path, v4(spread=1.0))
    result = mhcdiag.health(path, captured=captured(tmp_path, bug=bug, spread=1.0), only=["conformance"])
    assert any(found in what for what in findings(result)["conformance"])


def test_activations_of_another_checkpoint_are_named(tmp_path):
    tensors = {name: t.roll(1) if name.endswith("base") else t for name, t in v4(spread=1.0).items()}
    result = mhcdiag.health(save(tmp_path, tensors), captured=captured(tmp_path), only=["conformance"])
    assert any("is not what these weights give" in what for what in findings(result)["conformance"])


def test_streams_of_another_width_are_refused(tmp_path):
    path = save(tmp_path, v4())
    file = captured(tmp_path)
    tensors = {name: t[..., :-1].contiguous() if t.shape[-1] == WIDTH else t for name, t in load_file(file).items()}
    save_file(tensors, file)
    expected = r"captured streams have 24 numbers a token, the projection of site 0\.attn takes 28"
    with pytest.raises(SettingError, match=expected):
        mhcdiag.health(path, captured=file)


def test_a_comb_captured_without_its_transpose_has_the_wrong_exact_side(tmp_path):
    path = save(tmp_path, v4(), iterations=2)
    file = captured(tmp_path, bug="captured transposed")
    result = mhcdiag.health(path, captured=file, only=["conformance"])
    assert any("H is applied transposed" in what for what in findings(result)["conformance"])


def test_a_low_temperature_freezes_the_mixer(tmp_path):
    """tau 0.05 with the -8 start: the identity, without gradient."""
    start = torch.full((STREAMS, STREAMS), -8.0).fill_diagonal_(0)
    tensors = {f"h.{i}.hc_{kind}.H_res_logits": start.clone() for i in range(3) for kind in ("attn", "mlp")}
    frozen = {"sinkhorn_tau": 0.05, "sinkhorn_iters": 10, "mhc_h_res_proj": "sinkhorn"}
    path = write(tmp_path / "sick", tensors, config=frozen)
    result = mhcdiag.health(path)
    assert any("H_res is the identity at 6 of 6 sites" in what for what in findings(result)["frozen"])
    assert any("logit range 160 (> 87)" in what for what in findings(result)["sinkhorn"])
    stuck = mhcdiag.health(path, against=path)
    assert any("has not moved" in what for what in findings(stuck)["frozen"])
    assert [f.severity for check in stuck.checks if check.name == "frozen" for f in check.findings] == ["fail"]
    healthy = mhcdiag.health(write(tmp_path / "healthy", tensors, config=frozen | {"sinkhorn_tau": 3.0}))
    assert not {"frozen", "sinkhorn"} & set(findings(healthy))


def test_two_iterations_do_not_converge(tmp_path):
    """As nanowhale has them, on logits that twenty iterations manage."""
    tensors = v4(spread=1.5)
    sick = mhcdiag.health(save(tmp_path / "two", tensors, iterations=2))
    assert any("sums are off by" in what for what in findings(sick)["sinkhorn"])
    healthy = mhcdiag.health(save(tmp_path / "twenty", tensors, iterations=100))
    assert not any("sums are off by" in what for what in findings(healthy).get("sinkhorn", []))


@pytest.mark.parametrize("inputs", ["random", "static"])
def test_the_iterations_that_are_said_to_do_are_those_that_it_takes(tmp_path, inputs: str):
    """Neither fewer nor more than the layout itself needs, in the mean over tokens and for every token."""
    path = save(tmp_path, v4(spread=3.0, alpha=2.0))

    def sinkhorn(iterations: int, limit: str = "residual_warn"):
        return mhcdiag.health(path, inputs=inputs, sinkhorn_iters=iterations, only=["sinkhorn"]).checks[0]

    check = sinkhorn(3)
    mean, every = (max(map(int, check.per_site[key])) for key in ("iterations_needed", "iterations_every_token"))
    assert f"; {mean} iterations bring the mean over these tokens to 0.001, {every} each of them" in (
        check.findings[0].what
    )
    assert max(sinkhorn(mean).per_site["residual"]) <= 1e-3 < max(sinkhorn(mean - 1).per_site["residual"])
    assert max(sinkhorn(every).per_site["iterations_every_token"]) == every
    assert max(sinkhorn(every - 1).per_site["iterations_every_token"]) == every
    assert (every > mean) is (inputs == "random")


def test_the_input_dependent_part_counts_in_the_range_of_logits(tmp_path):
    """What a token's logits span, by projecting inputs of RMS 1 as the implementation does."""
    tensors = v4(alpha=40.0)
    (check,) = mhcdiag.health(save(tmp_path, tensors), only=["sinkhorn"]).checks
    x = torch.randn(5000, STREAMS, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    flat = x.flatten(1) / x.flatten(1).square().mean(dim=1, keepdim=True).sqrt()
    for site, found in enumerate(check.per_site["logit_range"]):
        path = f"layers.{site // 2}.hc_{('attn', 'ffn')[site % 2]}_"
        fn, base = (tensors[path + role].double()[2 * STREAMS :] for role in ("fn", "base"))
        logits = 40.0 * flat @ fn.T + base
        assert found == pytest.approx(float((logits.amax(dim=1) - logits.amin(dim=1)).mean()), rel=0.15)


def test_four_times_the_identity_collapses_over_122_sites(tmp_path):
    sick = mhcdiag.health(save(tmp_path / "sick", v4(layers=61, diagonal=4.0, spread=0.0), layers=61))
    assert any("of a difference survives" in what for what in findings(sick)["collapse"])
    healthy = mhcdiag.health(save(tmp_path / "healthy", v4(layers=61, diagonal=9.0, spread=0.0), layers=61))
    assert "collapse" not in findings(healthy)


def test_uniform_mixers_are_named(tmp_path):
    result = mhcdiag.health(save(tmp_path, v4(diagonal=0.0, spread=0.01)))
    assert any("rows are uniform at 6 of 6 sites" in what for what in findings(result)["frozen"])


def test_dead_and_dominant_streams_are_named(tmp_path):
    tensors = v4()
    for name in tensors:
        if name.endswith("_base"):
            tensors[name][2], tensors[name][STREAMS + 1] = -9.0, -9.0
    whats = findings(mhcdiag.health(save(tmp_path, tensors)))
    assert any("stream 2 is never read" in what for what in whats["streams"])
    assert any("stream 1 is never written to" in what for what in whats["streams"])
    assert any("of pre and post logits are beyond" in what for what in whats["gates"])


def test_large_activations_leave_no_headroom(tmp_path):
    file = captured(tmp_path)
    tensors = load_file(file)
    tensors["layers.3.x_in"] = tensors["layers.3.x_in"].clone()
    tensors["layers.3.x_in"][0, 0, 0] = 60000.0
    save_file(tensors, file)
    result = mhcdiag.health(save(tmp_path, v4()), captured=file, only=["activations"])
    assert any("max |x| is 6e+04" in what for what in findings(result)["activations"])


class TestFigure8:
    """arXiv 2512.24880, Figure 8, as captured mappings."""

    def numbers(self, tmp_path, model: str, name: str, check: str) -> dict[str, float]:
        matrix = torch.tensor(FIGURE[model][name], dtype=torch.float64)
        save_file({"layers.0.h_res": matrix}, tmp_path / "maps.safetensors")
        (found,) = mhcdiag.health(tmp_path / "maps.safetensors", only=[check]).checks
        return dict(found.overall)

    def test_the_composite_of_mhc(self, tmp_path):
        found = self.numbers(tmp_path, "mHC", "P1-60", "collapse")
        assert found["second_singular"] == pytest.approx(0.037, abs=0.001)
        assert found["dobrushin"] == pytest.approx(0.045, abs=0.001)

    @pytest.mark.parametrize(("name", "second"), [("P1-30", 0.134), ("P31-60", 0.556)])
    def test_its_halves(self, tmp_path, name: str, second: float):
        assert self.numbers(tmp_path, "mHC", name, "collapse")["second_singular"] == pytest.approx(second, abs=0.002)

    def test_the_composite_of_hc(self, tmp_path):
        assert self.numbers(tmp_path, "HC", "P1-60", "collapse")["second_singular"] == pytest.approx(0.149, abs=0.02)

    def test_the_first_site_of_hc_is_gauge(self, tmp_path):
        first, last = (torch.tensor(FIGURE["HC"][name], dtype=torch.float64) for name in ("H1", "H30"))
        save_file({"layers.0.h_res": first, "layers.1.h_res": last}, tmp_path / "maps.safetensors")
        result = mhcdiag.health(tmp_path / "maps.safetensors", only=["gauge"])
        assert any("of the log-gain: a rescaling" in what for what in findings(result)["gauge"])


def test_negative_sums_of_hc_are_noted(tmp_path):
    alpha = torch.cat([torch.ones(2, 1), -torch.eye(2)], dim=1)
    tensors = {"layers.0.static_alpha": alpha, "layers.0.static_beta": torch.ones(2)}
    found = findings(mhcdiag.health(write(tmp_path, tensors)))
    assert any("row sums are negative" in what for what in found["gates"])


@pytest.mark.parametrize(
    ("name", "start", "trained"),
    [("blocks.{}.ls1.gamma", 1e-5, 0.3), ("blocks.{}.resweight", 0.0, 0.2), ("blocks.{}.gamma_1", 1e-6, 0.1)],
)
def test_branches_of_a_plain_model_that_never_write(tmp_path, name: str, start: float, trained: float):
    for kind, value in (("sick", start), ("healthy", trained)):
        tensors = {name.format(i): torch.full((5,), value) for i in range(11)}
        tensors |= {f"blocks.{i}.mlp.weight": torch.zeros(2, 2) for i in range(11)}
        path = write(tmp_path / kind, tensors)
        with pytest.raises(LayoutError, match=r"nothing explains what these do to the stream: blocks\.N\."):
            mhcdiag.health(path)
        result = mhcdiag.health(path, only=["scales"], assume="plain")
        assert result.layout == "plain"
        found = findings(result).get("scales", [])
        assert any("11 of 11 branch factors are under 0.001 (first: blocks.0." in what for what in found) is (
            kind == "sick"
        )


def test_factors_on_the_residual_stream_multiply(tmp_path):
    for kind, value in (("sick", 0.7), ("healthy", 1.02)):
        tensors = {"resid_lambdas": torch.full((13,), value), "h.0.attn.c_q.weight": torch.zeros(2, 2)}
        path = write(tmp_path / kind, tensors)
        found = findings(mhcdiag.health(path, only=["scales"])).get("scales", [])
        gain = mhcdiag.gain(path).curve("prefix", "forward", "norm")[-1]
        assert gain == pytest.approx(value**13, rel=1e-6)
        assert any(f"multiply to {text(gain)}" in what for what in found) is (kind == "sick")


def test_thresholds_can_be_set_and_are_shown(tmp_path):
    path = save(tmp_path, v4())
    result = mhcdiag.health(path, only=["collapse"], thresholds={"collapse.half_depth_warn": 0.99})
    assert result.checks[0].thresholds["half_depth_warn"] == 0.99
    assert findings(result)
    with pytest.raises(SettingError, match=r"there is no threshold 'collapse\.x'"):
        mhcdiag.health(path, thresholds={"collapse.x": 1.0})
    with pytest.raises(SettingError, match="there is no check 'colapse'; known: gain, conformance, "):
        mhcdiag.health(path, only=["colapse"])


class TestCommand:
    """Exit codes and outputs."""

    @pytest.fixture
    def sick(self, tmp_path):
        return str(save(tmp_path / "sick", v4(layers=7, diagonal=2.0, spread=0.0), layers=7))

    def test_warnings_pass_unless_asked_for(self, sick, capsys):
        assert run(["health", sick]) == 0
        assert "collapse     WARN" in capsys.readouterr().out
        assert run(["health", sick, "--fail-on", "warn", "--quiet"]) == 1
        assert capsys.readouterr().out.startswith("FAIL  ")

    def test_what_could_not_be_checked_leaves_it_unjudged_under_strict(self, tmp_path, capsys):
        assert run(["health", str(save(tmp_path, v4())), "--strict"]) == 2
        out = capsys.readouterr().out
        assert "not checked: not checkable from weights" in out
        assert "UNJUDGED" in out

    def test_json_holds_everything(self, sick, capsys):
        assert run(["health", sick, "--json", "--only", "collapse,frozen"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["results"]
        assert [check["name"] for check in found["checks"]] == ["frozen", "collapse"]
        assert len(found["checks"][1]["per_site"]["dobrushin"]) == 14

    def test_a_threshold_on_the_command_line(self, sick, capsys):
        assert run(["health", sick, "--threshold", "collapse.half_depth_warn=0", "--only", "collapse"]) == 0
        assert run(["health", sick, "--threshold", "collapse"]) == 2

    def test_an_unreadable_file_hides_no_other(self, sick, capsys):
        assert run(["health", "absent", sick]) == 2
        captured = capsys.readouterr()
        assert "no such file" in captured.err
        assert "PASS" in captured.out


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["layers.1.hc_attn_base", "layers.1.hc_ffn_fn"])
def test_a_broken_weight_is_a_failure_and_no_crash(tmp_path, capsys, name: str, value: float):
    tensors = v4()
    [place] = [each for each in tensors if each.endswith(name)]
    tensors[place] = tensors[place].clone()
    tensors[place].view(-1)[-1] = value
    assert run(["health", str(write(tmp_path, tensors, config=config()))]) == 1
    assert "H_res holds NaN or infinity" in capsys.readouterr().out


def test_captured_maps_with_infinity_are_a_failure(tmp_path):
    maps = {f"layers.{site}.h_res": torch.eye(3).repeat(5, 1, 1) for site in range(4)}
    maps["layers.2.h_res"][3, 0, 1] = torch.inf
    save_file(maps, tmp_path / "maps.safetensors")
    found = mhcdiag.health(tmp_path / "maps.safetensors")
    [finding] = next(check for check in found.checks if check.name == "collapse").findings
    assert (finding.site, finding.sites, finding.severity) == ("1.attn", 1, "fail")

"""Streams and gates, in every layout whose records tell read and write weights, and from captured streams."""

import numpy as np
import pytest
import torch
from health_checks.subjects import activations, gates, run, said, speaks_above, subject
from layouts.formulas import CASES
from safetensors.torch import save_file
from stacks import hyper_connections_tensors, write

import mhcdiag
from mhcdiag.health_checks.families.streams import CHECK as streams

SITES, STREAMS, TOKENS, WIDTH = 6, 3, 11, 13

SEPARATE = {
    "motif": ("bias_res", "bias_pre", "bias_post"),
    "magi": ("bias_res", "bias_pre", "bias_post"),
    "mhc_cu": ("b_res", "b_pre", "b_post"),
    "tokenbender": ("H_res_logits", "H_pre_logits", "H_post_logits"),
}
"""Layouts with one bias each, by name of the residual one, of pre and of post."""


def examine(path, name: str = "streams", **options):
    (found,) = mhcdiag.health(path, only=[name], **options).checks
    return found


def whats(found) -> list[str]:
    return [finding.what for finding in found.findings]


@pytest.mark.parametrize("case", SEPARATE)
def test_biases_of_their_own_are_read(tmp_path, case: str):
    model = CASES[case]()
    residual, pre, post = SEPARATE[case]
    tensors = {name: torch.tensor(value, dtype=torch.float32).contiguous() for name, value in model.tensors.items()}
    assert examine(write(tmp_path / "without", tensors, config=model.config)).not_checkable
    for name in [name for name in tensors if residual in name]:
        streams = tensors[name].shape[-1]
        tensors[name.replace(residual, pre)] = torch.zeros(streams).index_fill_(0, torch.tensor([1]), -9.0)
        tensors[name.replace(residual, post)] = torch.zeros(streams).index_fill_(0, torch.tensor([0]), -9.0)
    found = examine(write(tmp_path / "with", tensors, config=model.config))
    assert whats(found)[:2] == [
        "stream 1 is never read (under 0.01 at every site)",
        "stream 0 is never written to (under 0.01 at every site)",
    ]


def test_weights_of_hyper_connections_are_used_as_they_stand(tmp_path):
    healthy = hyper_connections_tensors(sites=SITES, streams=STREAMS)
    for name in healthy:
        if name.endswith("static_alpha"):
            healthy[name][:, 0] = torch.tensor([0.5, -0.7, 0.6])
    assert whats(examine(write(tmp_path / "healthy", healthy))) == []
    sick = {name: tensor.clone() for name, tensor in healthy.items()}
    for name, tensor in sick.items():
        if name.endswith("static_alpha"):
            tensor[1, 0] = 0.001
        elif name.endswith("static_beta"):
            tensor[2] = -0.001
    assert whats(examine(write(tmp_path / "sick", sick))) == [
        "stream 1 is never read (under 0.01 at every site)",
        "stream 2 is never written to (under 0.01 at every site)",
    ]


def test_the_kernel_has_a_rank_in_hyper_connections_too(tmp_path):
    found = examine(write(tmp_path, hyper_connections_tensors(sites=SITES, streams=STREAMS)), "gauge")
    assert 1 <= found.overall["kernel_rank"] <= SITES


@pytest.mark.parametrize(("times", "sick"), [(0.1, False), (3.0, True)])
def test_tanh_saturates_with_a_large_projection(tmp_path, times: float, sick: bool):
    tensors = hyper_connections_tensors(sites=SITES, streams=STREAMS)
    tensors |= {name: tensor * times for name, tensor in tensors.items() if name.endswith("dynamic_alpha_fn")}
    found = examine(write(tmp_path, tensors), "gates")
    assert any("of the inputs of tanh are beyond +-2" in what for what in whats(found)) is sick
    columns = torch.cat([t[:, -STREAMS:].norm(dim=0) for n, t in tensors.items() if n.endswith("dynamic_alpha_fn")])
    drawn = torch.randn(100_000, generator=torch.Generator().manual_seed(0))[:, None] * columns
    saturated = sum(found.per_site["tanh_saturated"]) / SITES
    assert saturated == pytest.approx(float((drawn.abs() > 2).double().mean()), abs=0.005)


class TestCopies:
    """Cosines of captured streams."""

    def captured(self, tmp_path, alike: list[float]):
        """Streams of which a share is the same in all, by site; H_res is the identity."""
        generator = torch.Generator().manual_seed(0)

        def streams(share: float) -> torch.Tensor:
            common = torch.randn(TOKENS, 1, WIDTH, generator=generator)
            return share * common + (1 - share) * torch.randn(TOKENS, STREAMS, WIDTH, generator=generator)

        file = {}
        for site, share in enumerate(alike):
            file[f"layers.{site}.h_res"] = torch.eye(STREAMS).expand(TOKENS, -1, -1).contiguous()
            file[f"layers.{site}.x_in"] = streams(share)
        save_file(file, tmp_path / "captured.safetensors")
        return tmp_path / "captured.safetensors"

    def test_streams_that_become_alike_are_named(self, tmp_path):
        found = examine(self.captured(tmp_path, [0.2, 0.6, 0.9, 0.99]))
        assert [(finding.severity, finding.site) for finding in found.findings] == [("warn", "0.attn")]
        assert "the mean cosine of streams rises from" in found.findings[0].what
        assert found.per_site["cosine"] == tuple(sorted(found.per_site["cosine"]))

    def test_streams_that_stay_apart_are_not(self, tmp_path):
        assert examine(self.captured(tmp_path, [0.2, 0.5, 0.4])).findings == ()

    def test_streams_that_start_alike_and_part_are_not(self, tmp_path):
        assert examine(self.captured(tmp_path, [1.0, 0.6, 0.4])).findings == ()

    def test_copies_all_the_way_are_noted_and_not_blamed_on_mixing(self, tmp_path):
        found = examine(self.captured(tmp_path, [1.0, 0.99, 1.0]))
        assert [finding.severity for finding in found.findings] == ["note"]
        assert "says nothing of mixing" in found.findings[0].advice

    def test_the_cosine_is_that_of_pairs(self, tmp_path):
        x = torch.zeros(2, STREAMS, WIDTH)
        x[:, 0, 0], x[:, 1, 0], x[:, 2, 1] = 2.0, -3.0, 5.0  # cosines -1, 0, 0
        save_file({"layers.0.h_res": torch.eye(STREAMS), "layers.0.x_in": x}, tmp_path / "captured.safetensors")
        assert examine(tmp_path / "captured.safetensors").overall["last_cosine"] == pytest.approx(-1 / 3)


class TestWeights:
    """Read and write weights of our own making."""

    EVEN = (1.0, 1.0, 1.0)

    def examined(self, pre, post=None, **limits: float):
        post = [self.EVEN] * len(pre) if post is None else post
        return run(streams, subject(np.stack([np.eye(3)] * len(pre)), gates=gates(pre, post)), **limits)

    @pytest.mark.parametrize(("share", "warned"), [(0.011, False), (0.009, True), (0.0, True)])
    def test_a_site_that_reads_or_writes_next_to_nothing_is_named(self, share: float, warned: bool):
        """One of many: of all gates it is no share that would be seen."""
        most = [self.EVEN] * 9
        closed = [*most, tuple(share * each for each in self.EVEN)]
        for pre, post, verb in ((closed, [*most, self.EVEN], "reads"), ([*most, self.EVEN], closed, "writes")):
            outcome = self.examined(pre, post)
            assert said(outcome) == ([("warn", "site 9", 1)] if warned else [])
            assert outcome.overall["quietest_read" if verb == "reads" else "quietest_write"] == pytest.approx(share)
            assert not warned or outcome.findings[0].what.startswith(
                f"{verb} {share:.2g} of what sites do in the median"
            )

    def test_the_effective_number_is_that_of_squared_shares(self):
        pre = np.random.default_rng(0).uniform(0.5, 1, (5, 3))
        outcome = self.examined(pre, pre[::-1] * 2)
        shares = (pre**2).sum(axis=0) / (pre**2).sum()
        assert outcome.overall == pytest.approx(
            {
                "effective_streams": np.exp(-(shares * np.log(shares)).sum()),
                "largest_share": shares.max(),
                "quietest_read": pre.sum(axis=1).min() / np.median(pre.sum(axis=1)),
                "quietest_write": pre.sum(axis=1).min() / np.median(pre.sum(axis=1)),
            }
        )
        assert outcome.per_site["largest_pre"] == pytest.approx(tuple(pre.max(axis=1)))
        assert outcome.per_site["largest_post"] == pytest.approx(tuple(2 * pre[::-1].max(axis=1)))

    @pytest.mark.parametrize(
        ("pre", "dead"),
        [
            ([(0.0099, 0.5, 0.5), (0.0, 1.0, 1.0)], True),
            ([(0.0103, 0.5, 0.5), (0.0, 1.0, 1.0)], False),  # read at one site is read
            ([(0.02, 1.5, 1.5), (0.0, 1.0, 1.0)], True),  # under a hundredth of that site's sum
        ],
    )
    def test_never_read_is_at_every_site(self, pre, dead: bool):
        found = whats(self.examined(pre))
        assert found == (["stream 0 is never read (under 0.01 at every site)"] if dead else [])

    @pytest.mark.parametrize(
        ("post", "dead"),
        [
            ([(1.0, 0.0099, 1.0), (1.0, 0.0, 3.0)], True),  # the mean over sites and streams is 1
            ([(1.0, 0.0102, 1.0), (1.0, 0.0, 3.0)], False),
            ([(0.01, 0.0099, 0.01), (3.0, 0.0, 2.95)], True),
        ],
    )
    def test_never_written_is_against_the_mean_of_all(self, post, dead: bool):
        found = whats(self.examined([self.EVEN] * 2, post))
        assert found == (["stream 1 is never written to (under 0.01 at every site)"] if dead else [])

    def test_exactly_a_part_of_the_sum_is_read(self):
        of = subject(np.eye(2)[None], gates=gates([(1.0, 3.0)], [(0.5, 1.5)]))
        assert speaks_above(streams, of, "dead", 0.25, effective=0.0, dominant=1.0) == [False, False, True]

    @pytest.mark.parametrize(
        ("large", "found"),
        [
            (1.0, []),
            (2.1, []),  # 0.69 of what is read
            (2.2, ["note stream 1 has 71% of what is read"]),
            (4.5, ["warn 1.44 of 3 streams are read effectively (< 1.5)"]),
        ],
    )
    def test_one_stream_that_is_read_most(self, large: float, found):
        outcome = self.examined([(1.0, large, 1.0)] * 2)
        assert [f"{each.severity} {each.what}" for each in outcome.findings] == found

    def test_exactly_the_limits_pass(self):
        of = subject(np.eye(2)[None], gates=gates([(1.0, 1.0)], [(1.0, 1.0)]))
        assert speaks_above(streams, of, "dominant", 0.5) == [True, False, False]
        effective = run(streams, of).overall["effective_streams"]
        assert effective == pytest.approx(2.0)
        assert speaks_above(streams, of, "effective", effective) == [False, False, True]

    def test_several_dead_streams_are_named_together(self):
        found = whats(self.examined([(0.0, 1.0, 0.0)], [(0.0, 0.0, 1.0)]))
        assert found[:2] == [
            "stream 0, 2 is never read (under 0.01 at every site)",
            "stream 0, 1 is never written to (under 0.01 at every site)",
        ]

    def test_what_cannot_be_checked_says_why(self):
        assert run(streams, subject()).not_checkable == "there is one stream"
        assert run(streams, subject(np.eye(2)[None])).not_checkable.startswith("the layout does not tell pre and post")


class TestCosines:
    """Cosines at their limits."""

    def streams_at(self, *cosines: float, outputs: bool = False):
        """Two streams with these cosines, before each site, or after it."""
        sites = []
        for cosine in cosines:
            x = np.zeros((TOKENS, 2, WIDTH))
            x[:, 0, 0], x[:, 1, 0], x[:, 1, 1] = 2, 3 * cosine, 3 * np.sqrt(1 - cosine**2)
            other = np.ones_like(x)
            sites.append(activations(other, x_out=x) if outputs else activations(x))
        return subject(np.stack([np.eye(2)] * len(cosines)), activations=tuple(sites))

    @pytest.mark.parametrize("outputs", [False, True])
    def test_streams_after_a_site_count_where_they_were_captured(self, outputs: bool):
        outcome = run(streams, self.streams_at(0.5, -0.25, 0.75, outputs=outputs))
        assert outcome.per_site["cosine"] == pytest.approx((0.5, -0.25, 0.75))
        assert outcome.overall == pytest.approx({"smallest_cosine": -0.25, "last_cosine": 0.75})

    @pytest.mark.parametrize(
        ("cosines", "found"),
        [
            ((0.95, 0.899, 0.9901), [("warn", "site 1", 1)]),
            ((0.95, 0.899, 0.9899), []),
            ((0.95, 0.901, 0.9901), []),
            ((0.9905, 0.9901, 0.9999), [("note", "", 0)]),
            ((0.9905, 0.9899, 0.9999), []),
        ],
    )
    def test_a_rise_is_a_warning_and_copies_all_the_way_a_note(self, cosines, found):
        assert said(run(streams, self.streams_at(*cosines))) == found

    def test_exactly_the_limits_pass(self):
        of = self.streams_at(0.5, 0.75)
        first, last = run(streams, of).per_site["cosine"]
        assert speaks_above(streams, of, "copies", last) == [True, False, False]
        assert speaks_above(streams, of, "apart", first, copies=0.6) == [False, False, True]
        assert speaks_above(streams, of, "copies", first, apart=0.0) == [True, False, False]

    def test_the_mean_is_over_all_pairs_and_tokens(self):
        x = np.random.default_rng(0).standard_normal((TOKENS, STREAMS, WIDTH))
        unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
        pairs = [(i, k) for i in range(STREAMS) for k in range(i)]
        expected = np.mean([(unit[:, i] * unit[:, k]).sum(axis=-1) for i, k in pairs])
        outcome = run(streams, subject(np.eye(STREAMS)[None], activations=(activations(x),)))
        assert outcome.overall["last_cosine"] == pytest.approx(expected)

"""Checkpoints written by the packages themselves, each built once and only when a test asks for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packages import lucidrains_stacks, transformers_hooks, transformers_models
from packages.checkpoints import save_shards, write_captured
from packages.transformers_models import DEEPSEEK_V4, GLM5_NEXT, Family
from reference import Reference, reference
from safetensors.torch import save_file


@dataclass(frozen=True, kw_only=True)
class Case:
    """A saved model, with what its own modules computed."""

    path: Path
    """Checkpoint file or directory."""
    model: torch.nn.Module
    """The model that was saved."""
    modules: list[str]
    """Paths of the mixing modules in depth order."""
    captured: np.ndarray
    """H_res [site, token, n, n] on real tokens, float32."""
    static: np.ndarray
    """H_res [site, 1, n, n] with the input-dependent part zero, float64."""
    gaussian: Callable[..., np.ndarray]
    """H_res [site, token, n, n] of a model on Gaussian streams; arguments model, sites, tokens, seed."""
    iterations: dict[str, int] = field(default_factory=dict)
    """The Sinkhorn iterations, where the checkpoint does not say and they are not 20."""
    activation: dict[str, bool] = field(default_factory=dict)
    """Whether the input-dependent part passes a tanh, where the checkpoint does not say and it does not."""

    @cached_property
    def captured_reference(self) -> Reference:
        """The numbers of the captured mappings."""
        return reference(self.captured)

    @cached_property
    def static_reference(self) -> Reference:
        """The numbers of the static mappings."""
        return reference(self.static)


def transformers_case(path: Path, model: Any, family: Family) -> Case:
    """A model of the transformers package, saved by it."""
    save_shards(model, path)
    return Case(
        path=path,
        model=model,
        modules=[name for name, _ in transformers_models.mixers(model, family)],
        captured=transformers_hooks.captured_maps(model, family, transformers_hooks.token_ids(0)),
        static=transformers_hooks.static_maps(model, family),
        gaussian=partial(transformers_hooks.gaussian_maps, family=family),
    )


def stack_case(path: Path, kind: str, *, blocks: bool = True, streams: int = 4, sites: int = 12) -> Case:
    """A stack of lucidrains wrappers, its state dict saved as safetensors."""
    model = lucidrains_stacks.stack(kind, sites=sites, streams=streams, dim=11, blocks=blocks, seed=len(kind))
    save_file(model.state_dict(), path.with_suffix(".safetensors"))
    return Case(
        path=path.with_suffix(".safetensors"),
        model=model,
        modules=[name for name, _ in model.wrappers()],
        captured=lucidrains_stacks.captured_maps(model, lucidrains_stacks.token_ids(0)),
        static=lucidrains_stacks.static_maps(model),
        gaussian=lucidrains_stacks.gaussian_maps,
        iterations={"sinkhorn_iters": 3} if kind == "mhc_three_iterations" else {},
        activation={"tanh": False} if kind == "hc_without_tanh" else {},
    )


def deepseek_v4_case(path: Path, **sizes: Any) -> Case:
    """A DeepSeek-V4 model of the transformers package."""
    return transformers_case(path, transformers_models.deepseek_v4(**sizes), DEEPSEEK_V4)


def glm5_next_case(path: Path) -> Case:
    """A GLM-5.3-Flash model of the transformers package."""
    return transformers_case(path, transformers_models.glm5_next(layers=4, hidden=24, seed=5), GLM5_NEXT)


CASES: dict[str, Callable[[Path], Case]] = {
    "deepseek_v4": partial(deepseek_v4_case, layers=3, hidden=20, seed=1),
    # More than ten layers: "10" sorts before "2" as text.
    "deepseek_v4_deep": partial(deepseek_v4_case, layers=11, hidden=12, seed=2),
    # An eps that is not the usual one shows in the fourth digit.
    "deepseek_v4_three_streams": partial(
        deepseek_v4_case, layers=5, hidden=28, streams=3, iterations=5, eps=1e-3, seed=3
    ),
    "deepseek_v4_unconverged": partial(deepseek_v4_case, layers=4, hidden=20, spread=9.0, scale=8.0, seed=4),
    "deepseek_v4_two_streams": partial(deepseek_v4_case, layers=3, hidden=12, streams=2, iterations=3, seed=6),
    "deepseek_v4_eight_streams": partial(deepseek_v4_case, layers=2, hidden=12, streams=8, seed=7),
    "glm5_next": glm5_next_case,
    "hc": partial(stack_case, kind="hc"),
    "hc_without_tanh": partial(stack_case, kind="hc_without_tanh"),
    "hc_views": partial(stack_case, kind="hc_views"),
    "hc_numbered": partial(stack_case, kind="hc", blocks=False, streams=3, sites=11),
    "hc_one_stream": partial(stack_case, kind="hc", streams=1, sites=4),
    "mhc": partial(stack_case, kind="mhc"),
    "mhc_three_iterations": partial(stack_case, kind="mhc_three_iterations"),
    "mhc_proposals": partial(stack_case, kind="mhc_proposals"),
    "mhc_numbered": partial(stack_case, kind="mhc", blocks=False, streams=3, sites=11),
    "mhc_eight_streams": partial(stack_case, kind="mhc", streams=8, sites=4),
    "mhc_v2": partial(stack_case, kind="mhc_v2"),
    "mhc_v2_proposals": partial(stack_case, kind="mhc_v2_proposals"),
    "mhc_v2_mixed_norm": partial(stack_case, kind="mhc_v2_mixed_norm"),
}


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """On matrices this small a second thread costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def build_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """A case by name, built once."""

    @cache
    def build(name: str) -> Case:
        return CASES[name](tmp_path_factory.mktemp(name) / name)

    return build


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, build_case: Callable[[str], Case]) -> Case:
    """Each saved model in turn."""
    return build_case(request.param)


@pytest.fixture
def captured_path(case: Case, tmp_path: Path) -> Path:
    """The case's captured mappings in the interchange format."""
    return write_captured(tmp_path / "captured.safetensors", case.captured, case.modules)

"""Of all dictionaries in a training checkpoint, the weights of the model and never the optimizer's."""

import argparse
from typing import Any

import pytest
import torch

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.state_dicts import config_in, weights

MODEL = {"w": torch.ones(3), "b": torch.zeros(2)}
EMA = {"w": torch.full((3,), 2.0)}
ADAM = {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(7.0)}}, "param_groups": [{"lr": 1e-3}]}


def found(root: Any, key: str | None = None) -> dict[str, float]:
    return {name: tensor.flatten()[0].item() for name, tensor in weights(root, path="run.pt", key=key).items()}


@pytest.mark.parametrize(
    "root",
    [
        pytest.param(MODEL, id="itself"),
        pytest.param({"model": MODEL, "optimizer": ADAM, "step": 7}, id="model"),
        pytest.param({"model_state_dict": MODEL, "optimizer_state_dict": ADAM}, id="model_state_dict"),
        pytest.param({"state_dict": MODEL, "optimizer_states": [ADAM], "epoch": 1}, id="state_dict"),
        pytest.param({"module": MODEL, "optimizer": ADAM}, id="module"),
        pytest.param({"net": MODEL, "optim": ADAM}, id="the_only_one"),
        pytest.param({"net": MODEL, "adam": ADAM}, id="optimizer_known_by_its_groups"),
        pytest.param({"model": MODEL, "ema": EMA}, id="model_beside_another"),
        pytest.param({"ema": EMA, "state_dict": MODEL}, id="order_does_not_matter"),
        pytest.param({"model": {"n_layer": 3}, "state_dict": MODEL}, id="model_is_a_configuration"),
        pytest.param({"model": {"state_dict": MODEL, "optimizer": ADAM}}, id="nested"),
        pytest.param({"checkpoint": {"model": MODEL}, "optimizer": ADAM}, id="nested_in_the_only_one"),
        pytest.param({"step": torch.tensor(3), "model": MODEL}, id="tensors_beside"),
        pytest.param(MODEL | {"optimizer": ADAM}, id="optimizer_inside"),
        pytest.param(MODEL | {"note": "text", "extra_state": None}, id="other_values"),
    ],
)
def test_the_weights_are_found(root: dict[str, Any]) -> None:
    assert found(root) == {"w": 1, "b": 0}


def test_nested_names_are_joined_with_dots() -> None:
    assert found({"model": {"encoder": {"layers": {0: MODEL}}, "head": EMA, "optimizer": ADAM}}) == {
        "encoder.layers.0.w": 1,
        "encoder.layers.0.b": 0,
        "head.w": 2,
    }


@pytest.mark.parametrize(
    ("key", "root"),
    [
        ("ema", {"model": MODEL, "ema": EMA}),
        ("ema", {"model": MODEL, "ema": {"state_dict": EMA}}),
        ("averages.ema", {"model": MODEL, "averages": {"ema": EMA}}),
        ("averages.ema", {"model": MODEL, "averages.ema": EMA}),
        ("a.b.c", {"a.b": {"c": EMA}}),
        ("a.b.c", {"a": {"b.c": EMA}}),
    ],
)
def test_a_key_chooses(key: str, root: dict[str, Any]) -> None:
    assert found(root, key) == {"w": 2}


@pytest.mark.parametrize("key", ["optimizer", "optimizer.state", "optimizer.state.0", "adam", "adam.state"])
def test_a_key_never_chooses_the_optimizer(key: str) -> None:
    with pytest.raises(ContainerError, match=f"--key '{key}' leads to optimizer state"):
        weights({"model": MODEL, "optimizer": ADAM, "adam": ADAM}, path="run.pt", key=key)


def test_several_dictionaries_and_none_to_prefer() -> None:
    message = "run.pt: 2 dictionaries of tensors: 'generator', 'ema'; .*as in --key generator"
    with pytest.raises(ContainerError, match=message):
        weights({"generator": MODEL, "ema": EMA, "optimizer": ADAM}, path="run.pt", key=None)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("x", "no --key 'x': of 'x' the keys are 'model', 'step'"),
        ("model.x", "no --key 'model.x': of 'x' the keys are 'w', 'b'"),
        ("step.x", "no --key 'step.x': of 'x' the keys are none"),
        ("step", "--key 'step' leads to an object of type int; expected a dictionary of tensors"),
        ("model.w", "--key 'model.w' leads to an object of type Tensor"),
    ],
)
def test_a_key_that_leads_nowhere(key: str, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        weights({"model": MODEL, "step": 7}, path="run.pt", key=key)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        pytest.param(torch.ones(3), "an object of type Tensor; expected a dictionary of tensors", id="tensor"),
        pytest.param([MODEL], "an object of type list", id="list"),
        pytest.param({}, "no tensors outside of optimizer state; the keys are none", id="empty"),
        pytest.param({"step": 7}, "no tensors outside of optimizer state; the keys are 'step'", id="no_tensors"),
        pytest.param({"model": ADAM}, "no tensors outside of optimizer state", id="optimizer_named_model"),
        pytest.param({"optimizer": ADAM}, "no tensors outside of optimizer state", id="only_an_optimizer"),
        pytest.param(ADAM, "the state of an optimizer; expected a dictionary of tensors", id="an_optimizer"),
    ],
)
def test_no_weights(root: Any, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        weights(root, path="run.pt", key=None)


def test_a_dictionary_inside_itself_is_refused() -> None:
    root: dict[str, Any] = {"w": torch.ones(3)}
    root["model"] = root
    with pytest.raises(ContainerError, match="a dictionary that contains itself"):
        weights(root, path="run.pt", key=None)


def test_dictionaries_that_unfold_without_end_are_refused() -> None:
    tree: dict[str, Any] = {}
    for _ in range(15):
        tree = {str(number): tree for number in range(101)}
    with pytest.raises(ContainerError, match="dictionaries in each other"):
        weights(tree, path="run.pt", key=None)


def test_one_dictionary_in_two_places_is_honest() -> None:
    config = {"n_layer": 3}
    assert found({"model": MODEL, "config": config, "run": {"config": config}}) == {"w": 1, "b": 0}


@pytest.mark.parametrize(
    ("root", "config"),
    [
        ({}, None),
        ({"config": "run.yaml", "model_args": None}, None),
        ({"config": {"hc_mult": 4}}, {"hc_mult": 4}),
        ({"config": argparse.Namespace(hc_mult=4)}, {"hc_mult": 4}),
        ({"config": {"dropout": 0.5, "lr": 1}, "model_args": {"dropout": 0.0}}, {"dropout": 0.0, "lr": 1}),
        ({"model_args": {"dropout": 0.0}, "config": {"dropout": 0.5}}, {"dropout": 0.0}),
    ],
)
def test_configuration_saved_with_the_weights(root: dict[str, Any], config: dict[str, Any] | None) -> None:
    assert config_in(root) == config

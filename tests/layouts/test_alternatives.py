"""What weights predict for given streams: by each layout its formulas (`formulas.py` names the cases)."""

import numpy as np
import pytest
import torch
from layouts.formulas import CASES, Model
from stacks import write

from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.mappings.interface import Orientation
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.weight_readers.alternatives import OWN, predictions
from mhcdiag.weight_readers.records import SiteActivations

TOKENS = 7
FUSED = {"deepseek-v4", "deepseek-v4.1", "nanowhale", "deepseek-v4-gguf", "openpangu", "liger", "magi-2"}
"""Layouts whose slices can be told from one another, among others."""


def predicted(tmp_path, model: Model, x: torch.Tensor | None):
    tensors = {name: torch.tensor(value, dtype=torch.float32).contiguous() for name, value in model.tensors.items()}
    checkpoint = open_checkpoint(write(tmp_path, tensors, config=model.config))
    layout, recognition = recognise(checkpoint)
    given = dict(model.settings)
    if "orientation" in given:
        given["orientation"] = Orientation(given["orientation"])
    n = model.streams
    if x is None:
        x = torch.zeros(TOKENS, n, 5)
    seen = SiteActivations(h_res=torch.eye(n).expand(len(x), -1, -1), x_in=x)
    found = predictions(layout, checkpoint, recognition, Overrides(**given), [seen] * len(recognition.sites))
    return layout, found


@pytest.mark.parametrize("case", [name for name in CASES if CASES[name]().projections and not CASES[name]().per_stream])
def test_a_prediction_is_what_the_formulas_give(tmp_path, case: str):
    model = CASES[case]()
    inputs = model.projections[0].shape[0]
    x = torch.randn(TOKENS, model.streams, inputs // model.streams, generator=torch.Generator().manual_seed(3))
    layout, found = predicted(tmp_path, model, x)
    flat = x.double().flatten(1).numpy()
    normed = flat / np.sqrt(np.square(flat).mean(axis=1, keepdims=True))
    for site, projection in enumerate(model.projections):
        for token in range(TOKENS):
            expected = model.mapping(site, projection.T @ normed[token])
            np.testing.assert_allclose(found[OWN].h_res[site][token].numpy(), expected, atol=2e-4)
    if layout.name in FUSED:
        assert "slices in the order res|pre|post" in found
    assert "H transposed" in found


@pytest.mark.parametrize("case", ["mhc_cu_static", "tokenbender", "bytedance_static"])
def test_static_layouts_predict_the_same_for_every_token(tmp_path, case: str):
    model = CASES[case]()
    _, found = predicted(tmp_path, model, None)
    static = model.static()
    for site, maps in enumerate(found[OWN].h_res):
        np.testing.assert_allclose(maps.numpy(), np.broadcast_to(static[site], maps.shape), atol=2e-4)


def test_nothing_is_predicted_behind_a_layer_norm(tmp_path):
    _, found = predicted(tmp_path, CASES["bytedance"](), None)
    assert found == {}

import math

import pytest

from mhcdiag.runlogs.messages import MessageReader, may_hold_messages

LINES = [
    (
        "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768",
        "overflow",
        32768,
    ),
    ("NOTE: gradient overflow detected, ignoring gradient, setting loss scale to: 64.0", "overflow", 64),
    ("| WARNING: overflow detected, setting loss scale to: 0.0625", "overflow", 0.0625),
    ("Grad overflow on iteration 6", "overflow", None),
    (
        "FloatingPointError: Minimum loss scale reached (0.0001). Your loss is probably exploding.",
        "minimum",
        None,
    ),
    (
        "Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.",
        "minimum",
        None,
    ),
    ("Loss is nan, stopping training", "nan", None),
    ("CRITICAL: Loss is NaN", "nan", None),
    ("WARNING: The grad norm is nan. Skipping updating the model.", "skipped", None),
    ("Nan grad norm occurs", "nan", None),
    ("WARNING: The gradients at all steps are invalid in this epoch.", "nan", None),
    ("ERROR:tensorflow:Model diverged with loss = NaN.", "nan", None),
    ("NanLossDuringTrainingError: NaN loss during training.", "nan", None),
    ("Batch 5: Invalid loss, terminating training", "nan", None),
    ("Epoch/Batch (0/5): Invalid loss, terminating training.", "nan", None),
    ("Non-finite loss, ending training", "nan", None),
    ("FloatingPointError: Loss became infinite or NaN at iteration=123!", "nan", None),
    ("AssertionError: loss become infinite or NaN!", "nan", None),
    ("Train loss contains a NaN.", "nan", None),
    ("ValueError: Loss contains inf or nan values, its local_loss is nan", "nan", None),
    ("ValueError: nan loss encountered", "nan", None),
    ("ValueError: The loss returned in `training_step` is nan or inf.", "nan", None),
    ("RuntimeError: Function 'MulBackward0' returned nan values in its 0th output.", "nan", None),
    ("RuntimeError: total norm of order 2.0 for gradients from `parameters` is non-finite, so", "nan", None),
    ("FloatingPointError: invalid value (nan) encountered in jit(train_step)", "nan", None),
    ("ValueError: Expected parameter loc of distribution Normal, but found invalid values:", "nan", None),
    ("NaN detected in output of encoder.layers.3, shape: torch.Size([1, 2]), forward", "nan", None),
    ("NaN or Inf found in input tensor.", "nan", None),
    ("WARNING: NaN or Inf found, recovering from last.pt", "nan", None),
    ("Exception: Loss exploded to 123.45 at step 1000!", "nan", None),
    ("non finite loss", "nan", None),
    ("Stopping: loss is not a number", "nan", None),
    ("There are `nan` or `inf` in tensor (Shape: [1]).", "nan", None),
    ("tensor([nan], device='cuda:0')", "nan", None),
    ("the loss is diverging", "nan", None),
    ("Overflow detected. Loss scale reached its minimum value", "minimum", None),
    ("inf loss", "nan", None),
    ("Grad norm is inf or nan, skipping step", "skipped", None),
    ("steps: 2 loss: nan iter time (s): 145.206", "nan", None),
    ("WARNING: Grad scale is small: 9.5367431640625e-07", "minimum", 9.5367431640625e-07),
    ("RuntimeError: grad_scale is too small, exiting: 8.470329472543003e-22", "minimum", None),
    ("RuntimeError: found NaN in local forward loss calculation. Device: 3", "nan", None),
    ("AssertionError: Rank 5: found NaN in local grad norm in backward pass", "nan", None),
]


@pytest.mark.parametrize(("text", "kind", "scale"), LINES)
def test_messages(text, kind, scale):
    assert may_hold_messages(text.encode())
    event = MessageReader().read(17, text, 13.0)
    assert event is not None
    assert (event.line, event.kind) == (17, kind)
    assert event.loss_scale == scale if scale is not None else math.isnan(event.loss_scale)
    named = {"iteration 6": 6, "step 1000": 1000, "iteration=123": 123}
    assert event.step == next((step for words, step in named.items() if words in text), 13)


@pytest.mark.parametrize(
    "text",
    [
        '    raise FloatingPointError("Minimum loss scale reached")',
        '    print("Loss is nan, stopping training")',
        "number of nan iterations:   0",
        "the loss scale is fine",
        "integer overflow in the tokenizer",
        "check_for_nan_in_loss_and_grad ............ True",
        "Check for NaN in loss: True",
        "skip nan loss: False",
        "nan losses: 0",
        "Training will stop if loss is nan",
        "stop when the loss is NaN",
        "no NaN loss detected",
        "val_loss improved from inf to 0.53, saving model",
        "best loss: inf",
        "best loss: nan",
        "invalid loss function name",
        "weights are invalid for loading",
        "found NaN in column age",
        "all gradients are finite",
        "found 0 nan losses",
    ],
)
def test_source_code_and_other_lines(text):
    assert MessageReader().read(1, text, 0.0) is None


def test_the_same_message_of_several_ranks_counts_once():
    reader = MessageReader()
    texts = [f"[2023-04-18 01:46:5{n}] [Rank {n}] Grad overflow on iteration 6" for n in range(3)]
    assert [reader.read(n, text, 5.0) is not None for n, text in enumerate(texts)] == [True, False, False]
    assert reader.read(4, "Grad overflow on iteration 7", 5.0) is not None

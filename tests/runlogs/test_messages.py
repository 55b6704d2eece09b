import math

import pytest

from mhcdiag.runlogs.textpass import MessageReader, may_hold_messages

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
    assert event.step == (6 if "iteration 6" in text else 13)


@pytest.mark.parametrize(
    "text",
    [
        '    raise FloatingPointError("Minimum loss scale reached")',
        '    print("Loss is nan, stopping training")',
        "number of nan iterations:   0",
        "the loss scale is fine",
        "integer overflow in the tokenizer",
    ],
)
def test_source_code_and_other_lines(text):
    assert MessageReader().read(1, text, 0.0) is None


def test_the_same_message_of_several_ranks_counts_once():
    reader = MessageReader()
    texts = [f"[2023-04-18 01:46:5{n}] [Rank {n}] Grad overflow on iteration 6" for n in range(3)]
    assert [reader.read(n, text, 5.0) is not None for n, text in enumerate(texts)] == [True, False, False]
    assert reader.read(4, "Grad overflow on iteration 7", 5.0) is not None

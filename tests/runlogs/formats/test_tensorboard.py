import struct

import numpy as np
import pytest
from runlogs.wire import message, varint

from mhcdiag.runlogs import read_log

NAN = float("nan")


def event(step: int, body: bytes, time: float = 1000.0) -> bytes:
    content = b"\x09" + struct.pack("<d", time) + (b"\x10" + varint(step) if step else b"") + body
    return struct.pack("<Q", len(content)) + b"crc!" + content + b"crc!"


def scalar(tag: str, value: float) -> bytes:
    return message(5, message(1, message(1, tag.encode()) + b"\x15" + struct.pack("<f", value)))


def tensor(tag: str, value: float, *, double: bool = False) -> bytes:
    number = struct.pack("<d" if double else "<f", value)
    content = (b"\x08\x02" if double else b"\x08\x01") + message(2, b"") + message(4, number)
    plugin = message(9, message(1, message(1, b"scalars")))
    return message(5, message(1, message(1, tag.encode()) + message(8, content) + plugin))


VERSION = event(0, message(3, b"brain.Event:2"))


def test_tags_of_one_step_make_one_record_and_all_points_are_kept(read):
    body = b"".join(
        event(n, scalar("train/loss", 8 - n / 1024), time=1000.0 + n) + event(n, scalar("grad_norm", n / 8))
        for n in range(4001)
    )
    table = read(VERSION + body, name="events.out.tfevents.1.host")
    assert table.format == "tensorboard"
    np.testing.assert_array_equal(table.step, np.arange(4001))
    np.testing.assert_array_equal(table.columns["loss"], (8 - np.arange(4001) / 1024).astype(np.float32))
    np.testing.assert_array_equal(table.columns["grad_norm"], np.arange(4001) / 8)
    np.testing.assert_array_equal(table.columns["time"], 1000.0 + np.arange(4001))
    assert table.lines == 8002


def test_tensors_doubles_and_other_plugins(read):
    histogram = message(5, message(1, message(1, b"weights") + message(9, message(1, message(1, b"histograms")))))
    body = event(1, tensor("loss", 2.5)) + event(2, tensor("loss", 0.1, double=True)) + event(2, histogram)
    table = read(VERSION + body + event(3, tensor("loss", 2.5)))
    assert table.columns["loss"].tolist() == [2.5, 0.1, 2.5]


def test_nan_zero_and_negative_steps(read):
    body = event(-7, scalar("loss", 0.0)) + event(0, scalar("loss", 1.5)) + event(300, scalar("loss", NAN))
    table = read(VERSION + body)
    assert table.step.tolist() == [-7, 0, 300]
    np.testing.assert_array_equal(table.columns["loss"], [0.0, 1.5, NAN])
    assert table.nan_rows["loss"].tolist() == [False, False, True]


def test_values_whose_bytes_look_like_the_rest_of_the_event(read):
    """The bytes of 2.5 stand in the tag too: the place of the value cannot be learnt from it."""
    tag = struct.pack("<f", 2.5).decode("latin-1").replace("\x00", "\x01")
    values = [2.5, 3.5, 2.5, 4.5]
    table = read(VERSION + b"".join(event(n + 1, scalar(f"loss/{tag}", value)) for n, value in enumerate(values)))
    assert next(iter(table.columns.values())).tolist() == values


def test_a_tag_that_comes_twice_at_one_step_makes_two_records(read):
    table = read(
        VERSION + event(5, scalar("loss", 2.5)) + event(5, scalar("loss", 2.25)) + event(6, scalar("loss", 2.0))
    )
    assert table.step.tolist() == [5, 5, 6]
    assert table.columns["loss"].tolist() == [2.5, 2.25, 2.0]


def test_a_folder_is_one_run(tmp_path):
    (tmp_path / "events.out.tfevents.1.a").write_bytes(
        VERSION + event(1, scalar("loss", 2.5)) + event(2, scalar("loss", 2.0))
    )
    (tmp_path / "events.out.tfevents.2.a").write_bytes(VERSION + event(2, scalar("loss", 2.25)))
    table = read_log(str(tmp_path))
    assert table.step.tolist() == [1, 2, 2]
    assert table.columns["loss"].tolist() == [2.5, 2.0, 2.25]


@pytest.mark.parametrize(
    ("end", "note"),
    [
        (event(3, scalar("loss", 1.0))[:-9], "half-written"),
        (b"\xff" * 20, "impossible length"),
        (
            struct.pack("<Q", 12) + b"crc!" + b"\x09" + bytes(8) + b"\x2a\x7f\x00" + b"crc!",
            "longer than its message",
        ),
    ],
)
def test_what_stands_before_damage_is_read(read, end, note):
    table = read(VERSION + event(1, scalar("loss", 2.5)) + event(2, scalar("loss", 2.0)) + end)
    assert table.columns["loss"].tolist() == [2.5, 2.0]
    assert any(note in one for one in table.notes)


@pytest.mark.parametrize("cut", [1, 4, 5, 8, 9, 20])
def test_an_event_that_is_cut_anywhere_is_half_written(read, cut):
    whole = VERSION + event(1, scalar("loss", 2.5)) + event(2, scalar("loss", 2.0))
    table = read(whole + event(3, scalar("loss", 1.0))[:-cut])
    assert table.columns["loss"].tolist() == [2.5, 2.0]
    assert any("the last event is half-written" in note for note in table.notes)


def test_tags_that_are_not_at_every_step(read):
    body = b"".join(event(n, scalar(tag, n)) for n, tags in ((1, "ab"), (2, "b"), (3, "ab"), (4, "a")) for tag in tags)
    table = read(VERSION + body)
    assert table.step.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(table.columns["a"], [1, NAN, 3, 4])
    np.testing.assert_array_equal(table.columns["b"], [1, 2, 3, NAN])


def listed(tag: str, kind: int, field: int, raw: bytes) -> bytes:
    """A tensor whose values stand in a list and not in its content."""
    return message(5, message(1, message(1, tag.encode()) + message(8, b"\x08" + bytes([kind]) + message(field, raw))))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (listed("loss", 1, 5, struct.pack("<f", 1.5)), [2.5, 1.5]),
        (listed("loss", 2, 6, struct.pack("<d", 0.1)), [2.5, 0.1]),
        (listed("loss", 2, 5, struct.pack("<d", 0.1)), [2.5]),
        (listed("loss", 1, 6, struct.pack("<f", 1.5)), [2.5]),
        (listed("loss", 3, 5, struct.pack("<f", 1.5)), [2.5]),
        (listed("loss", 1, 5, struct.pack("<ff", 1.5, 1.5)), [2.5]),
        (listed("loss", 2, 6, struct.pack("<dd", 1.5, 1.5)), [2.5]),
        (listed("loss", 2, 6, struct.pack("<d", 1e300)), [2.5, 1e300]),
        (message(5, message(1, message(1, b"loss"))), [2.5]),
    ],
)
def test_which_tensors_are_scalars(read, body, found):
    assert read(VERSION + event(1, scalar("loss", 2.5)) + event(2, body)).columns["loss"].tolist() == found


@pytest.mark.parametrize("plugin", [b"hparams", b"images", b"histograms", b"text", b"pr_curves", b"scalars"])
def test_what_other_plugins_write_is_no_series(read, plugin):
    metadata = message(9, message(1, message(1, plugin)))
    value = message(5, message(1, message(1, b"x") + b"\x15" + struct.pack("<f", 1.0) + metadata))
    table = read(VERSION + event(1, scalar("loss", 2.5)) + event(1, value))
    assert ("x" in table.columns) == (plugin == b"scalars")


def test_several_scalars_in_one_event(read):
    both = message(
        5, b"".join(message(1, message(1, tag) + b"\x15" + struct.pack("<f", 2.5)) for tag in (b"loss", b"x"))
    )
    table = read(VERSION + event(1, both) + event(2, both))
    assert (table.columns["loss"].tolist(), table.columns["x"].tolist()) == ([2.5, 2.5], [2.5, 2.5])

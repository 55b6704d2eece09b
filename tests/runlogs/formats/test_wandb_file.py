import json
import struct

import numpy as np
from runlogs.wire import message

BLOCK = 32768


def item(name: str, value: object) -> bytes:
    """A plain name is field 1; a path of names repeats field 2."""
    parts = name.split(".")
    names = message(1, name.encode()) if len(parts) == 1 else b"".join(message(2, part.encode()) for part in parts)
    return message(1, names + message(16, json.dumps(value).encode()))


def history(record: dict[str, object]) -> bytes:
    return message(2, b"".join(item(name, value) for name, value in record.items()))


def leveldb(records: list[bytes]) -> bytes:
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for whole in records:
        record, first = whole, True
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += bytes(left)
                continue
            part, record = record[: left - 7], record[left - 7 :]
            kind = (1 if first else 4) if not record else (2 if first else 3)
            out += b"crc!" + struct.pack("<HB", len(part), kind) + part
            first = False
            if not record:
                break
    return bytes(out)


def test_records_that_span_blocks_and_other_records_between(read):
    records = [
        history({"_step": n, "train/loss": 8 - n / 512, "optim.grad_norm": n / 4, "_timestamp": 1e9 + n})
        for n in range(1009)
    ]
    records[13:13] = [message(5, bytes(70001)), message(3, b"x" * 17)]
    table = read(leveldb(records), name="run-abc.wandb")
    assert table.format == "wandb"
    np.testing.assert_array_equal(table.step, np.arange(1009))
    np.testing.assert_array_equal(table.columns["loss"], 8 - np.arange(1009) / 512)
    np.testing.assert_array_equal(table.columns["grad_norm"], np.arange(1009) / 4)
    assert table.source_names["grad_norm"] == "optim/grad_norm"


def test_a_run_that_is_still_written_is_read_up_to_its_end(read):
    records = [history({"_step": n, "loss": 2.5, "lr": 0.1}) for n in range(5)]
    table = read(leveldb(records)[:-3])
    assert len(table.step) == 4
    assert any("damaged or cut short" in note for note in table.notes)


def test_nan_is_an_event(read):
    table = read(
        leveldb([history({"_step": n, "loss": value, "lr": 0.1}) for n, value in enumerate([2.5, float("nan")])])
    )
    assert table.nan_rows["loss"].tolist() == [False, True]


def test_a_loss_that_is_no_number_is_counted(read):
    table = read(leveldb([history({"_step": n, "loss": value}) for n, value in enumerate([2.5, "#?#", 2.25])]))
    assert (table.unreadable_lines, table.loss_lines) == (1, 3)


def test_numbers_in_the_place_of_items_and_of_keys_are_passed_over(read):
    number = b"\x08\x05"  # field 1, a number
    record = (
        number + item("_step", 3) + item("loss", 2.5) + message(1, number + message(1, b"lr") + message(16, b"0.5"))
    )
    table = read(leveldb([message(2, record), history({"_step": 4, "loss": 2.25})]))
    assert table.step.tolist() == [3, 4]
    assert table.columns["loss"].tolist() == [2.5, 2.25]
    assert table.columns["learning_rate"][0] == 0.5

"""Final results of several models are refused: they have no course that could be called well."""

import json

import pytest

from mhcdiag.errors import LogError

RESULTS = [{"name": name, "val_loss": 5.09 + at / 8, "params": 9863809} for at, name in enumerate("abcdefgh")]
COURSE = [{"loss": 2.5 - at / 64, "lr": 0.1} for at in range(8)]


def jsonl(records: list[dict[str, object]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def csv(records: list[dict[str, object]]) -> str:
    return ",".join(records[0]) + "\n" + "".join(",".join(map(str, record.values())) + "\n" for record in records)


@pytest.mark.parametrize("write", [lambda found: json.dumps(found, indent=1), jsonl, csv])
@pytest.mark.parametrize(
    "records",
    [
        RESULTS,
        [{"model": one["name"], "loss": one["val_loss"]} for one in RESULTS],
        [{"seed": at, "loss": one["val_loss"]} for at, one in enumerate(RESULTS)],
        [{"final_loss": one["val_loss"], "layers": 12} for one in RESULTS],
        [{"val_loss": one["val_loss"], "layers": 12} for one in RESULTS],
        [{"run": one["name"], "loss": one["val_loss"], "epochs": 10} for one in RESULTS],
    ],
)
def test_results_by_model_are_no_log(read, write, records):
    with pytest.raises(LogError, match="a list of 8 results without a step") as caught:
        read(write(records))
    assert "--step-key" in str(caught.value)


@pytest.mark.parametrize("write", [lambda found: json.dumps(found, indent=1), jsonl, csv])
@pytest.mark.parametrize(
    "records",
    [
        COURSE,
        [one | {"phase": "train"} for one in COURSE],
        [one | {"date": f"2025-01-0{at + 1} 10:00:00", "message": f"epoch {at} done"} for at, one in enumerate(COURSE)],
        [one | {"host": f"2025-01-0{at + 1}T10:00:00"} for at, one in enumerate(COURSE)],
        [one | {"step": at, "name": f"part {at}"} for at, one in enumerate(COURSE)],
        [{"val_loss": one["loss"], "epoch": 0.5 * at, "name": f"part {at}"} for at, one in enumerate(COURSE)],
        [one | {"timestamp": 1.7e9 + at, "name": f"part {at}"} for at, one in enumerate(COURSE)],
    ],
)
def test_a_course_is_a_log(read, write, records):
    assert read(write(records)).columns["loss"].tolist() == [one["loss"] for one in COURSE]


def test_a_column_that_the_user_calls_the_step_makes_results_a_log(read):
    records = [{"name": one["name"], "width": at, "loss": one["val_loss"]} for at, one in enumerate(RESULTS)]
    assert read(jsonl(records), step_key="width").step.tolist() == list(range(8))

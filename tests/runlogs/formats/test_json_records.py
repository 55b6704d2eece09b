import json

import pytest

from mhcdiag.errors import LogError


def test_a_list_of_records(read):
    table = read(json.dumps([{"step": 3 * n, "loss": 2.5 - n} for n in range(3)], indent=1))
    assert table.format == "json"
    assert table.step.tolist() == [0, 3, 6]
    assert table.columns["loss"].tolist() == [2.5, 1.5, 0.5]


def test_a_keras_history(read):
    table = read('{"loss": [2.5, 2.25], "val_loss": [2.75, 2.5], "params": [1]}')
    assert table.columns["loss"].tolist() == [2.5, 2.25]
    assert table.columns["eval_loss"].tolist() == [2.75, 2.5]


def test_a_list_that_is_cut_short_is_read_up_to_the_cut(read):
    table = read('[{"step": 1, "loss": 2.5},\n{"step": 2, "loss": 2.25},\n{"step": 3, "lo')
    assert table.step.tolist() == [1, 2]
    assert any("cut short: 2 records" in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"vocab_size": 97,\n "layers": 13}', "without training records"),
        ('{"a": {"b":\n', "broken JSON"),
        ('{"a":' * 5000, "nested too deep|broken JSON"),
        ('{"log_history": ' + "[" * 5000, "broken JSON"),
        ("[" * 5000 + "]" * 5000, "nested too deep|without training records|broken JSON"),
    ],
)
def test_other_documents_are_errors(read, text, found):
    with pytest.raises(LogError, match=found):
        read(text, name="config.json")


def test_objects_one_behind_the_other(read):
    objects = [json.dumps({"step": 3 * n, "loss": 2.5 - n}, indent=2) for n in range(3)]
    table = read("\n".join(objects))
    assert (table.format, table.step.tolist()) == ("json", [0, 3, 6])
    assert table.columns["loss"].tolist() == [2.5, 1.5, 0.5]


def test_a_record_that_is_longer_than_what_is_looked_at_first_is_a_line(read):
    wide = {f"gradients/layers.{n}.norm": 1.0 for n in range(3000)}
    table = read("".join(json.dumps({"step": n, **wide, "train/loss": 2.5 - n}) + "\n" for n in range(3)))
    assert (table.format, table.step.tolist()) == ("jsonl", [0, 1, 2])
    assert table.columns["loss"].tolist() == [2.5, 1.5, 0.5]
    assert any("more than 1,00" in note for note in table.notes)

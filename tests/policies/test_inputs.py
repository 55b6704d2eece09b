"""What a check looks at: the patterns of a policy, or the paths of the command line."""

import shutil
from pathlib import Path

import pytest

from mhcdiag.policies.inputs import Input, from_paths, from_patterns
from mhcdiag.policies.policy import Inputs
from mhcdiag.results.check import Family

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch) -> Path:
    """A run with two checkpoints whose steps sort differently as text, and one log."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    for step in (10, 2):
        shutil.copy(SAMPLES / "hc.safetensors", folder / f"step_{step}.safetensors")
    shutil.copy(SAMPLES / "logs" / "spiky.jsonl", folder / "train.jsonl")
    return folder


def checkpoint(path: str) -> Input:
    return Input(family=Family.CHECKPOINT, path=path)


STEPS = [checkpoint("run/step_2.safetensors"), checkpoint("run/step_10.safetensors")]
LOG = Input(family=Family.LOG, path="run/train.jsonl")


def test_patterns_find_checkpoints_in_natural_order_and_logs(tmp_path) -> None:
    patterns = Inputs(checkpoints=("run/step_*",), logs=("run/*.jsonl",))
    assert from_patterns(patterns, tmp_path) == [*STEPS, LOG]


def test_a_pattern_that_matches_nothing_is_an_entry_with_an_error(tmp_path) -> None:
    missing, found = from_patterns(Inputs(checkpoints=("run/none_*",), logs=("run/*.jsonl",)), tmp_path)
    assert found == LOG
    assert (missing.family, missing.path) == (Family.CHECKPOINT, "run/none_*")
    assert missing.error == (
        f"the pattern 'run/none_*' matches nothing in {tmp_path}; expected checkpoints, mend [inputs]"
    )


def test_an_address_is_taken_as_it_is_and_what_is_named_twice_counts_once(tmp_path) -> None:
    address = "hf://owner/model"
    patterns = Inputs(checkpoints=(address, "run/step_2*", "run/step_*"))
    assert from_patterns(patterns, tmp_path) == [checkpoint(address), *STEPS]


def test_a_folder_gives_its_checkpoints_and_its_logs() -> None:
    assert from_paths(["run"]) == [*STEPS, LOG]
    assert from_paths(["run/train.jsonl", "run/step_2.safetensors"]) == [LOG, STEPS[0]]


def test_a_folder_of_checkpoints_alone_has_no_complaint_about_logs(run) -> None:
    (run / "train.jsonl").unlink()
    assert from_paths(["run"]) == STEPS


def test_an_empty_folder_is_an_entry_with_an_error(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (found,) = from_paths(["empty"])
    assert found.error == "empty: a folder with neither checkpoint nor log; expected one of them somewhere in it"

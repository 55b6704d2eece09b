import json
import os

import pytest

from mhcdiag.errors import LogError
from mhcdiag.runlogs import iter_logs, read_log

STATE = json.dumps({"log_history": [{"step": 1, "loss": 2.5}]})


def names(folder):
    return [one.removeprefix(str(folder)).lstrip("/") for one in iter_logs(str(folder))]


def test_a_file_and_standard_input_stand_for_themselves(tmp_path):
    assert iter_logs("-") == ["-"]
    assert iter_logs(str(tmp_path / "absent.log")) == [str(tmp_path / "absent.log")]


def test_logs_run_folders_and_what_is_no_log(tmp_path):
    (tmp_path / "a.log").write_text("died early\n")
    (tmp_path / "notes.txt").write_text("nothing\n")
    (tmp_path / "config.json").write_text('{"layers": 13}')
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "events.out.tfevents.1.a").write_bytes(b"")
    (tmp_path / "mlruns" / "0" / "abc" / "metrics").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "abc" / "meta.yaml").write_text("")
    (tmp_path / "mlruns" / "0" / "abc" / "metrics" / "loss").write_text("1628697792090 2.5 0\n")
    (tmp_path / "offline-run-1").mkdir()
    (tmp_path / "offline-run-1" / "run-x.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    assert names(tmp_path) == ["a.log", "metrics.jsonl", "mlruns/0/abc", "offline-run-1/run-x.wandb", "tb"]


def test_of_the_checkpoints_of_a_run_the_last_counts(tmp_path):
    for step in (5, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(STATE)
    assert names(tmp_path) == ["checkpoint-100/trainer_state.json"]
    (tmp_path / "trainer_state.json").write_text(STATE)
    assert names(tmp_path) == ["trainer_state.json"]


def test_a_folder_as_one_log(tmp_path):
    (tmp_path / "trainer_state.json").write_text(STATE)
    assert read_log(str(tmp_path)).format == "trainer_state"
    (tmp_path / "b.log").write_text("x\n")
    with pytest.raises(LogError, match="a folder with 2 logs"):
        read_log(str(tmp_path))


def test_a_folder_without_logs(tmp_path):
    (tmp_path / "model.txt").write_text("x\n")
    with pytest.raises(LogError, match="a folder without logs"):
        iter_logs(str(tmp_path))


def test_a_wandb_run_is_its_history_alone(tmp_path):
    run = tmp_path / "wandb" / "offline-run-1"
    for name in ("run-1.wandb", "logs/debug.log", "files/output.log"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(b"step 1 loss 2.5\n")
    (run.parent / "debug.log").symlink_to(run / "logs" / "debug.log")
    assert iter_logs(str(tmp_path)) == [str(run / "run-1.wandb")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_links_to_themselves_are_passed_over(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    os.mkfifo(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").symlink_to("c.jsonl")
    assert iter_logs(str(tmp_path)) == [str(tmp_path / "a.jsonl")]

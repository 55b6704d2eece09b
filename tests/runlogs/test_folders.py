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


def test_beside_the_history_of_a_wandb_run_what_the_code_printed_is_a_log_and_what_wandb_printed_is_none(tmp_path):
    run = tmp_path / "wandb" / "offline-run-1"
    for name in ("run-1.wandb", "logs/debug.log", "logs/debug-internal.log", "files/output.log", "train.jsonl"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(b'{"step": 1, "loss": 2.5}\n')
    (run / "files" / "wandb-summary.json").write_text('{"loss": 2.5, "_step": 3}')
    (run.parent / "debug.log").symlink_to(run / "logs" / "debug.log")
    assert names(run) == ["files/output.log", "run-1.wandb", "train.jsonl"]


def test_event_files_hide_no_other_log_and_no_subfolder(tmp_path):
    (tmp_path / "events.out.tfevents.1.a").write_bytes(b"")
    (tmp_path / "train.log").write_text("step 1 loss 2.5\n")
    (tmp_path / "version_0").mkdir()
    (tmp_path / "version_0" / "metrics.csv").write_text("step,train_loss\n1,2.5\n")
    assert names(tmp_path) == ["", "train.log", "version_0/metrics.csv"]


def test_artifacts_of_an_mlflow_run_are_looked_at(tmp_path):
    for name in ("metrics/loss", "params/lr", "artifacts/train.log", "tags/mlflow.note.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1628697792090 2.5 0\n")
    assert names(tmp_path) == ["", "artifacts/train.log"]


LINES = "".join(f"step {at} loss {2.5 - at / 64}\n" for at in range(9))


@pytest.mark.parametrize(
    ("name", "text", "log"),
    [
        ("train.txt", LINES, True),
        ("stdout", LINES, True),
        ("console.err", LINES, True),
        ("train.txt", "".join(LINES.splitlines(keepends=True)[:7]), False),
        ("train.txt", "loss 2.5\n" * 40, False),
        ("train.txt", LINES.replace("loss", "speed"), False),
        ("train.log.1", "died\n", True),
        ("train.log.2024-01-31", "died\n", True),
        ("train.o4711", "died\n", True),
        ("train.jsonl.bak", '{"step": 1, "loss": 2.5}\n', True),
        ("README.md", LINES, False),
        ("train.py", LINES, False),
        ("config.yaml", LINES, False),
        ("history.json", '{"loss": [2.5, 2.25], "val_loss": [2.75, 2.5]}', True),
        ("history.json", json.dumps([{"step": at, "loss": 2.5} for at in range(3)]), True),
        ("config.json", '{"loss": "mse", "layers": [{"norm": 1}, {"norm": 2}]}', False),
        ("all_results.json", '{"train_loss": 2.5, "epoch": 3.0}', False),
        ("results.json", json.dumps([{"name": n, "val_loss": 2.5} for n in "abc"]), False),
        ("results.csv", "name,val_loss\na,2.5\nb,2.25\n", False),
        ("results.jsonl", '{"name": "a", "loss": 2.5}\n{"name": "b", "loss": 2.25}\n', False),
        ("metrics.csv", "step,loss\n1,2.5\n2,2.25\n", True),
        ("metrics.csv", "step,loss\n1,#\n2,#\n", True),
        ("data.csv", "id,text\n1,a loss\n", False),
        ("progress.dat", "| loss | 2.5 |\n| step | 1 |\n------------\n", True),
        ("golden", "1 2.5\n2 2.25\n", True),
        ("run-x.wandb", "damaged", True),
        ("trainer_state.json", "", True),
        ("gains.jsonl", '{"step": 1, "gain_fwd": 2.5}\n', True),
    ],
)
def test_which_files_are_logs(tmp_path, name, text, log):
    (tmp_path / name).write_text(text)
    (tmp_path / "other.log").write_text("")
    assert names(tmp_path) == sorted([name, "other.log"] if log else ["other.log"])


def test_a_log_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    def refuse(path: str) -> None:
        raise LogError(path, found="permission denied")

    monkeypatch.setattr("mhcdiag.runlogs.recognition.open_source", refuse)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    assert names(tmp_path) == ["metrics.jsonl"]


def test_links_out_of_the_folder_are_followed_once(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.log").write_text(LINES)
    (tmp_path / "far" / "back").symlink_to(tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(tmp_path / "far")
    (tmp_path / "runs" / "two").symlink_to(tmp_path / "far")
    (tmp_path / "runs" / "b.log").symlink_to(tmp_path / "far" / "a.log")
    assert names(tmp_path / "runs") == ["b.log", "one/a.log"]


def test_a_checkpoint_that_was_written_later_is_of_another_run(tmp_path):
    for step, time in ((500, 2e9), (1000, 1e9), (100, 1e8)):
        state = tmp_path / f"checkpoint-{step}" / "trainer_state.json"
        state.parent.mkdir()
        state.write_text(STATE)
        os.utime(state, (time, time))
    assert names(tmp_path) == ["checkpoint-1000/trainer_state.json", "checkpoint-500/trainer_state.json"]
    (tmp_path / "checkpoint-100" / "train.log").write_text(LINES)
    assert "checkpoint-100/train.log" in names(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_links_to_themselves_are_passed_over(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    os.mkfifo(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").symlink_to("c.jsonl")
    assert iter_logs(str(tmp_path)) == [str(tmp_path / "a.jsonl")]

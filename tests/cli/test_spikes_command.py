"""`mhcdiag spikes` as a shell sees it: exit codes, the JSON contract, bad input, following a log."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from trainlogs import healthy, spiky, write_jsonl

from mhcdiag.cli.main import run


@pytest.fixture
def calm(tmp_path) -> str:
    return str(write_jsonl(tmp_path / "calm.jsonl", healthy()))


@pytest.fixture
def spike(tmp_path) -> str:
    return str(write_jsonl(tmp_path / "spike.jsonl", spiky()))


@pytest.fixture
def nan(tmp_path) -> str:
    loss = healthy()
    loss[600:] = np.nan
    return str(write_jsonl(tmp_path / "nan.jsonl", loss, grad_norm=np.full(800, 0.5)))


def strict_json(text: str) -> dict:
    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} is not strict JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("calm", 0),
        ("spike", 0),
        ("nan", 1),
        ("nan --fail-on never", 0),
        ("nan --fail-on spike,blip", 0),
        ("spike --fail-on spike", 1),
        ("spike --max-spikes 1", 0),
        ("spike --max-spikes 0", 1),
        ("spike --max-spike-score 0.5", 0),
        ("spike --max-spike-score 0.0001", 1),
        ("spike --steps :400 --fail-on spike", 0),
        ("calm missing", 2),
        ("missing nan", 1),
        ("calm spike", 0),
    ],
)
def test_exit_codes(arguments: str, code: int, request, capsys):
    names = {"calm", "spike", "nan"}
    words = [
        request.getfixturevalue(word) if word in names and not previous.startswith("--") else word
        for previous, word in zip(["", *arguments.split()], arguments.split(), strict=False)
    ]
    assert run(["spikes", "-q", *("/nowhere/run.log" if word == "missing" else word for word in words)]) == code
    out = capsys.readouterr()
    assert out.err.count("mhcdiag: /nowhere/run.log") == words.count("missing")


def test_the_json_contract(nan: str, spike: str, capsys):
    assert run(["spikes", spike, nan, "--json"]) == 1
    document = strict_json(capsys.readouterr().out)
    assert {"format_version": 1, "command": "spikes", "verdict": "fail"}.items() <= document.items()
    first, second = document["results"]
    assert {
        "path", "verdict", "format", "lines", "unreadable_lines", "runs", "notes", "limits", "series"
    } <= first.keys()  # fmt: skip
    assert first["runs"] == [{"first_step": 1, "last_step": 800, "points": 800}]
    loss = first["series"]["loss"]
    assert {"source_name", "points", "spike_score", "events"} <= loss.keys()
    assert {"olmo2", "olmo_core"} <= loss["spike_score"].keys()
    (event,) = loss["events"]
    assert {
        "kind", "run", "line", "start", "peak", "end", "value", "baseline", "z", "duration", "recovered",
        "recovery_steps",
    } <= event.keys()  # fmt: skip
    assert (event["kind"], event["start"], event["recovered"]) == ("spike", 501, True)
    assert second["verdict"] == "fail"
    broken = second["series"]["loss"]["events"][0]
    assert (broken["kind"], broken["start"], broken["value"]) == ("nan", 601, "nan")


def test_a_bad_file_stands_among_the_others(calm: str, capsys):
    assert run(["spikes", "/nowhere/run.log", calm, "--json"]) == 2
    results = strict_json(capsys.readouterr().out)["results"]
    assert [result["verdict"] for result in results] == ["unjudged", "pass"]


def test_csv(spike: str, capsys):
    assert run(["spikes", spike, "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["kind"] == "spike"
    assert float(row["start"]) == 501


def test_the_report_names_line_and_recovery(spike: str, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["spikes", spike, "--context", "1"]) == 0
    out = capsys.readouterr().out
    assert "501" in out
    assert "back after" in out
    assert '{"step": 501' in out
    assert out.rstrip().splitlines()[-1].startswith("PASS")


def test_listing_and_judging_another_series(tmp_path, capsys):
    gain = np.ones(800)
    gain[300:310] = 50
    path = str(write_jsonl(tmp_path / "run.jsonl", healthy(), G_raw=gain + 0.01 * healthy(seed=4)))
    assert run(["spikes", path, "--list-series"]) == 0
    assert "G_raw" in capsys.readouterr().out
    assert run(["spikes", path, "--series", "G_raw", "--json"]) == 0
    (result,) = strict_json(capsys.readouterr().out)["results"]
    assert [event["start"] for event in result["series"]["G_raw"]["events"]] == [301]


def test_listing_does_not_stop_at_a_bad_file(calm: str, capsys):
    assert run(["spikes", "/nowhere/run.log", calm, "--list-series"]) == 2
    out = capsys.readouterr()
    assert "loss" in out.out
    assert out.err.count("mhcdiag: /nowhere/run.log") == 1


def test_two_runs_against_each_other(calm: str, tmp_path, capsys):
    loss = healthy(seed=1)
    loss[500:] += 0.3
    worse = str(write_jsonl(tmp_path / "worse.jsonl", loss))
    assert run(["spikes", worse, "--against", calm, "--json"]) == 0
    comparison = strict_json(capsys.readouterr().out)["against"]
    assert comparison["final_gap"] == pytest.approx(0.3, abs=0.03)
    assert 480 <= comparison["opens"] <= 540


def test_advice_on_what_did_not_recover(nan: str, capsys):
    assert run(["spikes", nan, "--advice"]) == 1
    assert "restart from a checkpoint at or before step 501 and skip 200 to 500" in capsys.readouterr().out


@pytest.mark.parametrize("rule", ["olmo2", "olmo-core", "kill-loss-spike", "megatron", "zclip", "mhcdiag"])
def test_every_rule_runs_and_is_explained(rule: str, spike: str, capsys):
    assert run(["spikes", spike, "-q", "--rule", rule]) == 0
    assert run(["explain", rule]) == 0
    assert len(capsys.readouterr().out) > 200


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plots(spike: str, nan: str, tmp_path, suffix: str):
    target = tmp_path / f"run.{suffix}"
    assert run(["spikes", spike, nan, "-q", "--plot", str(target), "--log-scale"]) == 1
    assert target.stat().st_size > 1000


DEEP = '{"step": 1, "loss": ' + "[" * 5000 + "]" * 5000 + "}\n"

BAD = {
    "empty": b"",
    "binary_junk": bytes(range(256)) * 64,
    "no_loss_column": b'{"step": 1, "lr": 0.1}\n' * 50,
    "text_like_csv": b"the quick, brown fox\njumps over, the lazy dog\n" * 30,
    "truncated_gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab",
    "nested_json": DEEP.encode() * 20,
    "one_long_line": b"x" * 10_000_000,
    "short": b"".join(b'{"step": %d, "loss": 2.5}\n' % step for step in range(9)),
    "unreadable_losses": b"".join(
        b'{"step": %d, "loss": %s}\n' % (step, b'"n/a"' if step % 3 == 0 else b"2.5") for step in range(90)
    ),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_input_is_never_clean(name: str, tmp_path, capsys):
    path = tmp_path / f"{name}{'.gz' if name == 'truncated_gz' else '.log'}"
    path.write_bytes(BAD[name])
    assert run(["spikes", str(path)]) == 2
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    assert "PASS" not in out.out
    assert out.err.count("\n") <= 1
    assert out.err or "UNJUDGED" in out.out


USABLE = {
    "bom": lambda text: b"\xef\xbb\xbf" + text,
    "crlf": lambda text: text.replace(b"\n", b"\r\n"),
    "nul_line": lambda text: text + b"\0\0\0\n",
    "invalid_utf8": lambda text: b"warming up \xff\xfe\x80\n" + text,
    "long_line": lambda text: text + b"x" * 10_000_000 + b"\n",
    "deep_line": lambda text: text + DEEP.encode(),
    "scalars": lambda text: b'1\n[2]\n"x"\n' + text,
    "numbers_as_strings": lambda text: text.replace(b'"loss": ', b'"loss": "').replace(b"}", b'"}'),
}


@pytest.mark.parametrize("name", sorted(USABLE))
def test_what_is_usable_is_judged(name: str, tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(USABLE[name](write_jsonl(path, healthy()).read_bytes()))
    done = subprocess.run(
        [sys.executable, "-m", "mhcdiag", "spikes", str(path), "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    (result,) = strict_json(done.stdout)["results"]
    assert result["runs"][0]["points"] == 800
    assert result["series"]["loss"]["events"] == []


@pytest.mark.parametrize("line", ["NaN", "Infinity", "1e999", "9" * 400, 'NaN, "msg": "\x1b[31mred\x07"'])
def test_a_loss_that_is_not_finite_fails_however_it_is_written(line: str, calm: str):
    with Path(calm).open("a") as log:
        log.write(f'{{"step": 801, "loss": {line}}}\n')
    assert run(["spikes", "-q", calm]) == 1


def test_prose_that_names_losses_is_no_log(tmp_path, capsys):
    path = tmp_path / "notes.md"
    path.write_text("# Results\n\n" + "".join(f"Run {i} ended at loss: 2.{i}, lr: 0.{i}.\n\n" for i in range(1, 20)))
    assert run(["spikes", str(path)]) == 2
    assert "a document" in capsys.readouterr().err
    assert run(["spikes", "-q", str(path), "--log-format", "generic"]) == 0


def test_control_characters_of_names_never_reach_the_terminal(calm: str, tmp_path, capsys):
    path = tmp_path / "evil\x1b[31m.jsonl"
    path.write_bytes(Path(calm).read_bytes())
    assert run(["spikes", str(path)]) == 0
    assert run(["spikes", str(tmp_path / "missing\x1b[2J.log")]) == 2
    out = capsys.readouterr()
    assert "\x1b" not in out.out + out.err
    assert "\\x1b[31m" in out.out


@pytest.mark.parametrize("cut", [2, 9, 17])
def test_a_half_written_last_line_leaves_a_note(calm: str, cut: int, capsys):
    path = Path(calm)
    path.write_bytes(path.read_bytes() + b'{"step": 801, "loss": 9.75}'[:cut])
    assert run(["spikes", calm, "--json"]) == 0
    (result,) = strict_json(capsys.readouterr().out)["results"]
    assert "the last line is half-written: left out" in result["notes"]
    assert result["runs"][0]["points"] == 800


@pytest.mark.parametrize("arguments", [["--rule", "no"], ["--fail-on", "no"], ["--steps", "x"], ["--regex", "("]])
def test_bad_usage_is_one_line_and_exit_2(calm: str, capsys, arguments: list[str]):
    assert run(["spikes", calm, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1


def test_stdin(spike: str, capsys, monkeypatch):
    data = Path(spike).read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "mhcdiag", "spikes", "-", "--json"], input=data, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert strict_json(done.stdout.decode())["results"][0]["series"]["loss"]["events"][0]["start"] == 501


def test_torch_is_never_needed(nan: str):
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('torch', 'jaxtyping', 'pandas'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from mhcdiag.cli.main import run\n"
        "codes = run(['spikes', '-q', sys.argv[1]]), run(['gain', '-q', sys.argv[1]])\n"
        "print(codes)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, nan], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "(1, 2)"
    assert "needs the package" in done.stderr


class TestFollow:
    """A log that grows while it is read."""

    def start(self, path: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mhcdiag", "spikes", "--follow", str(path), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
        )  # fmt: skip

    def test_it_waits_for_the_file_and_stops_at_the_first_failed_gate(self, nan: str, tmp_path):
        path, seen = tmp_path / "grows.jsonl", tmp_path / "event.json"
        process = self.start(path, "--on-fail", f"printenv MHCDIAG_EVENT >> {seen}; exit 7", "--idle-timeout", "60")
        time.sleep(0.5)
        text = Path(nan).read_text()
        with path.open("w") as log:
            for start in range(0, len(text), 4001):  # pieces end within lines
                log.write(text[start : start + 4001])
                log.flush()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "nan" in out
        assert "ended with 7" in err
        (event,) = seen.read_text().splitlines()
        assert json.loads(event)["kind"] == "nan"

    def test_it_survives_a_rotation(self, nan: str, calm: str, tmp_path):
        path = tmp_path / "train.jsonl"
        path.write_text(Path(calm).read_text())
        process = self.start(path, "--idle-timeout", "60")
        time.sleep(3)
        path.rename(tmp_path / "train.jsonl.1")
        path.write_text(Path(nan).read_text())
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "nan" in out

    def test_a_log_of_unreadable_losses_is_not_clean_when_it_stands_still(self, tmp_path):
        path = tmp_path / "run.jsonl"
        path.write_bytes(BAD["unreadable_losses"])
        process = self.start(path, "--idle-timeout", "1")
        process.communicate(timeout=60)
        assert process.returncode == 2

    def test_standing_still_ends_with_a_summary(self, spike: str):
        process = self.start(Path(spike), "--idle-timeout", "1")
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "spike" in out

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    def test_signals(self, spike: str, number: int, code: int):
        process = self.start(Path(spike), "--idle-timeout", "60")
        assert process.stdout is not None
        process.stdout.readline()  # it follows by now
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == code

    def test_a_gate_on_the_spike_score_trips_without_an_event_to_name(self, tmp_path):
        loss, seen = 2.5 + 0.002 * np.random.default_rng(5).standard_normal(401), tmp_path / "event.json"
        loss[300] *= 1.015  # below the smallest rise of our rule, above six of OLMo-core's deviations
        path = write_jsonl(tmp_path / "run.jsonl", loss)
        process = self.start(
            path, "--max-spike-score", "0", "--on-fail", f"printenv MHCDIAG_EVENT > {seen}", "--idle-timeout", "9"
        )
        process.communicate(timeout=60)
        assert process.returncode == 1
        told = json.loads(seen.read_text())
        assert "spike_score" in told["reason"]
        assert "kind" not in told

    def test_the_message_of_the_loss_scaler_trips_the_gate(self, tmp_path):
        path, seen = tmp_path / "run.log", tmp_path / "event.json"
        lines = [f"step {step} | loss 2.5{step % 7} | lr 0.001" for step in range(1, 301)]
        lines.append("Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.")
        path.write_text("\n".join(lines) + "\n")
        process = self.start(path, "--on-fail", f"printenv MHCDIAG_EVENT > {seen}", "--idle-timeout", "60")
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "loss_scale" in out
        told = json.loads(seen.read_text())
        assert (told["kind"], told["series"]) == ("loss_scale", "loss_scale")

    @pytest.mark.parametrize("epoch", ["NaN", "Infinity"])
    def test_an_epoch_that_is_no_number_does_not_hide_a_nan_loss(self, epoch: str, tmp_path):
        path, seen = tmp_path / "run.jsonl", tmp_path / "ran"
        lines = [f'{{"step": {step}, "loss": 3.0, "epoch": 0}}' for step in range(101)]
        lines.append(f'{{"step": 101, "loss": NaN, "epoch": {epoch}}}')
        path.write_text("\n".join(lines) + "\n")
        process = self.start(path, "--on-fail", f"echo ran > {seen}", "--idle-timeout", "60")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (1, "")
        assert "nan in loss, at step 101" in out
        assert seen.read_text() == "ran\n"

    def test_what_cannot_be_read_ends_with_2(self, tmp_path):
        process = self.start(tmp_path)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert err.count("\n") == 1
        assert "is a directory" in err

    def test_following_finds_what_reading_finds(self, spike: str, capsys):
        process = self.start(Path(spike), "--idle-timeout", "1", "--json", "--log-format", "jsonl")
        followed = strict_json(process.communicate(timeout=60)[0])["results"][0]["series"]["loss"]["events"]
        assert run(["spikes", spike, "--json", "--log-format", "jsonl"]) == 0
        whole = strict_json(capsys.readouterr().out)["results"][0]["series"]["loss"]["events"]
        assert followed == whole


def test_a_terminal_of_one_column(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1")
    assert run(["spikes", str(Path(__file__).parents[2] / "sample_checkpoints" / "logs" / "spiky.jsonl")]) == 0
    assert capsys.readouterr().out

"""Bad input: an error of one line, or a note where the rest is usable; never a traceback."""

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import numpy as np
import pytest

from mhcdiag.errors import LogError, MissingExtraError, SettingError
from mhcdiag.runlogs import read_log

STEPS = 57
NANOGPT = "".join(f"iter {n}: loss {4 - n / 97:.4f}, time {n}.5ms, mfu 13.85%\n" for n in range(STEPS))
LOSSES = [round(4 - n / 97, 4) for n in range(STEPS)]


def test_missing_empty_and_not_a_log(tmp_path, read):
    with pytest.raises(LogError, match=r"absent.log: No such file"):
        read_log(str(tmp_path / "absent.log"))
    with pytest.raises(LogError, match="an empty file"):
        read("")
    with pytest.raises(LogError, match="no training records"):
        read("\n\n \n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LogError, match="a folder without logs"):
        read_log(str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["junk.bin", "junk.jsonl", "junk.csv"])
def test_binary_junk(read, name):
    junk = np.random.default_rng(3).integers(0, 256, 100_003, dtype=np.uint8).tobytes()
    with pytest.raises(LogError, match="binary data of no known kind"):
        read(junk, name=name)


def test_a_run_that_died_before_its_first_step(read):
    with pytest.raises(LogError, match=r"no training records.*--log-format"):
        read("Downloading shards\nloss function: cross entropy\nRuntimeError: CUDA error, no loss\n")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_logs_whatever_their_name(read, pack):
    table = read(pack(NANOGPT.encode()), name="train.log")
    assert table.columns["loss"].tolist() == LOSSES


def test_zstd_with_its_extra(read, monkeypatch):
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.compress(NANOGPT.encode())
    assert read(packed).columns["loss"].tolist() == LOSSES
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'zstd'"):
        read(packed)


def test_a_compressed_log_that_is_cut_short_is_read_up_to_there(read):
    rng = np.random.default_rng(5)
    log = "".join(f"iter {n}: loss {rng.random():.4f}, time {rng.random():.3f}ms\n" for n in range(4001))
    packed = gzip.compress(log.encode())
    table = read(packed[: len(packed) // 2])
    assert 1500 < len(table.step) < 2500
    np.testing.assert_array_equal(table.step, np.arange(len(table.step)))
    assert any("damaged or cut short" in note for note in table.notes)


def test_compressed_junk(read):
    with pytest.raises(LogError, match=r"damaged|no training records|an empty file"):
        read(b"\x1f\x8b\x08" + bytes(range(200)))


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(NANOGPT.encode())))
    table = read_log("-")
    assert table.path == "-"
    assert table.columns["loss"].tolist() == LOSSES


def test_the_format_of_a_stream_shows_late(monkeypatch):
    noise = "downloading shard 17\n" * 1900
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((noise + NANOGPT * 997).encode())))
    assert len(read_log("-").step) == 997 * STEPS


def test_records_in_the_middle_or_at_the_end_of_a_long_log(read):
    noise = "warning: something else happened here\n" * 5003
    for log in (noise + NANOGPT + noise, noise + NANOGPT):
        table = read(log)
        assert table.format == "nanogpt"
        assert table.columns["loss"].tolist() == LOSSES
        assert table.line[0] == 5004


@pytest.mark.parametrize(
    "log",
    [
        NANOGPT.replace("\n", "\r\n"),
        "\ufeff" + NANOGPT,
        NANOGPT.replace("iter 3:", "\x00\x00iter 3:"),
        NANOGPT.encode("utf-16"),
        NANOGPT.rstrip("\n"),
        NANOGPT.replace("iter", "\x1b[36miter\x1b[0m"),
        "".join(f"1970-01-01T00:00:00.000000003Z stdout F {line}\n" for line in NANOGPT.splitlines()),
        "".join(f"[1,0]<stdout>:{line}\n" for line in NANOGPT.splitlines()),
        "".join(f"(TrainWorker pid=713, ip=10.0.0.7) {line}\n" for line in NANOGPT.splitlines()),
        "".join(f"  3: [rank5]:{line}\n" for line in NANOGPT.splitlines()),
    ],
    ids=["crlf", "bom", "nul", "utf16", "no-end", "ansi", "k8s", "mpirun", "ray", "srun-rank"],
)
def test_encodings_ends_and_prefixes_change_nothing(read, log):
    table = read(log)
    assert table.format == "nanogpt"
    assert table.columns["loss"].tolist() == LOSSES
    assert table.line.tolist() == list(range(1, STEPS + 1))


def test_invalid_utf8_and_nul_bytes_inside(read):
    raw = NANOGPT.encode().replace(b"iter 5:", b"\xff\xfe\x80 iter 5:").replace(b"mfu", b"mf\xc3", 3)
    assert read(raw).columns["loss"].tolist() == LOSSES


def test_a_last_line_that_is_half_written_is_left_out(read):
    table = read(NANOGPT + f"iter {STEPS}: loss 9.")
    assert table.columns["loss"].tolist() == LOSSES
    assert any("half-written" in note for note in table.notes)


@pytest.mark.parametrize(
    ("log", "points"),
    [
        (NANOGPT + "x" * 10_000_019 + "\n" + "iter 57: loss 2.5, time 1ms, mfu 1%\n", STEPS + 1),
        ("step,loss\n1,2.5\n2," + "9" * 10_000_019 + "\n3,2.25\n", 2),
        ('step,loss\n1,2.5\n2,"' + "9" * 10_000_019 + '"\n3,2.25\n', 2),
        (
            '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.25, "x": "'
            + "y" * 10_000_019
            + '"}\n{"step": 3, "loss": 2}\n',
            2,
        ),
    ],
    ids=["text", "csv", "csv-quoted", "jsonl"],
)
def test_a_line_of_ten_million_characters(read, log, points):
    table = read(log)
    assert np.isfinite(table.columns["loss"]).sum() == points
    assert any("longer than a million characters" in note for note in table.notes)


def test_json_nested_five_thousand_deep_inside_json_lines(read):
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    table = read('{"step": 1, "loss": 2.5}\n' + deep + '\n{"step": 2, "loss": 2.25}\n')
    assert table.columns["loss"].tolist() == [2.5, 2.25]


def test_steps_that_are_missing_negative_or_fractional(read):
    missing = read('{"step": 10, "loss": 2.5}\n{"step": 20, "loss": 2.25}\n{"loss": 2.0}\n{"step": 40, "loss": 1.75}\n')
    assert missing.step.tolist() == [10, 20, 30, 40]
    assert any("1 records without a step" in note for note in missing.notes)
    assert read('{"step": -5, "loss": 2.5}\n{"step": 5, "loss": 2.25}\n').step.tolist() == [-5, 5]
    floating = read('{"step": 0.5, "loss": 2.5}\n{"step": 1.5, "loss": 2.25}\n')
    assert floating.step.tolist() == [0.5, 1.5]
    none = read('{"loss": 2.5}\n{"loss": 2.25}\n')
    assert none.step.tolist() == [0, 1]
    assert any("no step in the log" in note for note in none.notes)


def test_a_log_without_a_loss_says_what_it_has(read):
    table = read("".join(f'{{"step": {n}, "reward": {n}, "entropy": 1.5}}\n' for n in range(13)))
    with pytest.raises(LogError, match=r"no series 'loss'.*it has reward, entropy.*--loss-key"):
        table.require("loss")


def test_formats_and_keys_that_do_not_exist(read):
    with pytest.raises(SettingError, match=r"--log-format klingon: no such format; there are .*megatron"):
        read(NANOGPT, log_format="klingon")
    with pytest.raises(SettingError, match=r"--step-key t: the log has no such field"):
        read('{"step": 1, "loss": 2.5}\n', step_key="t")


def test_a_forced_format_that_finds_nothing(read):
    with pytest.raises(LogError, match="no training records"):
        read(NANOGPT, log_format="megatron")


def test_prose_about_losses_is_no_log(read):
    prose = "Our loss was 2.5 at the start.\nA loss of 3 is bad, a norm of 7 too.\nThe loss fell by 13 %.\n" * 7
    with pytest.raises(LogError, match="no training records"):
        read(prose, name="README.md")


def test_a_document_in_a_known_format_is_a_log(read):
    table = read(NANOGPT, name="README.md")
    assert (table.format, table.columns["loss"].tolist()) == ("nanogpt", LOSSES)
    lines = "".join(f"step {n} loss {loss}\n" for n, loss in enumerate(LOSSES))
    with pytest.raises(LogError, match=r"a document that names losses in no known log format.*--log-format generic"):
        read(lines, name="notes.MD")
    assert read(lines, name="notes.md", log_format="generic").columns["loss"].tolist() == LOSSES
    assert read(lines, name="notes.log").format == "generic"


def test_no_module_here_needs_torch_or_pandas():
    import subprocess

    hide = "import sys; sys.modules['torch'] = sys.modules['pandas'] = None"
    code = f"{hide}; import mhcdiag.runlogs as r; print(len(r.FORMATS))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 25


def test_without_the_fast_parser_the_table_is_the_same(read, monkeypatch):
    import json

    from mhcdiag.runlogs import records
    from mhcdiag.runlogs.formats import json_lines

    log = (
        "".join(f'{{"step": {n}, "loss": {n / 7}, "big": {10**400 if n == 3 else n}}}\n' for n in range(13))
        + '{"step": 13, "loss": NaN}\n'
    )
    fast = read(log)
    monkeypatch.setattr(records, "loads_strictly", json.loads)
    monkeypatch.setattr(json_lines, "loads_strictly", json.loads)
    slow = read(log)
    assert fast.columns.keys() == slow.columns.keys()
    for name, column in fast.columns.items():
        np.testing.assert_array_equal(column, slow.columns[name])
    assert np.isinf(fast.columns["big"][3])


def test_a_loss_that_the_log_does_not_have_is_not_replaced_by_another(tmp_path):
    """A key that is mistyped must not pass because the loss is well."""
    log = tmp_path / "run.jsonl"
    log.write_text("".join(f'{{"step": {i}, "loss": 2.0, "eval_x": NaN}}\n' for i in range(9)))
    with pytest.raises(LogError, match=r"no series 'eval_xx'; expected one of 'eval_x', .*--list-series"):
        read_log(str(log), loss_key="eval_xx")
    assert read_log(str(log), loss_key="eval_x").source_names["loss"] == "eval_x"

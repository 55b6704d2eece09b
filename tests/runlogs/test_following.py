import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runlogs.formats import test_megatron, test_olmo, test_torchtitan
from runlogs.textchecks import final_rows, rows_of

from mhcdiag.errors import LogError, SettingError
from mhcdiag.runlogs import LineReader, Row, ScalerEvent, read_log

LOGS = {
    "megatron": test_megatron.LOG.encode(),
    "olmo": test_olmo.LOG.encode(),
    "torchtitan": test_torchtitan.LOG.encode(),
    "jsonl": b'{"step": 1, "loss": 2.5}\r\n{"step": 2, "loss": NaN, "lr": 1}\n{"step": 3, "lo',
    "csv": "\ufeffstep,loss\r\n1,2.5\r\n2,\u00fc\r\n3,2.0".encode(),
    "generic": b"3/97 loss=2.5\r4/97 loss=2.25\r\r\n5/97 loss=nan\r\n",
}


@pytest.mark.parametrize("name", LOGS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_split_of_the_bytes_changes_nothing(name, data):
    log = LOGS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=13)))
    reader = LineReader(log_format=name)
    entries = [entry for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True) for entry in reader.feed(log[a:b])]
    entries += reader.close()
    rows = final_rows(entries)
    assert [repr(row) for row in rows] == [repr(row) for row in rows_of(log, name, len(log))]


def test_rows_come_as_soon_as_their_line_has_ended():
    reader = LineReader(log_format="nanogpt")
    assert reader.feed(b"iter 7: loss 2.5, time 1ms") == []
    (row,) = reader.feed(b"\n")
    assert isinstance(row, Row)
    assert (row.step, row.line, row.values["loss"]) == (7, 1, 2.5)


def test_messages_stand_between_the_rows():
    reader = LineReader(log_format="nanogpt")
    entries = reader.feed(
        b"iter 7: loss 2.5\nFloatingPointError: Minimum loss scale reached (0.0001).\niter 8: loss 2.4\n"
    )
    assert [type(entry) for entry in entries] == [Row, ScalerEvent, Row]
    assert isinstance(entries[1], ScalerEvent)
    assert (entries[1].kind, entries[1].step) == ("minimum", 7)


def test_the_format_is_found_early_and_nothing_is_lost():
    log = b"starting\n" + b"".join(b"iter %d: loss 2.5, time 1ms\n" % n for n in range(31))
    reader = LineReader()
    before = reader.feed(log[:200])
    assert (reader.format, before) == (None, [])
    entries = reader.feed(log[200:]) + reader.close()
    assert reader.format == "nanogpt"
    assert [entry.step for entry in entries if isinstance(entry, Row)] == list(range(31))


def test_a_short_log_is_recognised_at_its_end():
    reader = LineReader()
    assert reader.feed(b"iter 7: loss 2.5, time 1ms\n") == []
    assert len(reader.close()) == 1


def test_a_log_without_records_is_an_error_at_its_end():
    reader = LineReader(path="run.log")
    reader.feed(b"hello\nworld\n" * 3001)
    with pytest.raises(LogError, match=r"run.log: no training records"):
        reader.close()


def test_formats_that_need_the_whole_file():
    with pytest.raises(LogError, match="trainer_state, which is read as a whole"):
        LineReader(log_format="trainer_state")
    with pytest.raises(SettingError, match="no such format"):
        LineReader(log_format="klingon")


def test_counts_and_names_while_it_grows():
    reader = LineReader(log_format="generic")
    reader.feed(b"step: 1 train_loss: 2.5\nstep: 2 train_loss: ###\nstep: 3 train_loss: nan gnorm: 1.5\n")
    assert (reader.lines, reader.loss_lines, reader.unreadable_lines) == (3, 3, 1)
    assert reader.source_names == {"loss": "train_loss", "grad_norm": "gnorm"}


def test_options_name_the_loss_and_the_step():
    reader = LineReader(log_format="jsonl", loss_key="ce", step_key="t")
    (row,) = reader.feed(b'{"t": 3, "step": 0, "loss": 9, "ce": 2.5}\n')
    assert isinstance(row, Row)
    assert (row.step, row.values["loss"]) == (3, 2.5)


def test_nothing_is_kept_of_what_was_read():
    """Constant memory: behind the first lines the reader holds as much after three thousand and after ten thousand."""
    import pickle

    def weight(count: int) -> int:
        reader = LineReader(log_format="jsonl")
        for n in range(count):
            reader.feed(b'{"step": %d, "loss": 2.5, "epoch": 0.5}\n' % n)
        return len(pickle.dumps({key: value for key, value in vars(reader).items() if key not in ("_opened", "_rows")}))

    assert abs(weight(3000) - weight(10_007)) < 100


def test_a_growing_log_reads_as_the_whole(tmp_path):
    path = tmp_path / "train.log"
    path.write_bytes(LOGS["megatron"])
    assert len(read_log(str(path)).step) == len(rows_of(LOGS["megatron"], "megatron", 3))


NOISE = b"downloading shard 17\n"


def records(count: int) -> bytes:
    return b"".join(b"iter %d: loss 2.5, time 1ms\n" % n for n in range(count))


def recognised_at(log: bytes) -> int | None:
    """Number of the line with which the format is known."""
    reader = LineReader()
    for number, line in enumerate(log.splitlines(keepends=True), start=1):
        reader.feed(line)
        if reader.format is not None:
            return number
    return None


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (records(12), 12),
        (NOISE * 4 + records(8) + NOISE * 13, 12),
        (NOISE * 5 + records(7) + NOISE * 13, None),
        (NOISE * 5 + records(20), 25),
        (NOISE * 18 + records(32), 50),
        (NOISE * 93 + records(107), 200),
        (NOISE * 1593 + records(8) + NOISE * 399, 2000),
        (records(1) + NOISE * 7998, None),
        (records(1) + NOISE * 7999, 8000),
        (records(1) + NOISE * 2100 + records(7) + NOISE * 3000, 4000),
        (NOISE * 2000 + records(12), 2012),
    ],
)
def test_eight_losses_make_sure_and_two_thousand_lines_must_do(log: bytes, line: int | None):
    assert recognised_at(log) == line


def test_rows_that_waited_are_not_lost():
    reader = LineReader()
    rows = reader.feed(NOISE * 5 + records(20))
    assert [row.line for row in rows if isinstance(row, Row)] == list(range(6, 26))
    assert (reader.loss_lines, reader.lines) == (20, 25)


class TestNames:
    """Names are settled on the first lines, as those of a log that is read whole."""

    @staticmethod
    def rows(text: str, **options: str) -> list[Row]:
        reader = LineReader(log_format="jsonl", **options)
        return final_rows([*reader.feed(text.encode()), *reader.close()])

    def test_the_better_name_counts_from_the_first_line_on(self):
        first, second = self.rows('{"step": 1, "ce_loss": 2.5}\n{"step": 2, "loss": 9, "ce_loss": 2.25}\n')
        assert (first.values, second.values) == ({"ce_loss": 2.5}, {"loss": 9.0, "ce_loss": 2.25})

    def test_behind_the_first_lines_the_first_that_comes_has_the_name(self):
        lines = "".join(f'{{"step": {n}, "ce_loss": 2.5}}\n' for n in range(2000))
        later = '{"step": 2000, "loss": 9, "ce_loss": 2.25, "gnorm": 1}\n{"step": 2001, "ce_loss": 2, "grad_norm": 2}\n'
        *_, first, second = self.rows(lines + later)
        assert first.values == {"log/loss": 9.0, "loss": 2.25, "grad_norm": 1.0}
        assert second.values == {"loss": 2.0, "log/grad_norm": 2.0}

    def test_the_users_loss_may_come_late(self):
        first, second = self.rows('{"step": 1, "loss": 9}\n{"step": 2, "loss": 9, "ce": 2.5}\n', loss_key="ce")
        assert (first.values, second.values) == ({"log/loss": 9.0}, {"log/loss": 9.0, "loss": 2.5})

    def test_what_is_no_number_of_the_run(self):
        (row,) = self.rows('{"step": 1, "loss": NaN, "lr": 0.5}\n')
        assert (row.nan, row.line, row.rank, repr(row.total_steps)) == ({"loss"}, 1, None, "nan")

    def test_the_step_by_name(self):
        rows = self.rows('{"global_step": 5, "loss": 2.5}\n{"global_step": 7, "step": 1, "loss": 2.5}\n')
        assert [(row.step, sorted(row.values)) for row in rows] == [(5, ["loss"]), (7, ["loss", "step"])]

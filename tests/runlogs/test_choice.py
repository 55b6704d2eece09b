"""What the first records of a log decide, and what later ones say against it."""

import math

import numpy as np
import pytest

from mhcdiag.errors import SettingError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.choice import MOST_AT_ONCE, Choice, Evidence, choose, is_rival, writers_of
from mhcdiag.runlogs.grammar import Grammar
from mhcdiag.runlogs.interface import Keys, LogRecord
from mhcdiag.runlogs.log_table import Writers
from mhcdiag.runlogs.names import Names

NAN = float("nan")
FORM = Grammar(name="made", title="made", rules=())


def chosen(
    *records: dict[str, float], rows: int | None = None, keys: Keys | None = None, **steps: list[float]
) -> Choice:
    builder = TableBuilder()
    given = steps.get("step", [None] * len(records))
    for line, (values, step) in enumerate(zip(records, given, strict=True), start=1):
        builder.add(LogRecord(line=line, step=step, values=values))
    return choose(builder, rows=rows, log_format=FORM, keys=keys or Keys())


class TestStep:
    """The series that counts, or the number of the record."""

    def test_of_the_parser_before_any_series(self):
        choice = chosen({"loss": 2.5, "step": 9}, {"loss": 2.0, "step": 10}, step=[1, 2])
        assert (choice.step, choice.numbered) == (None, False)

    def test_the_name_that_stands_in_nearly_all_records(self):
        records = [{"loss": 2.5 - at / 9, "global_step": at, **({"step": at} if at < 6 else {})} for at in range(10)]
        assert chosen(*records).step == "global_step"
        assert chosen(*({**one, "step": 1.0 + at} for at, one in enumerate(records))).step == "step"

    def test_a_series_that_stands_still_is_no_step(self):
        records = [{"loss": 2.5 - at / 9, "step": 3.0, "it": at} for at in range(10)]
        assert chosen(*records).step == "it"
        assert chosen(*records[:9]).step == "step"  # of so few records nobody can tell

    def test_only_the_first_records_count(self):
        records = [{"loss": 2.5 - at / 9, "step": at if at < 12 else NAN} for at in range(40)]
        assert chosen(*records, rows=12).step == "step"
        assert chosen(*records).numbered
        assert chosen(*records, rows=12).rows == 12

    def test_the_users_step_must_be_there(self):
        with pytest.raises(SettingError, match="--step-key t: the log has no such field"):
            chosen({"loss": 2.5}, keys=Keys(step="t"))
        assert chosen({"loss": 2.5, "t": 3}, keys=Keys(step="t")).step == "t"

    def test_a_step_that_most_records_share_otherwise_is_none(self):
        steps = [step for step in range(12) for _ in range((1, 3, 5, 2, 4)[step % 5])]
        records = [{"loss": 2.5 - at / 99, "step": step} for at, step in enumerate(steps)]
        choice = chosen(*records)
        assert choice.numbered
        assert choice.writers == Writers()
        assert choice.notes == (
            "most records share a step ('step') with another loss: the number of the record stands for it",
        )
        assert not chosen(*records, keys=Keys(step="step")).numbered


class TestWriters:
    """How many records a step has."""

    @staticmethod
    def of(
        steps: list[float], values: list[float] | None = None, ranks: list[int] | None = None
    ) -> tuple[Writers, bool]:
        losses = np.arange(len(steps)) / 7 if values is None else np.array(values, dtype=np.float64)
        return writers_of(np.array(steps, dtype=np.float64), losses, rank=None if ranks is None else np.array(ranks))

    def test_one(self):
        assert self.of([1, 2, 3]) == (Writers(), False)
        assert self.of([]) == (Writers(), False)
        assert Writers().one

    def test_copies_are_no_writers(self):
        assert self.of([1, 1, 2, 2], [2.5, 2.5, NAN, NAN]) == (Writers(), False)

    @pytest.mark.parametrize("count", [2, 4, MOST_AT_ONCE])
    def test_equally_many_records_of_each_step(self, count: int):
        assert self.of([step for step in range(10) for _ in range(count)]) == (
            Writers(several=True, records=count),
            False,
        )

    def test_too_many_are_a_step_that_counts_something_else(self):
        steps = [step for step in range(10) for _ in range(MOST_AT_ONCE + 1)]
        assert self.of(steps) == (Writers(), True)

    @pytest.mark.parametrize(("odd", "records"), [(2, 3), (3, 0)])
    def test_four_fifths_of_the_steps_must_agree(self, odd: int, records: int):
        steps = [step for step in range(11) for _ in range(2 if step < odd else 3)]
        writers, shared = self.of(steps)
        assert (writers.records, shared) == (records, records == 0)

    def test_few_shared_steps_have_several_records(self):
        assert self.of([*range(20), 20, 20, 21]) == (Writers(several=True), False)

    def test_the_last_step_may_be_cut(self):
        assert self.of([1, 1, 1, 2, 2, 2, 3])[0].records == 3

    def test_ranks(self):
        assert self.of([1, 1, 2, 2], ranks=[0, 1, 1, 0]) == (Writers(ranks=2), False)
        assert self.of([1, 2, 3], ranks=[3, 3, -1]) == (Writers(), False)

    def test_writers_without_a_rank(self):
        steps = [step for at in range(0, 60, 4) for step in (at + 2, at, at + 3, at + 1)]
        assert self.of(steps) == (Writers(interleaved=True), False)


class TestNames:
    """Names of what was there, and of what comes later."""

    @staticmethod
    def of(keys: Keys | None = None, **names: str) -> Names:
        return Names(names, preferred={"eval_loss": ("held",)}, loss_key=None if keys is None else keys.loss)

    def test_the_first_that_fits_has_a_name_that_is_free(self):
        names = self.of(ce="loss")
        assert [names.of(name) for name in ("ce", "loss", "gnorm", "grad_norm", "held", "x")] == [
            "loss", "log/loss", "grad_norm", "log/grad_norm", "eval_loss", "x",
        ]  # fmt: skip
        assert names.sources() == {"loss": "ce", "grad_norm": "gnorm", "eval_loss": "held"}
        assert names.of("gnorm") == "grad_norm"

    def test_no_other_loss_stands_for_that_of_the_user(self):
        names = self.of(Keys(loss="ce"))
        assert [names.of(name) for name in ("train_loss", "loss", "ce")] == ["train_loss", "log/loss", "loss"]


def test_the_users_loss_may_come_behind_the_first_records():
    assert "loss" not in chosen({"loss": 2.5, "step": 1}, {"loss": 2.0, "step": 2}, keys=Keys(loss="ce")).names.values()


def test_evaluations_are_judged_where_nothing_else_is_there():
    choice = chosen({"val_loss": 2.5}, {"val_loss": 2.0})
    assert (choice.promoted, choice.names) == (True, {"val_loss": "loss"})


def test_the_same_choice_on_more_records():
    one = chosen({"loss": 2.5, "step": 1}, {"loss": 2.0, "step": 2})
    more = chosen(*({"loss": 2.5, "step": at} for at in range(3)))
    assert one.same_as(more)
    assert not one.same_as(chosen({"loss": 2.5, "it": 1}, {"loss": 2.0, "it": 2}))


@pytest.mark.parametrize(
    ("name", "rival"),
    [("loss", False), ("log/loss", True), ("train_loss", True), ("aux_loss", False), ("val_loss", False)],
)
def test_what_might_be_the_main_loss(name: str, rival: bool):
    assert is_rival(name) == rival


class TestEvidence:
    """What makes a log unjudged."""

    @staticmethod
    def doubt(
        losses: int,
        after: int,
        *,
        cut: int = 0,
        rivals: bool = False,
        evaluations: bool = False,
        every: int = 1,
        unread: int = 0,
    ) -> str:
        """Records with a loss (each `every`-th one) and records without behind them, in two pieces."""
        evidence = Evidence(Choice(rows=5))
        count = losses * every + after
        has_loss = np.zeros(count, dtype=bool)
        has_loss[: losses * every : every] = True
        behind = np.arange(count) >= losses * every
        one_by_one = Evidence(Choice(rows=5))
        for part in (slice(None, cut), slice(cut, None)):
            evidence.feed(
                has_loss[part],
                rivals=behind[part] if rivals else None,
                evaluations=behind[part] if evaluations else None,
                missing=np.zeros(len(has_loss[part]), dtype=bool),
            )
        for loss, late in zip(has_loss.tolist(), behind.tolist(), strict=True):
            one_by_one.take(loss=loss, rival=late and rivals, evaluation=late and evaluations, missing=False)
        assert one_by_one.doubt(unread) == evidence.doubt(unread)
        return evidence.doubt(unread)

    @pytest.mark.parametrize("cut", [0, 30, 100, 110])
    def test_records_without_the_loss_behind_its_end(self, cut: int):
        assert self.doubt(100, 25, cut=cut) == ""
        assert self.doubt(100, 26, cut=cut) == (
            "the judged loss ends, and 26 records without it follow that are no evaluations"
        )
        assert self.doubt(100, 99, cut=cut, evaluations=True) == ""

    def test_a_loss_that_is_logged_seldom_may_be_due(self):
        assert self.doubt(5, 29, every=20) == ""  # 48 records, and 81 for five losses before
        assert self.doubt(5, 30, every=20) != ""

    def test_a_few_records_say_nothing(self):
        assert self.doubt(10, 10) == ""
        assert self.doubt(10, 11) != ""

    def test_another_loss_that_goes_on(self):
        assert self.doubt(100, 25, rivals=True, evaluations=True) == ""
        assert self.doubt(100, 26, rivals=True) == "the judged loss ends, and another one goes on for 26 records"

    def test_lines_in_another_shape(self):
        assert self.doubt(100, 0, unread=25) == ""
        assert self.doubt(100, 0, unread=26) == "26 lines with a loss in another shape follow behind the last record"
        assert self.doubt(10, 0, unread=10) == ""
        assert self.doubt(0, 0, unread=99) == ""

    @pytest.mark.parametrize(("missing", "told"), [(5, False), (6, True)])
    @pytest.mark.parametrize("cut", [0, 3, 20, 27])
    def test_a_step_that_is_gone(self, missing: int, told: bool, cut: int):
        gone = np.arange(30) >= 30 - missing
        evidence = Evidence(Choice(rows=20))
        for part in (slice(None, cut), slice(cut, None)):
            evidence.feed(np.ones(len(gone[part]), dtype=bool), rivals=None, evaluations=None, missing=gone[part])
        assert bool(evidence.doubt()) == told
        evidence.chosen(Choice(rows=30))
        assert evidence.doubt() == ""


def test_a_rank_is_no_series_of_its_own():
    records = [{"step": at // 2, "rank": float(at % 2), "loss": 2.5 - at / 9} for at in range(10)]
    choice = chosen(*records)
    assert (choice.rank, choice.writers) == ("rank", Writers(ranks=2))
    assert math.isfinite(choice.rows)

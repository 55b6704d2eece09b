"""Which numbers of a line count something, and which of them is the step."""

import pytest

from mhcdiag.runlogs.counters import Counter, StepPlan, counters, fitness, plan_steps


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("step 10 loss 2.5", {"step": (10, None)}),
        ("global_step=1,000 loss=2.5", {"global_step": (1000, None)}),
        ("Epoch: [3]  [ 950/5004]  loss: 2.5", {"epoch": (3, None), "a/b#0": (950, 5004)}),
        ("Epoch 1/50", {"epoch": (1, 50)}),
        ("iteration: 11 / 701 | loss", {"iteration": (11, 701)}),
        ("steps:  66%|##| 2001/3000 [loss=2.5]", {"a/b#0": (2001, 3000)}),
        ("3epoch:train:1-500batch: loss=2.5", {"epoch": (3, None), "batch": (500, None)}),
        ("(2/8) Epoch 2, batch 50, loss", {"epoch": (2, None), "batch": (50, None), "(a/b)": (2, 8)}),
        ("[host:1/8] INFO", {"(a/b)": (1, 8)}),
        ("rank 3 step 5", {"rank": (3, None), "step": (5, None)}),
        ("700 | loss 2.5", {"a#0": (700, None)}),
        ("[400] loss=2.5", {"[a]#0": (400, None)}),
        ("5/3 loss=2.5", {}),  # beyond its total
        ("step 2.5 ms/batch 7 batch_size: 32", {}),
        ("took 10:20 on 01/02/2024", {}),
        ("99% done", {}),
    ],
)
def test_counters_of_a_line(text: str, found: dict[str, tuple[int, int | None]]):
    assert {key: (one.value, one.total) for key, one in counters(text).items()} == found


def test_names_before_fractions_before_bare_numbers():
    ranked = ["step", "global_step", "batch", "a/b#0", "[a]#1", "a#2", "(a/b)"]
    orders = [fitness(key) for key in ranked]
    assert orders == sorted(orders)
    assert [fitness(key) for key in ("epoch", "rank")] == [None] * 2


def plan(*lines: str, loss: str = "loss") -> StepPlan:
    return plan_steps([(counters(text), loss in text) for text in lines])


def many(line: str, count: int = 20) -> list[str]:
    return [line.format(n=n, ten=10 * n, mod=n % 5, epoch=n // 5, half=n // 2) for n in range(count)]


class TestPlan:
    """One choice for the whole log, by what moves with its records."""

    def test_a_name_goes_first(self):
        assert plan(*many("[{ten}/900] step {n} loss")).step == "step"

    def test_unless_it_stands_still(self):
        assert plan(*many("[{ten}/900] step 7 loss")).step == "a/b#0"
        assert plan(*many("[{ten}/900] step 7 loss", 1)).step == "step"

    def test_or_moves_with_some_records_only(self):
        assert plan(*many("[{ten}/900] step {half} loss")).step == "a/b#0"
        assert plan(*many("step {half} loss")).step == "step"

    def test_a_date_does_not_move(self):
        assert plan(*many("02/20 [{ten}/900] loss")).step == "a/b#1"

    def test_what_falls_again_and_again_is_no_step(self):
        assert plan(*many("{mod}/9 loss")).step == "a/b#0"  # one fall in five moves may be an epoch that nobody names
        assert plan(*(f"{n % 2}/9 loss" for n in range(20))).step is None

    def test_a_fall_with_the_next_epoch_is_none(self):
        lines = [f"Epoch {n // 2} {n % 2}/9 loss" for n in range(20)]
        assert plan(*lines) == StepPlan(step="a/b#0", epoch="epoch")

    def test_a_counter_above(self):
        lines = [text for n in range(20) for text in (f"GLOBAL_STEP: {5 * n}", "loss: 2.5")]
        assert plan(*lines) == StepPlan(step="global_step", above=True)

    def test_on_the_line_before_above(self):
        lines = [text for n in range(20) for text in (f"step {n}", f"3/9 {n} | [{n}] loss")]
        assert plan(*lines).above is False

    def test_bare_numbers_above_are_none(self):
        assert plan(*(text for n in range(20) for text in (f"[{n}] other", "loss: 2.5"))).step is None

    def test_an_epoch_is_the_step_where_each_has_one_record(self):
        assert plan(*many("epoch {n} loss")) == StepPlan(step="epoch")
        lines = [text for n in range(20) for text in (f"Epoch {n}/50", "1000/1000 [===] loss")]
        assert plan(*lines) == StepPlan(step="epoch", above=True)

    def test_and_no_step_where_they_have_several(self):
        assert plan(*many("epoch {epoch} loss")) == StepPlan(epoch="epoch")

    def test_in_half_of_the_records_at_least(self):
        assert plan(*many("step {n} loss", 10), *["loss"] * 10).step == "step"
        assert plan(*many("step {n} loss", 10), *["loss"] * 11).step is None

    def test_the_epoch_may_stand_before_the_slash(self):
        lines = [f"Batch {n // 10}/{100 * (n % 10)} loss" for n in range(40)]
        assert plan(*lines) == StepPlan(step="batch", epoch="epoch", epoch_first=True)

    def test_a_pair_in_brackets_is_the_step_where_nothing_else_is(self):
        assert plan(*many("( {ten}/5004) loss")).step == "(a/b)"
        assert plan(*many("({ten}/5004) step {half} loss")).step == "step"

    @pytest.mark.parametrize(
        ("lines", "rank"),
        [
            ([f"({n % 4}/4) step {n // 4} loss" for n in range(20)], "(a/b)"),
            ([f"(0/4) step {n} loss" for n in range(20)], None),
            ([f"({n}/100) loss" for n in range(20)], None),
            ([f"({n % 10}/10) loss" for n in range(60)], None),  # alone it is a step that begins again
            ([f"rank {n % 4} step {n // 4} loss" for n in range(20)], "rank"),
        ],
    )
    def test_ranks(self, lines: list[str], rank: str | None):
        assert plan(*lines).rank == rank

    @pytest.mark.parametrize(
        ("line", "field"), [("step {n} loss", True), ("step {n}/90 loss", False), ("{n}/90 loss", False)]
    )
    def test_a_step_with_a_name_and_no_total_is_a_field(self, line: str, field: bool):
        assert plan(*many(line)).field == field

    def test_nothing_to_plan(self):
        assert plan() == StepPlan()
        assert plan("hello", "step 3") == StepPlan()


def test_counters_are_numbers_with_what_they_run_up_to():
    assert counters("step 3/9")["step"] == Counter(3.0, 9.0)

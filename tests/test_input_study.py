"""The figures on inputs that the program and the documents state are those of the study's CSV."""

from pathlib import Path

import pytest

from mhcdiag.layouts.readings import ALIGNED_NOTE, UNCONSTRAINED_RANDOM_NOTE

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import input_study_tables

    return input_study_tables


def test_the_notes_state_the_errors_on_held_out_runs(tables):
    held_out = tables.held_out(tables.read_table())
    below = [row for row in held_out if row.worst("real") < tables.BELOW]
    exploded = [row for row in held_out if row.exploded]
    assert f"within 4x of real tokens on {tables.within(below, 'aligned', 4)} of {len(below)} held-out" in " ".join(
        ALIGNED_NOTE.split()
    )
    found = {name: sum(row.worst(name) > tables.LIMIT for row in exploded) for name in ("random", "aligned")}
    assert f"they found {found['random']} of {len(exploded)} exploded" in UNCONSTRAINED_RANDOM_NOTE
    assert found["aligned"] == len(exploded), "the note says: all of them"
    stated = f"{tables.within(below, 'aligned', 4)} of {len(below)} checkpoints"
    assert stated in " ".join((ROOT / "docs" / "checkpoints.md").read_text().split())


def test_what_was_promised_holds_on_held_out_runs(tables):
    held_out = tables.held_out(tables.read_table())
    exploded = [row for row in held_out if row.exploded]
    sound = [row for row in held_out if not row.exploded]
    assert len(exploded) >= 20
    assert len(sound) >= 20
    assert sum(row.worst("aligned") > tables.LIMIT for row in exploded) >= 0.9 * len(exploded)
    assert not [row for row in exploded if row.worst("bound") <= tables.LIMIT], "a plain pass of an exploded checkpoint"
    assert sum(row.worst("aligned") > tables.LIMIT for row in sound) <= 0.1 * len(sound)
    assert min(row.worst("real") for row in sound if row.worst("aligned") > tables.LIMIT) > 150, (
        "docs/inputs.md says so"
    )


def test_no_real_token_mean_exceeds_what_no_input_can(tables):
    for row in tables.read_table():
        for way in tables.DIRECTIONS:
            bound, reached = getattr(row, f"bound_{way}"), getattr(row, f"reached_{way}")
            assert getattr(row, f"real_{way}") <= bound * 1.001
            assert not reached > bound * 1.001
            assert not getattr(row, f"aligned_{way}") > reached * 1.001


def test_runs_are_held_out_as_wholes(tables):
    parts: dict[str, set[str]] = {}
    for row in tables.read_table():
        parts.setdefault(row.run, set()).add(row.part)
    assert all(len(each) == 1 for each in parts.values())
    assert set.union(*parts.values()) >= set(tables.PARTS)


def test_a_factor_counts_both_directions(tables):
    rows = tables.read_table()
    assert tables.within(rows[:1], "real", 1.0) == 1
    row = rows[0]
    worst = max(max(ratio, 1 / ratio) for ratio in row.ratios("aligned"))
    assert tables.within([row], "aligned", worst * 1.001) == 1
    assert tables.within([row], "aligned", worst * 0.999) == 0

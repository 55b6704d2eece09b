"""The mutation run draws the mutants it says, writes them where it says, and draws the same ones again."""

from pathlib import Path
from textwrap import dedent

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def changed(text: str) -> list[str]:
    """The whole text with each of its mutants in it."""
    from mutant_operators import mutants_of
    from mutant_source import applied

    found = [applied(text, mutant.edit) for mutant in mutants_of(text, file="a.py")]
    for each in found:
        compile(each, "a.py", "exec")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a >= b", ["a < b", "a > b"]),
        ("a == b", ["a != b"]),
        ("a is  not b", ["a is b"]),
        ("a not in b", ["a in b"]),
        ("(a) < b <= (c)", ["(a) <= b <= (c)", "(a) >= b <= (c)", "(a) < b < (c)", "(a) < b > (c)"]),
        ("(a or b) and c", ["c", "(a or b) or c", "(b) and c", "(a and b) and c", "(a) and c", "(a or b)"]),
        ("a and b and c", ["b and c", "a or b or c", "a and c", "a and b"]),
        ("not (a)", ["(a)"]),
        ("a - -b", ["a + -b", "a - b"]),
        ("x = 'é', 7", ["x = 'é', 8"]),
        ("a * b", ["a / b"]),
        ("a += b", ["a -= b"]),
        ("a @ b", ["b @ a"]),
        ("c * a @ b", ["b @ (c * a)", "c / a @ b"]),
        ("z = x.min(y)", ["z = x.max(y)"]),
        ("z = all(y)", ["z = any(y)"]),
        ("a = 0, 1, 7", ["a = 1, 1, 7", "a = 0, 0, 7", "a = 0, 1, 8"]),
        ("a = 0.0, 1.5, True", ["a = 1.0, 1.5, True", "a = 0.0, 3.0, True", "a = 0.0, 1.5, False"]),
        ("f(a, b.c, 'd')", ["f(b.c, a, 'd')", "pass"]),
        ("x = sorted(y for y in z)", ["x = sorted(y for y in z)[::-1]"]),
        ("x = f(dim=-1)", ["x = f(dim=-2)"]),
        ("x = f(axis=(1, 2))", ["x = f(axis=(0, 2))", "x = f(axis=(1, 1))"]),
        ("x[1:]", ["x[0:]"]),
    ],
)
def test_each_operator_changes_one_span(text, expected):
    assert sorted(changed(text)) == sorted(expected)


@pytest.mark.parametrize(
    "text",
    [
        '"""1 < 2"""',
        'f"{a < 1} {b + 1}"',
        "a: tuple[1, 2]",
        "raise ValueError(a + 1)",
        "assert a < 1",
        "if TYPE_CHECKING:\n    f(1)",
        "x = zip(a, strict=True)",
        "x = isinstance(a, b)",
        "x = 'a' + b",
        "@dataclass(frozen=True)\nclass A(Protocol):\n    a: int = 1",
        "@overload\ndef f(a: int = 1) -> 2: ...",
    ],
)
def test_what_tests_need_not_notice_is_left_alone(text):
    assert changed(text) == []


def test_jumps_and_calls_are_removed_where_the_program_goes_elsewhere():
    text = dedent("""\
        def f(a):
            for b in a:
                if b:
                    continue
                if a:
                    break
                g(b)
                if h:
                    continue
            if c:
                return
            g(c)
            if a:
                return None
        """)
    lines = text.splitlines()
    mutants = [each.splitlines() for each in changed(text)]
    where = [[number for number, line in enumerate(each) if line != lines[number]] for each in mutants]
    assert where == [[3], [5], [6], [10], [11]]
    assert {each[number].strip() for each, [number] in zip(mutants, where, strict=True)} == {"pass"}


def test_a_mutant_over_several_lines_is_shown_on_one():
    from mutant_operators import mutants_of

    text = "x = (\n    a  # why and how\n    and b\n)\n"
    mutants = mutants_of(text, file="a.py")
    assert changed(text)[2] == "x = (\n    a  # why and how\n\n)\n"
    assert [(mutant.line, mutant.before, mutant.after) for mutant in mutants] == [
        (2, "a # why and how and b", "b"),
        (2, "a # why and how and b", "a # why and how or b"),
        (3, "and b", ""),
    ]


def test_every_mutant_of_a_package_can_be_compiled():
    import mutants
    from mutant_source import applied

    package = "mhcdiag/measures"
    [found] = mutants.find_mutants(mutants.ROOT, [package]).values()
    texts = {mutant.file: (mutants.ROOT / mutant.file).read_text(encoding="utf-8") for mutant in found}
    assert len(found) > 100
    for mutant in found:
        compile(applied(texts[mutant.file], mutant.edit), mutant.file, "exec")


def test_every_room_gives_its_share_and_at_least_ten():
    import mutants

    assert mutants.shares({"a": 900, "b": 100, "c": 4}, 100) == {"a": 86, "b": 10, "c": 4}
    assert mutants.shares({"a": 900, "b": 100}, 10) == {"a": 5, "b": 5}
    assert mutants.shares({"a": 3, "b": 2}, 100) == {"a": 3, "b": 2}


def test_the_sample_depends_on_the_seed_and_not_on_line_numbers():
    import mutants
    from mutant_operators import mutants_of

    text = "".join(f"a{number} = b{number} + {number + 2}\n" for number in range(50))

    def drawn(seed: int, above: str = "") -> list[str]:
        found = {"room": mutants_of(above + text, file="a.py")}
        return [mutant.after for mutant in mutants.sample(found, count=10, seed=seed)]

    assert drawn(0) == drawn(0, above="import c\n")
    assert len(set(drawn(0))) == 10
    assert drawn(0) != drawn(1)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    import mutants

    (tmp_path / "mhcdiag" / "policies").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="tests/policies is in the table ROOMS"):
        mutants.find_mutants(tmp_path, ["mhcdiag/policies"])


def test_the_table_names_folders_that_exist():
    import mutants

    assert all(mutants.find_mutants(mutants.ROOT, mutants.ROOMS).values())


def test_explanations_are_of_one_of_three_kinds(tmp_path):
    import mutants

    path = tmp_path / "survivors.toml"
    entry = '[[survivor]]\nfile = "a.py"\nline = "a < b"\nbecomes = "a <= b"\nwhy = "{}"\n'
    path.write_text(entry.format("equivalent: a is never b"))
    assert mutants.read_explanations(path) == {("a.py", "a < b", "a <= b"): "equivalent: a is never b"}
    path.write_text(entry.format("too hard"))
    with pytest.raises(ValueError, match="must begin with one of equivalent, speed, wording"):
        mutants.read_explanations(path)
    assert mutants.read_explanations(tmp_path / "none.toml") == {}


def test_the_test_named_like_the_module_runs_first(tmp_path):
    import mutant_runs

    for name, text in {"a": "", "b": "from x.tails import y", "c": "", "tails": ""}.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    files = mutant_runs.test_files(tmp_path, Path("x/tails.py"))
    assert [file.stem for file in files] == ["test_tails", "test_b", "test_a", "test_c"]


def test_an_explained_survivor_counts_as_one(capsys):
    import mutants
    from mutant_operators import mutants_of
    from mutant_runs import Outcome

    first, second = mutants_of("a < b", file="a.py")
    outcomes = [
        Outcome(mutant=first, verdict="survived", seconds=1.0),
        Outcome(mutant=second, verdict="timeout", seconds=1.0),
    ]
    assert mutants.print_report({"room": outcomes}, {first.key: "equivalent: never"}) == 0.5
    printed = capsys.readouterr().out
    assert "1 survivors that are explained:\na.py:1  comparison boundary\n    - a < b\n    + a <= b\n" in printed
    assert "equivalent: never" in printed


def test_a_mutant_is_judged_in_the_copy_and_taken_out_again(tmp_path):
    import mutant_runs
    from mutant_operators import mutants_of

    (tmp_path / "mhcdiag").mkdir()
    (tmp_path / "tests" / "room").mkdir(parents=True)
    module, text = tmp_path / "mhcdiag" / "sizes.py", "def small(a):\n    return a < 3\n"
    (tmp_path / "mhcdiag" / "__init__.py").touch()
    module.write_text(text)
    test = tmp_path / "tests" / "room" / "test_sizes.py"
    test.write_text("from mhcdiag.sizes import small\ndef test_small():\n    assert small(2) and not small(4)\n")
    assert mutant_runs.judge_unchanged(tmp_path, "tests/room", limit=60).code == 0
    room = mutant_runs.Room(tests="tests/room", limit=60)
    mutants = mutants_of(text, file="mhcdiag/sizes.py")
    assert [mutant.after for mutant in mutants] == ["return a <= 3", "return a >= 3", "return a < 4"]
    verdicts = {
        outcome.mutant.after: outcome.verdict
        for outcome in mutant_runs.judge_all([tmp_path], mutants, {"mhcdiag": room})
    }
    assert verdicts == {"return a <= 3": "survived", "return a >= 3": "killed", "return a < 4": "survived"}
    late = mutant_runs.judge(tmp_path, mutants[0], mutant_runs.Room(tests="tests/room", limit=0.01))
    assert (late.verdict, late.killed) == ("timeout", True)
    assert module.read_text() == text
    assert list(module.parent.glob("__pycache__/sizes*.pyc")) == []
    test.write_text("def test_it():\n    assert 1 == 2\n")
    with pytest.raises(RuntimeError, match=r"(?s)tests/room does not pass without a mutant.*assert 1 == 2"):
        mutant_runs.judge_unchanged(tmp_path, "tests/room", limit=60)

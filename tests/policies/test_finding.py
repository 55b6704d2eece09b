"""Where a policy is found, and what counts as one."""

from pathlib import Path

import pytest

from mhcdiag.errors import InputError
from mhcdiag.policies.policy_files import find_policy, read_toml

GATES = '[[gates]]\nmetric = "gain.nonfinite"\nmax = 0\n'
TABLE = '[[tool.mhcdiag.gates]]\nmetric = "gain.nonfinite"\nmax = 0\n'


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    return folder


def test_the_nearest_one_above_counts(tmp_path: Path, deep: Path):
    (tmp_path / "mhcdiag.toml").write_text(GATES)
    assert find_policy(deep) == tmp_path / "mhcdiag.toml"
    (tmp_path / "a" / "pyproject.toml").write_text(TABLE)
    assert find_policy(deep) == tmp_path / "a" / "pyproject.toml"
    (deep / "mhcdiag.toml").write_text("")
    assert find_policy(deep) == deep / "mhcdiag.toml"


def test_its_own_file_wins_over_the_projects(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text(TABLE)
    (tmp_path / "mhcdiag.toml").write_text(GATES)
    assert find_policy(tmp_path) == tmp_path / "mhcdiag.toml"


@pytest.mark.parametrize(
    "text",
    [
        "[project]\nname = 'x'\n",
        "[project]\ndependencies = ['mhcdiag']\n",
        "# [tool.mhcdiag]\n",
        "[tool.other]\nmhcdiag = 1\n",
        "tool = 3 # mhcdiag\n",
        "[project\nmhcdiag",
    ],
)
def test_a_project_without_the_table_is_passed_by(tmp_path: Path, deep: Path, text: str):
    (deep / "pyproject.toml").write_text(text)
    assert find_policy(deep) is None
    (tmp_path / "mhcdiag.toml").write_text(GATES)
    assert find_policy(deep) == tmp_path / "mhcdiag.toml"


@pytest.mark.parametrize(
    "text", [TABLE, "\ufeff" + TABLE, "[tool]\nmhcdiag = { gain = { tokens = 7 } }\n", "[tool.mhcdiag\n"]
)
def test_a_project_with_the_table_counts_even_if_it_is_broken(tmp_path: Path, text: str):
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert find_policy(tmp_path) == tmp_path / "pyproject.toml"


def test_somebody_elses_broken_file_is_not_our_error(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe mhcdiag")
    assert find_policy(tmp_path) is None
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "pyproject.toml").mkdir()
    assert find_policy(tmp_path) is None


def test_keys_as_they_stand(tmp_path: Path):
    own, project = tmp_path / "mhcdiag.toml", tmp_path / "pyproject.toml"
    own.write_text("\ufeff" + GATES, encoding="utf-8")
    project.write_text(TABLE)
    assert read_toml(own) == read_toml(project) == {"gates": [{"metric": "gain.nonfinite", "max": 0}]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mhcdiag.toml", b"[[gates]]\nmax = = 3\n", r"mhcdiag.toml: not TOML: .*line 2, column 7.*--init"),
        ("mhcdiag.toml", b"[[gates]", r"not TOML: .*line 1, column 8"),
        ("mhcdiag.toml", b"reason = '\xff'", "not UTF-8 at byte 10; expected a policy in TOML"),
        ("pyproject.toml", b"[project]\nname = 'x'\n", r"no table \[tool.mhcdiag\]"),
        ("pyproject.toml", b"tool = 3\n", r"no table \[tool.mhcdiag\]"),
        ("pyproject.toml", b"tool.mhcdiag = 3\n", r"no table \[tool.mhcdiag\]"),
    ],
)
def test_what_is_no_policy_is_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        read_toml(path)
    assert "\n" not in str(raised.value)
    assert raised.value.path == str(path)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match=r"gone.toml: No such file or directory; expected a policy in TOML"):
        read_toml(tmp_path / "gone.toml")
    with pytest.raises(InputError, match="Is a directory"):
        read_toml(tmp_path)

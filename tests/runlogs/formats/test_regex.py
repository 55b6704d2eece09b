import pytest

from mhcdiag.errors import LogError, SettingError

LOG = "noise\n@17 -> 2,5e0 | 2.5 (g 0.7)\n@19 -> 2.25 (g nan)\n"


def test_groups_are_series(read):
    table = read(
        "@17 -> 2.5 (g 0.7)\nnoise\n@19 -> 2.25 (g nan)\n",
        regex=r"@(?P<step>\d+) -> (?P<loss>\S+) \(g (?P<grad_norm>\S+)\)",
    )
    assert table.format == "regex"
    assert table.step.tolist() == [17, 19]
    assert table.line.tolist() == [1, 3]
    assert table.columns["loss"].tolist() == [2.5, 2.25]
    assert table.nan_rows["grad_norm"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "--regex.*missing"), (r"(?P<step>\d+)", r"no named group 'loss'"), (r"(?P<loss>\d+", "--regex")],
)
def test_patterns_that_cannot_work(read, pattern, message):
    with pytest.raises(SettingError, match=message):
        read(LOG, regex=pattern)


def test_a_pattern_that_matches_nothing(read):
    with pytest.raises(LogError, match="no training records"):
        read(LOG, regex=r"^zzz (?P<loss>\d+)")


def test_the_format_needs_the_pattern(read):
    with pytest.raises(SettingError, match="needs --regex"):
        read(LOG, log_format="regex")

import pytest

from mhcdiag.plots.fitted_text import distinct_names, drawable, fitted, text_width
from mhcdiag.results.words import short_names


@pytest.mark.parametrize("name", ["0.attn", "a" * 5000, "runs/" * 90 + "model.pt", "中" * 300, "$x$" * 50])
@pytest.mark.parametrize("width", [0.42, 1.95])
def test_fits_and_keeps_its_end(name, width):
    shown = fitted(name, width=width, size=7.0)
    assert text_width(shown, size=7.0) <= width
    assert drawable(name).endswith(shown.removeprefix("…"))
    assert len(shown) > 3


def test_letters_the_font_lacks_and_control_characters_become_escapes():
    assert drawable("模a\x1b[31m\n") == r"\u6a21a\x1b[31m\n"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/data/run/model.pt"], ["model.pt"]),
        (["model.pt"], ["model.pt"]),
        (["run/"], ["run"]),
        (["/"], ["/"]),
        (["/d/a/model.pt", "/d/b/model.pt"], ["a/model.pt", "b/model.pt"]),
        (["/d/a/model.pt", "/d/model.pt"], ["a/model.pt", "model.pt"]),
        (["x/same.pt", "x/same.pt"], ["same.pt", "same.pt"]),
    ],
)
def test_short_names_lose_the_folders_they_share(paths, names):
    assert short_names(paths) == names


def test_distinct_names_lose_the_ends_they_share():
    assert distinct_names(["step_1/model.pt", "step_2/model.pt"]) == ["step_1", "step_2"]
    assert distinct_names(["a/model.pt", "model.pt"]) == ["a/model.pt", "model.pt"]
    assert distinct_names(["model.pt", "model.pt"]) == ["model.pt", "model.pt"]

import pytest

from mhcdiag.plots.sheet import drawable, fitted, text_width


@pytest.mark.parametrize("name", ["0.attn", "a" * 5000, "runs/" * 90 + "model.pt", "中" * 300, "$x$" * 50])
@pytest.mark.parametrize("width", [0.42, 1.95])
def test_fits_and_keeps_its_end(name, width):
    shown = fitted(name, width=width, size=7.0)
    assert text_width(shown, size=7.0) <= width
    assert drawable(name).endswith(shown.removeprefix("…"))
    assert len(shown) > 3


def test_letters_the_font_lacks_and_control_characters_become_escapes():
    assert drawable("模a\x1b[31m\n") == r"\u6a21a\x1b[31m\n"

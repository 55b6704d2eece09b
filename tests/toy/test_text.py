"""Texts to train on."""

from pathlib import Path

import pytest
import torch

from mhcdiag.errors import InputError
from mhcdiag.toy.text import load_text


def written(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"short", "5 characters; expected at least 90"),
        (b"binary\0" * 100, "zero bytes: it is binary"),
        (b"latin \xe9" * 100, "byte 6 is no UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(InputError, match=message):
        load_text(written(tmp_path, content), context=7)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="No such file"):
        load_text(str(tmp_path / "nothing.txt"), context=7)


def test_the_held_out_part_is_never_trained_on(tmp_path: Path):
    corpus = load_text(written(tmp_path, ("a" * 900 + "b" * 100).encode()), context=7)
    seen = {int(n) for step in range(50) for n in corpus.batch(seed=0, step=step, sequences=5, length=7).unique()}
    assert [corpus.vocabulary[number] for number in seen] == ["a"]
    assert [corpus.vocabulary[number] for number in corpus.probe(seed=0, sequences=5, length=7).unique()] == ["b"]


def test_batches_depend_on_seed_and_step_alone():
    corpus = load_text(None, context=7)
    first = corpus.batch(seed=3, step=5, sequences=2, length=7)
    assert first.shape == (2, 8)
    assert torch.equal(first, corpus.batch(seed=3, step=5, sequences=2, length=7))
    assert not torch.equal(first, corpus.batch(seed=3, step=6, sequences=2, length=7))
    assert not torch.equal(first, corpus.batch(seed=4, step=5, sequences=2, length=7))


def test_rare_characters_share_one_number(tmp_path: Path):
    common = "".join(chr(0x4E00 + i) for i in range(300)) * 2 + "x" * 50
    corpus = load_text(written(tmp_path, common.encode()), context=3)
    assert corpus.size == 256
    assert corpus.training.max() == 255

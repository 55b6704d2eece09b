"""What begins like one JSON document, and what is left of one that is cut."""

import pytest

from mhcdiag.runlogs.documents import objects_in_a_row, objects_of_list, opens_document
from mhcdiag.runlogs.interface import LogSample


@pytest.mark.parametrize(
    ("head", "document"),
    [
        (b'{"a": 1,\n "b": 2}', True),
        (b'\xef\xbb\xbf  {"a": [\n1]}', True),
        (b"{\n}", True),
        (b'[{"a": 1},\n{"a": 2}]', True),
        (b"[[1, 2],\n[3, 4]]", True),
        (b"[]", True),
        (b"[1, 2,\n3]", False),
        (b"{1: 2}\n", False),
        (b"a {", False),
        (b"", False),
        (b'{"step": 1, "loss": 2.5}', False),
        (b'{"loss": 2.5}\n  \n', False),
        (b'{"log_history": [{"step": 1, "loss": 2.5}], "global_step": 200, "epoch": 2.0}', True),
        (b'{"log_history": [{"step": 1, "loss": 2.5}], "global_step": 200}\n', True),
        (b'{"step": 3, "groups": [{"lr": 0.1}], "loss": 2.5}', False),
        (b'{"step": 3, "groups": [{"size": 1}], "loss": 2.5}', False),
        (b'{"step": 3, "layers": [1, 2], "loss": 2.5}', False),
        (b'{"vocab": 97}', True),
        (b'{"vocab": 97}\n', True),
        (b'{"vocab": 97}\n{"a": 1}', False),
        (b'{"a": {}}\n{"a": 1}', False),
        (b'{"a": {}}\n{"a": {}}', True),
        (b'{"a": {\nx\nx\nx\n{"a": 1}', False),
        (b'{"a": {\nx\nx\nx\nx\n{"a": 1}', True),
    ],
)
def test_a_document_does_not_end_on_its_first_line(head: bytes, document: bool):
    assert opens_document(LogSample(path="x", head=head, pieces=())) == document


@pytest.mark.parametrize(
    ("data", "opening", "found"),
    [
        (b'{"h": [{"a": 1}, {"a": 2}], "i": [{"a": 3}]}', '"h"', [1, 2]),
        (b'{"h": [{"a": 1}, {"a": 2}], "i": [{"a": 3}]}', '"i"', [3]),
        (b'{"h": [{"a": 1},\r\n\t {"a": 2}, {"a":', '"h"', [1, 2]),
        (b'{"h": [{"a": 1}] {"a": 2}', '"h"', [1]),
        (b'[{"a": 1}, {"a": 2', "", [1]),
        (b'{"h": 3}', '"h"', []),
        (b'[{"a": 1}]', '"h"', []),
        (b"[" + b'{"a":' * 5000, "", []),
    ],
)
def test_objects_before_a_cut(data: bytes, opening: str, found: list[int]):
    assert [one["a"] for one in objects_of_list(data, opening)] == found


@pytest.mark.parametrize(
    ("data", "found", "lost"),
    [
        (b'{"a": 1}\n{"a": 2}, {"a":\n 3}', [1, 2, 3], 0),
        (b'{"a": 1}\n{"a": 2, "loss": inf}\n{"a": 3}\n', [1, 2, 3], 0),
        (b'{"a": 1}\n{"a": 2, "loss": #}\n{"a": 3}\n', [1, 3], 1),
        (b'{"a": 1}\n{"a": 2, "loss"', [1], 1),
        (b'{"a": 1}\n{"a": 2, "x": #}\n{"a": 3}', [1, 3], 0),
        (b'{"a": 1}{"a": 2', [1], 0),
        (b'["a"]', [], 0),
        (b'{"loss": #}\nx\n{"loss": #}\n{"a": 1}', [1], 2),
    ],
)
def test_objects_one_behind_the_other(data: bytes, found: list[int], lost: int):
    objects, count = objects_in_a_row(data)
    assert [one["a"] for one in objects] == found
    assert count == lost

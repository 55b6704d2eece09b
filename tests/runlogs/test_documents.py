"""What begins like one JSON document, and what is left of one that is cut."""

import pytest

from mhcdiag.runlogs.documents import objects_of_list, opens_document
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

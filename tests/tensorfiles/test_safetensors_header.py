"""Every way in which a safetensors file can contradict itself, one file each, named after the failure."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tensorfiles.builders import SOUND, file_of, raw_file, with_field

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint, safetensors_header
from mhcdiag.tensorfiles.element_types import BITS
from mhcdiag.tensorfiles.places import HEADER_LIMIT
from mhcdiag.tensorfiles.safetensors_header import read_header
from mhcdiag.tensorfiles.stores.local import LocalFile

A = json.dumps(SOUND["a"])
B = json.dumps(SOUND["b"])
ENTRY = r"tensor 'a': its entry is .*; expected \{\"dtype\": a string"

BAD = {
    "empty_file": (b"", "an empty file"),
    "shorter_than_eight_bytes": (b"\x02\0\0\0", "a file of 4 bytes, shorter than the length of a header"),
    "garbage_header_length": (b"\xff" * 64, f"length of {2**64 - 1} bytes; expected .* at most {HEADER_LIMIT}"),
    "header_length_above_the_cap": (raw_file(b"{}", length=HEADER_LIMIT + 1), "header length of 100000001"),
    "header_length_zero": (raw_file(b"", length=0), "a header of 0 bytes"),
    "header_length_one": (raw_file(b"{", length=1), "a header of 1 bytes"),
    "truncated_header": (file_of(SOUND)[:40], r"a header of \d+ bytes in a file of 40; .*incomplete"),
    "truncated_data": (file_of(SOUND)[:-1], "the data are truncated: a file of"),
    "data_missing_altogether": (file_of(SOUND, data=b""), "the data are truncated"),
    "bytes_after_the_last_tensor": (file_of(SOUND, data=bytes(30)), "1 bytes after the last tensor"),
    "bytes_but_no_tensors": (file_of({}, data=b"x"), "1 bytes after the last tensor"),
    "git_lfs_pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a Git-LFS pointer.*run `git lfs pull`",
    ),
    "html_page": (b"<!DOCTYPE html><html><body>Not found</body></html>", "header length of"),
    "header_begins_with_a_space": (raw_file(b" " + json.dumps(SOUND).encode()), "begins with b' "),
    "byte_order_mark": (raw_file(b"\xef\xbb\xbf" + json.dumps(SOUND).encode()), "header that begins with"),
    "utf_16": (raw_file(json.dumps(SOUND).encode("utf-16-le")), "not JSON at line 1 column 2"),
    "invalid_utf_8": (raw_file(b'{"\xff": 1}'), "the header is not UTF-8 at byte 2"),
    "not_json": (raw_file(b'{"a": }'), "the header is not JSON at line 1 column 7"),
    "two_objects": (raw_file(b"{}{}"), "the header is not JSON at line 1 column 3: Extra data"),
    "header_is_a_list": (raw_file(b"[]"), "a header that begins with"),
    "nested_too_deeply": (raw_file(b'{"a":' + b"[" * 200_000), "JSON nested too deeply"),
    "entry_is_a_list": (file_of({"a": [], "b": SOUND["b"]}), ENTRY),
    "entry_is_a_number": (file_of({"a": 3, "b": SOUND["b"]}), ENTRY),
    "entry_is_null": (file_of({"a": None}), ENTRY),
    "entry_is_a_string": (file_of({"a": "dtype shape data_offsets"}), ENTRY),
    "dtype_missing": (file_of({"a": {"shape": [], "data_offsets": [0, 29]}}), ENTRY),
    "shape_missing": (file_of({"a": {"dtype": "U8", "data_offsets": [0, 29]}}), ENTRY),
    "data_offsets_missing": (file_of({"a": {"dtype": "U8", "shape": [29]}}), ENTRY),
    "dtype_is_a_number": (with_field(dtype=32), ENTRY),
    "shape_is_a_string": (with_field(shape=""), ENTRY),
    "shape_is_an_object": (with_field(shape={}), ENTRY),
    "shape_with_a_negative_length": (with_field(shape=[-2, -3]), ENTRY),
    "shape_with_a_fraction": (with_field(shape=[2.0, 3]), ENTRY),
    "shape_with_true": (with_field(shape=[True, 6]), ENTRY),
    "shape_with_a_string": (with_field(shape=["2", 3]), ENTRY),
    "data_offsets_reversed": (with_field(data_offsets=[24, 0]), ENTRY),
    "data_offsets_negative": (with_field(data_offsets=[-24, 0]), ENTRY),
    "data_offsets_of_one": (with_field(data_offsets=[24]), ENTRY),
    "data_offsets_of_three": (with_field(data_offsets=[0, 24, 24]), ENTRY),
    "data_offsets_with_false": (with_field(data_offsets=[False, 24]), ENTRY),
    "data_offsets_with_a_fraction": (with_field(data_offsets=[0, 24.0]), ENTRY),
    "shape_beyond_64_bits": (with_field(dtype="NEW", shape=[2**63]), ENTRY),
    "data_offsets_beyond_64_bits": (with_field(dtype="NEW", data_offsets=[0, 2**64]), ENTRY),
    "metadata_is_a_list": (file_of(SOUND | {"__metadata__": []}), "__metadata__ is not an object of strings"),
    "metadata_with_a_number": (file_of(SOUND | {"__metadata__": {"n": 4}}), "__metadata__ is not an object"),
    "dtype_and_shape_give_more_bytes": (with_field(shape=[3, 3]), "24 bytes for F32 of shape .*expected 36 "),
    "dtype_and_shape_give_fewer_bytes": (with_field(dtype="BF16"), "24 bytes for BF16 .*expected 12 bytes"),
    "half_a_byte": (
        file_of({"a": {"dtype": "F4", "shape": [57], "data_offsets": [0, 29]}}),
        "29 bytes for F4 .*expected 28.5 bytes",
    ),
    "shape_whose_product_wraps_at_64_bits": (with_field(shape=[2**62 + 6, 4]), "24 bytes for F32"),
    "overlap": (
        file_of(SOUND | {"b": SOUND["b"] | {"data_offsets": [23, 28]}}),
        "tensor 'b': its data begin at byte .* overlaps",
    ),
    "same_bytes_twice": (file_of(SOUND | {"c": SOUND["a"]}), "overlaps the tensor before it"),
    "gap_between": (
        file_of(SOUND | {"b": SOUND["b"] | {"data_offsets": [25, 30]}}, data=bytes(30)),
        "tensor 'b': .* leaves a gap",
    ),
    "gap_before_the_first": (
        file_of({"b": {"dtype": "U8", "shape": [28], "data_offsets": [1, 29]}}),
        "tensor 'b': .* leaves a gap",
    ),
    "tensor_twice": (raw_file(f'{{"a": {A}, "a": {A}, "b": {B}}}'.encode()), "the key 'a' stands twice"),
    "tensor_twice_the_first_not_an_entry": (raw_file(f'{{"a": 0, "a": {A}, "b": {B}}}'.encode()), "'a' stands twice"),
    "tensor_twice_spelled_with_an_escape": (
        raw_file(f'{{"a": {A}, "\\u0061": {A}, "b": {B}}}'.encode()),
        "the key 'a' stands twice",
    ),
    "dtype_twice": (raw_file(f'{{"a": {A}, "b": {B[:-1]}, "dtype": "U8"}}}}'.encode()), "'dtype' stands twice"),
    "shape_twice": (raw_file(f'{{"a": {A}, "b": {B[:-1]}, "shape": [5]}}}}'.encode()), "'shape' stands twice"),
    "data_offsets_twice": (
        raw_file(f'{{"a": {A}, "b": {B[:-1]}, "data_offsets": [24, 29]}}}}'.encode()),
        "'data_offsets' stands twice",
    ),
    "metadata_twice": (
        raw_file(f'{{"__metadata__": {{}}, "a": {A}, "b": {B}, "__metadata__": {{}}}}'.encode()),
        "'__metadata__' stands twice",
    ),
    "metadata_key_twice": (
        raw_file(f'{{"__metadata__": {{"k": "1", "k": "2"}}, "a": {A}, "b": {B}}}'.encode()),
        "the key 'k' stands twice",
    ),
    "extra_field_twice": (raw_file(f'{{"a": {A}, "b": {B[:-1]}, "x": 1, "x": 2}}}}'.encode()), "'x' stands twice"),
    "half_a_surrogate_pair_in_a_name": (
        raw_file(f'{{"a": {A}, "\\ud800": {B}}}'.encode()),
        r"tensor '\\ud800': half of a surrogate pair",
    ),
}


@pytest.mark.parametrize("failure", BAD)
def test_refuses(failure: str, tmp_path: Path) -> None:
    content, message = BAD[failure]
    path = tmp_path / f"{failure}.safetensors"
    path.write_bytes(content)
    with pytest.raises(ContainerError, match=message) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_the_sound_file_that_all_bad_ones_are_made_of_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "sound.safetensors"
    path.write_bytes(file_of(SOUND))
    assert list(read_header(LocalFile(str(path))).rows) == ["a", "b"]
    with safe_open(path, "pt") as oracle:
        assert sorted(oracle.keys()) == ["a", "b"]


def test_a_number_too_long_to_convert_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "number_of_5000_digits.safetensors"
    path.write_bytes(raw_file(b'{"a": %s}' % (b"9" * 5000)))
    with pytest.raises(ContainerError, match="the header is not usable JSON: Exceeds the limit"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({name: SOUND[name] for name in "ba"}, id="order_of_names_is_not_order_of_data"),
        pytest.param(SOUND | {"z": {"dtype": "F32", "shape": [0, 7], "data_offsets": [24, 24]}}, id="empty_between"),
        pytest.param(SOUND | {"z": {"dtype": "F32", "shape": [7, 0], "data_offsets": [29, 29]}}, id="empty_at_the_end"),
        pytest.param({"__metadata__": {"sites": '["0.attn"]'}} | SOUND, id="metadata"),
        pytest.param({"__metadata__": {}} | SOUND, id="empty_metadata"),
        pytest.param({'quoted "name"': SOUND["a"], "b": SOUND["b"]}, id="quotation_marks_in_a_name"),
        pytest.param({"层.0": SOUND["a"], "b": SOUND["b"]}, id="name_beyond_ascii"),
        pytest.param({"": SOUND["a"], "b": SOUND["b"]}, id="empty_name"),
    ],
)
def test_accepts_what_the_reference_implementation_accepts(fields: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "sound.safetensors"
    path.write_bytes(file_of(fields))
    header = read_header(LocalFile(str(path)))
    with safe_open(path, "pt") as oracle:
        assert sorted(header.rows) == sorted(oracle.keys())
        assert header.metadata == (oracle.metadata() or {})
        for name, row in header.rows.items():
            assert list(header.shapes[row]) == oracle.get_slice(name).get_shape()
            assert header.dtypes[row] == oracle.get_slice(name).get_dtype()


def test_padding_after_the_header_and_fields_of_the_future_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "padded.safetensors"
    path.write_bytes(raw_file(json.dumps({"a": SOUND["a"] | {"new": {"x": 1}}, "b": SOUND["b"]}).encode() + b"   "))
    assert list(read_header(LocalFile(str(path))).rows) == ["a", "b"]


@settings(deadline=None)
@given(position=st.integers(0, len(file_of(SOUND)) - 1), byte=st.integers(0, 255))
def test_one_changed_byte_is_refused_or_harmless(
    position: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where the reference implementation refuses, so do we; a traceback is never the answer."""
    content = bytearray(file_of(SOUND))
    content[position] = byte
    path = tmp_path_factory.mktemp("changed") / "changed.safetensors"
    path.write_bytes(content)
    try:
        header = read_header(LocalFile(str(path)))
    except ContainerError:
        return
    # The one deliberate difference: types of the future are refused when read, not when listed.
    if set(header.dtypes) <= BITS.keys():
        with safe_open(path, "pt") as oracle:
            assert sorted(header.rows) == sorted(oracle.keys())


@settings(deadline=None)
@given(length=st.integers(0, len(file_of(SOUND)) - 1))
def test_every_truncation_is_refused(length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("truncated") / "truncated.safetensors"
    path.write_bytes(file_of(SOUND)[:length])
    with pytest.raises(ContainerError, match=r"empty|shorter|in a file of|truncated"):
        read_header(LocalFile(str(path)))


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sound.safetensors"
    path.write_bytes(file_of(SOUND))
    source = LocalFile(str(path))
    read_header(source)
    assert source.bytes_read == source.size - 29


def test_unique_keys_are_proven_without_a_second_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parses = _count_calls(monkeypatch, safetensors_header.parse_object)
    path = tmp_path / "sound.safetensors"
    path.write_bytes(file_of({"__metadata__": {"k": "v", "l": "w"}} | SOUND))
    read_header(LocalFile(str(path)))
    assert len(parses) == 1


def _count_calls(monkeypatch: pytest.MonkeyPatch, function: Callable[..., object]) -> list[object]:
    calls: list[object] = []

    def counting(*arguments: object, **options: object) -> object:
        calls.append(options)
        return function(*arguments, **options)

    monkeypatch.setattr(safetensors_header, function.__name__, counting)
    return calls


def test_endless_names_do_not_make_endless_messages(tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    path.write_bytes(file_of({"n" * 5000: SOUND["a"] | {"dtype": "F64"}}, data=bytes(24)))
    with pytest.raises(ContainerError, match=re.escape("... (5000 characters)")) as caught:
        open_checkpoint(path)
    assert len(str(caught.value)) < 500 + len(str(path))

"""NumPy's values inside files of torch.save: plain numbers are rebuilt, all else is refused before NumPy sees it.

Hostile files are read in a process of their own, so that a crash fails a test instead of ending the tests.
"""

import argparse
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.tensorfiles.torch_load import load_file

CODES = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "g", "F", "D", "G"]

# A pickle, opcode by opcode: what a writer with bad intentions can say, and Python's own pickle cannot.
CALL, NEW, STATE = b"R", b"\x81", b"b"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def value(plain: Any) -> bytes:
    return pickle.dumps(plain, protocol=2)[2:-1]


def several(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


NDARRAY, DTYPE = name("numpy", "ndarray"), name("numpy", "dtype")
LITTLE = value((3, "<", None, None, None, -1, -1, 0))


def element(code: str, state: bytes | None = LITTLE) -> bytes:
    made = DTYPE + value((code, False, True)) + CALL
    return made if state is None else made + state + STATE


def array(
    of: bytes, *, shape: Any = (3,), data: bytes = value(bytes(24)), core: str = "_core", kind: bytes = NDARRAY
) -> bytes:
    made = name(f"numpy.{core}.multiarray", "_reconstruct") + several(kind, value((0,)), value(b"b")) + CALL
    return made + several(value(1), value(shape), of, value(False), data) + STATE


def scalar(of: bytes, data: bytes, *, core: str = "_core") -> bytes:
    return name(f"numpy.{core}.multiarray", "scalar") + several(of, data) + CALL


def tensor_of(made: bytes) -> bytes:
    """A tensor that shares the memory of an array, as torch before 2.6 wrote those of other devices."""
    rebuild = name("torch._utils", "_rebuild_device_tensor_from_numpy")
    return rebuild + several(made, name("torch", "float64"), value("cpu"), value(False)) + CALL


def write(path: Path, body: bytes) -> Path:
    """A file of torch.save with one tensor and, under the key "x", what `body` makes."""
    torch.save({"w": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as saved:
        records = {one.filename: saved.read(one) for one in saved.infolist()}
    with zipfile.ZipFile(path, "w") as changed:
        for record, content in records.items():
            if record.endswith("data.pkl"):
                changed.writestr(record, content[:-1] + value("x") + body + b"s.")
            else:
                changed.writestr(record, content)
    return path


DOUBLE = element("f8")
OBJECTS = element("O", value((3, "|", None, None, None, -1, -1, 63)))
FIELDS = several(
    *map(value, (3, "|", None, ("a",))), b"}" + value("a") + several(DOUBLE, value(0)) + b"s", *map(value, (8, 1, 63))
)
SUBARRAY = several(*map(value, (3, "<")), several(DOUBLE, value((3,))), *map(value, (None, None, -1, -1, 0)))
NO_BYTES = name("_codecs", "encode") + value(("", "latin1")) + CALL

HOSTILE: dict[str, tuple[bytes, str]] = {
    **{
        f"array_of_objects_{core}": (array(OBJECTS, data=b"]", core=core), "element type object")
        for core in ("core", "_core")
    },
    **{
        f"object_number_{core}": (scalar(OBJECTS, value(b"\x41" * 8), core=core), "element type object")
        for core in ("core", "_core")
    },
    "element_type_of_objects": (element("O", None), "element type object"),
    "objects_in_a_byte_order": (element("|O", None), "element type object"),
    **{
        f"element_type_{index}": (array(element(code, None)), "element type '")
        for index, code in enumerate(["f8,O", "(2,)f8", "f8,f8", "U4", "S4", "V8", "M8[ns]", "m8", "object", "<f8", ""])
    },
    "number_in_place_of_a_code": (DTYPE + value((8,)) + CALL, "element type 8"),
    "fields_behind_a_plain_type": (array(element("f8", FIELDS)), "element type of the state"),
    "subarray_behind_a_plain_type": (array(element("f8", SUBARRAY)), "element type of the state"),
    "flags_of_objects_on_a_plain_type": (
        array(element("f8", value((3, "<", None, None, None, -1, -1, 63)))),
        "element type of the state",
    ),
    "another_size_of_a_plain_type": (
        array(element("f8", value((3, "<", None, None, None, 4096, -1, 0)))),
        "element type of the state",
    ),
    "metadata_of_a_plain_type": (
        array(element("f8", value((4, "<", None, None, None, -1, -1, 0, {"a": 1})))),
        "element type of the state",
    ),
    "a_strange_order_of_bytes": (
        array(element("f8", value((3, ">f8,O", None, None, None, -1, -1, 0)))),
        "element type of the state",
    ),
    "element_type_without_a_name": (array(DTYPE + b")" + NEW), "element type without a name"),
    "options_turned_into_an_element_type": (
        array(
            name("argparse", "Namespace")
            + b")"
            + CALL
            + several(value(None), b"}" + value("__class__") + DTYPE + b"s")
            + STATE
        ),
        "torch cannot load it: TypeError",
    ),
    "too_few_bytes": (array(DOUBLE, data=value(bytes(16))), "array of 24 bytes that holds 16 bytes"),
    "too_many_bytes": (array(DOUBLE, data=value(bytes(32))), "array of 24 bytes that holds 32 bytes"),
    "a_list_for_bytes": (array(DOUBLE, data=value([1, 2, 3])), "array of 24 bytes that holds a list"),
    "text_for_bytes": (array(DOUBLE, data=value("x" * 24)), "array of 24 bytes that holds a str"),
    "a_negative_length": (array(DOUBLE, shape=(-3,)), r"array of the shape \(-3,\)"),
    "two_negative_lengths": (array(DOUBLE, shape=(-3, -1)), r"array of the shape \(-3, -1\)"),
    "a_length_that_is_no_number": (array(DOUBLE, shape=(3.0,)), r"array of the shape \(3.0,\)"),
    "an_empty_array_beyond_64_bits": (array(DOUBLE, shape=(2**40, 2**40, 0), data=NO_BYTES), "array of 0 bytes"),
    "lengths_whose_product_is_24_in_64_bits": (array(DOUBLE, shape=(2**61 + 3,)), r"array of 18446744073709551640 b"),
    "a_list_for_a_shape": (array(DOUBLE, shape=[3]), "array whose state is none"),
    "text_for_an_element_type": (array(value("f8")), "array whose state is none"),
    "an_array_for_an_element_type": (array(array(DOUBLE)), "array whose state is none"),
    "a_short_state": (
        name("numpy._core.multiarray", "_reconstruct")
        + several(NDARRAY, value((0,)), value(b"b"))
        + CALL
        + several(value((3,)), DOUBLE, value(False), value(bytes(24)))
        + STATE,
        "array whose state is none",
    ),
    "an_array_from_arguments": (NDARRAY + value(((2,), "O")) + CALL, "array that is made from arguments"),
    "a_new_array_from_arguments": (NDARRAY + value(((2,), "O")) + NEW, "array that is made from arguments"),
    "an_array_of_another_class": (array(DOUBLE, kind=name("torch", "Tensor")), "array of the class"),
    "a_state_that_frees_values_in_use": (
        # a tensor over the array's memory stays in use
        tensor_of(array(DOUBLE) + b"q\xfa")
        + b"s"
        + value("y")
        + b"h\xfa"
        + several(value(1), value((0,)), DOUBLE, value(False), NO_BYTES)
        + STATE,
        "array with two states",
    ),
    "a_number_of_too_few_bytes": (scalar(DOUBLE, value(bytes(7))), "float64 that does not hold 8 bytes"),
    "a_number_of_too_many_bytes": (scalar(DOUBLE, value(bytes(16))), "float64 that does not hold 8 bytes"),
    "a_number_of_no_bytes": (scalar(DOUBLE, value([0])), "float64 that does not hold 8 bytes"),
    "a_number_whose_type_is_text": (scalar(value("f8"), value(bytes(8))), "element type 'f8'"),
    "a_number_whose_type_is_a_class": (scalar(DTYPE, value(bytes(8))), "element type <class"),
}

READ = """
import json, sys
from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint
for path in sys.argv[1:]:
    for _ in range(5):  # stray memory is not always fatal
        try:
            found = sorted(open_checkpoint(path).tensors)
        except ContainerError as error:
            found = str(error)
    print(json.dumps(found), flush=True)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says of each file; those behind a crash are missing."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [write(folder / f"{kind}.pt", body) for kind, (body, _) in HOSTILE.items()]
    command = [sys.executable, "-c", READ, *map(str, paths)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return {path.stem: json.loads(line) for path, line in zip(paths, ran.stdout.splitlines(), strict=False)}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_plain_number_is_refused(kind: str, refusals: dict[str, Any]) -> None:
    assert kind in refusals, "the process that read this file, or one before it, crashed"
    _, message = HOSTILE[kind]
    with pytest.raises(ContainerError, match=message):
        raise ContainerError(kind, found=str(refusals[kind]))
    assert "\n" not in refusals[kind]
    if "torch cannot" not in message:
        assert "; expected NumPy arrays and numbers of plain numeric types; save the weights" in refusals[kind]


def test_the_builder_of_the_files_above_builds_sound_ones(tmp_path: Path) -> None:
    expected = np.array([1.0, 2.0, 3.0])
    for core in ("core", "_core"):
        made = array(DOUBLE, data=value(expected.tobytes()), core=core)
        root = load_file(str(write(tmp_path / f"{core}.pt", made))).root
        np.testing.assert_array_equal(root["x"], expected)
        made = scalar(element("i4"), value(np.int32(7).tobytes()), core=core)
        assert load_file(str(write(tmp_path / f"{core}.pt", made))).root["x"] == 7


def test_a_tensor_that_was_saved_as_an_array_is_read(tmp_path: Path) -> None:
    made = tensor_of(array(DOUBLE, data=value(np.arange(3.0).tobytes())))
    assert open_checkpoint(write(tmp_path / "model.pt", made)).read("x").tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_plain_numbers_are_loaded_exactly(code: str, order: str, legacy: bool, tmp_path: Path) -> None:
    kind = np.dtype(code).newbyteorder(order)
    saved = {
        "vector": np.arange(7).astype(kind),
        "matrix": np.arange(15).reshape(3, 5).astype(kind),
        "fortran": np.asfortranarray(np.arange(15).reshape(3, 5).astype(kind)),
        "no axes": np.array(1, kind),
        "number": np.array([1], kind)[0],
    }
    values = {"w": torch.ones(3), **saved}
    torch.save(values, tmp_path / "model.pt", _use_new_zipfile_serialization=not legacy)
    root = load_file(str(tmp_path / "model.pt")).root
    for key, expected in saved.items():
        assert root[key].shape == expected.shape
        assert root[key].dtype == kind.newbyteorder("=")
        np.testing.assert_array_equal(root[key], expected)
    assert root["fortran"].flags.f_contiguous


def test_an_element_type_among_the_options_is_loaded(tmp_path: Path) -> None:
    options = argparse.Namespace(dtype=np.dtype("float32"), seed=np.int64(3))
    torch.save({"model": {"w": torch.ones(3)}, "args": options}, tmp_path / "model.pt")
    config = open_checkpoint(tmp_path / "model.pt").config
    assert config is not None
    assert config["seed"] == 3
    assert str(config["dtype"]) == "float32"


READ_AFTER_ALLOWING = """
import argparse, sys
import numpy as np, torch
from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.torch_load import load_file
native = [np.ndarray, np.dtype, type(np.dtype("O")), np.empty(0).__reduce__()[0], argparse.ArgumentParser]
hostile, sound = sys.argv[1:]
with torch.serialization.safe_globals(native):
    before = set(torch.serialization.get_safe_globals())
    try:
        load_file(hostile)
    except ContainerError as error:
        print("element type object" in str(error))
    print(load_file(sound).root["x"].tolist())
    print(set(torch.serialization.get_safe_globals()) == before)
print(set(torch.serialization.get_safe_globals()) == before - set(native))
"""


def test_numpy_names_that_a_script_allowed_stay_out_of_loading_and_stay_allowed(tmp_path: Path) -> None:
    hostile = write(tmp_path / "hostile.pt", array(OBJECTS, data=b"]"))
    sound = write(tmp_path / "sound.pt", array(DOUBLE))
    command = [sys.executable, "-W", "error", "-c", READ_AFTER_ALLOWING, str(hostile), str(sound)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.stdout.splitlines() == ["True", "[0.0, 0.0, 0.0]", "True", "True"], ran.stderr

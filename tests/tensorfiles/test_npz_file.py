"""Captured mappings in NumPy's archives."""

import numpy as np
import pytest
from reference import disagreements, reference

import mhcdiag
from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles import open_checkpoint

MAPS = np.random.default_rng(0).normal(size=(5, 7, 3, 3))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", ["h_res", "arr_0"])
def test_one_array_is_read_site_by_site(tmp_path, save, name: str):
    save(tmp_path / "maps.npz", **{name: MAPS})
    result = mhcdiag.gain(tmp_path / "maps.npz")
    assert (result.layout, result.tokens, len(result.sites)) == ("captured", 7, 5)
    assert disagreements(result, reference(MAPS), relative=1e-9) == []


def test_one_matrix_per_site(tmp_path):
    np.savez(tmp_path / "maps.npz", MAPS[:, 0].astype(np.float32))
    assert disagreements(mhcdiag.gain(tmp_path / "maps.npz"), reference(MAPS[:, :1])) == []


def test_one_array_per_site_and_others_beside_it(tmp_path):
    arrays = {f"layers.{i}.h_res": maps for i, maps in enumerate(MAPS)}
    np.savez(tmp_path / "maps.npz", steps=np.arange(3), **arrays)
    assert disagreements(mhcdiag.gain(tmp_path / "maps.npz"), reference(MAPS), relative=1e-9) == []


def test_rows_in_any_order_of_memory_and_bytes(tmp_path):
    array = np.asfortranarray(np.arange(24.0).reshape(6, 4)).astype(">f8")
    np.savez(tmp_path / "a.npz", w=array, v=array)
    checkpoint = open_checkpoint(tmp_path / "a.npz")
    assert checkpoint.tensors["w"].dtype == "F64"
    np.testing.assert_array_equal(checkpoint.read("w", rows=slice(2, 5)), np.arange(24.0).reshape(6, 4)[2:5])


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", layers=np.array([{"a": 1}], dtype=object), h_res=MAPS)
    with pytest.raises(ContainerError, match="array 'layers' has element type object"):
        open_checkpoint(tmp_path / "a.npz").read("layers")


def test_a_truncated_archive_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", MAPS)
    raw = (tmp_path / "a.npz").read_bytes()
    for length in (200, len(raw) // 2, len(raw) - 5):
        (tmp_path / "a.npz").write_bytes(raw[:length])
        with pytest.raises(ContainerError, match="a broken archive"):
            open_checkpoint(tmp_path / "a.npz")


def test_a_damaged_array_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.tile(MAPS, (1, 500, 1, 1)))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[len(raw) // 2] ^= 255
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(ContainerError, match="cannot be read: Bad CRC-32"):
        open_checkpoint(tmp_path / "a.npz").read("layers.0.h_res")

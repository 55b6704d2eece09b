"""Element types give the numbers that torch gives for every pattern of their bits."""

import math

import numpy as np
import pytest
import torch

from mhcdiag.weight_scan.codings import CODINGS

TORCH = {
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "I16": torch.int16,
}


@pytest.mark.parametrize("name", TORCH)
def test_every_pattern_is_the_number_that_torch_says(name: str) -> None:
    coding = CODINGS[name]
    patterns = np.arange(1 << 8 * np.dtype(coding.word).itemsize).astype(coding.word)
    expected = torch.from_numpy(patterns.view(f"int{8 * patterns.itemsize}")).view(TORCH[name]).to(torch.float32)
    assert np.array_equal(coding.decode(patterns.view(np.uint8)), expected.numpy(), equal_nan=True)


@pytest.mark.parametrize("name", [name for name, coding in CODINGS.items() if coding.exponent])
def test_magnitudes_are_in_order_and_end_where_numbers_end(name: str) -> None:
    coding = CODINGS[name]
    assert coding.value(0) == 0.0
    assert math.isfinite(coding.largest)
    beyond = np.array([coding.first_nonfinite], dtype=coding.word)
    (first,) = coding.decode(beyond.view(np.uint8))
    assert np.isinf(first) if coding.has_infinity else np.isnan(first)
    for magnitude in (1, 2, 1 << coding.mantissa, coding.first_nonfinite - 1):
        (value,) = coding.decode(np.array([magnitude], dtype=coding.word).view(np.uint8))
        assert coding.value(magnitude) == value
        assert coding.magnitude(coding.value(magnitude)) == magnitude
    assert coding.magnitude(0.0) == 0


def test_limits_are_those_of_the_formats() -> None:
    found = {name: (CODINGS[name].largest, CODINGS[name].smallest_normal) for name in ("F16", "F8_E4M3", "F8_E5M2")}
    assert found == {"F16": (65504.0, 2.0**-14), "F8_E4M3": (448.0, 2.0**-6), "F8_E5M2": (57344.0, 2.0**-14)}
    assert CODINGS["F32"].largest == np.finfo(np.float32).max


def test_two_numbers_of_four_bits_stand_in_a_byte_the_lower_half_first() -> None:
    assert CODINGS["F4"].decode(np.array([0x71, 0x9F], dtype=np.uint8)).tolist() == [0.5, 6.0, -6.0, -0.5]

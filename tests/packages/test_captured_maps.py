"""Mappings hooked from the packages' modules on real tokens, given to mhcdiag as captured mappings."""

from pathlib import Path

from reference import disagreements

import mhcdiag


def test_captured_mappings_give_the_reference_numbers(case, captured_path: Path):
    result = mhcdiag.gain(captured_path)
    assert disagreements(result, case.captured_reference) == []
    assert result.inputs == "captured"
    assert list(result.sites) == case.modules
    assert result.tokens == result.span_tokens == case.captured.shape[1]
    assert result.streams == case.captured.shape[-1]
    assert not result.skipped

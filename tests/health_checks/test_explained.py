"""How much better another reading must be to be named."""

import pytest
from health_checks.subjects import subject

from mhcdiag.health_checks.explained import BETTER, Explained
from mhcdiag.health_checks.families.conformance import THRESHOLDS


@pytest.mark.parametrize(("best", "named"), [(0.0625, False), (0.05, True), (0.03, True)])
def test_exactly_ten_times_is_enough(best: float, named: bool):
    found = Explained(own=0.5, best=best, name="another").finding(subject(), THRESHOLDS, conforms=False)
    assert [finding.what for finding in found] == (
        [f"the running model follows another ({best:.2g}) rather than the layout (off by 0.5 of |x|)"] if named else []
    )
    assert BETTER * 0.05 == 0.5

"""Frozen records of what was measured and judged; nothing here needs torch, so reports and gates need none."""

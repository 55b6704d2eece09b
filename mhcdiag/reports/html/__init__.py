"""The HTML report: one file that needs no network and no script, from a check and ready-made pictures."""

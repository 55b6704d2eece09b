"""The HTML reports of a check and of a trend: one file each that needs no network and no script."""

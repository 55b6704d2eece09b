"""Training logs to one table: one file per format, tried in the order of FORMATS."""

"""Limits on records: policy files, their inputs, baselines, gates and verdicts."""

"""Verdicts: a result and its limits in, pass, fail or "could not judge" out. Gates fail closed."""

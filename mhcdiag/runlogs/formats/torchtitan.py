"""torchtitan on standard output (its colours are stripped before)."""

import re

from mhcdiag.runlogs.fields import spaced_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

TORCHTITAN = Grammar(
    name="torchtitan",
    title="torchtitan",
    rules=(
        Rule(
            mark=re.compile(r".*?\bvalidate step:\s*(?P<step>\d+)\s+(?=loss:)"),
            fields=spaced_fields,
            prefix="validation_",
        ),
        Rule(
            mark=re.compile(r".*?\bstep:\s*(?P<step>\d+)\s+(?=loss:)"),
            fields=spaced_fields,
            garbled=re.compile(r"\bloss:"),
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("validation_loss",), "grad_norm": ("grad_norm",)},
)

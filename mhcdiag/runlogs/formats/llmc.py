"""llm.c: `main.log`, and standard output."""

import re

from mhcdiag.runlogs.fields import piped_fields, spaced_fields
from mhcdiag.runlogs.grammar import Grammar, Rule
from mhcdiag.runlogs.numbers import NUMBER

LLMC = Grammar(
    name="llmc",
    title="llm.c",
    rules=(
        Rule(
            mark=re.compile(r"s:(?P<step>\d+)\s+(?=\w+:)"),
            fields=spaced_fields,
            garbled=re.compile(r"\btrl:"),
        ),
        Rule(
            mark=re.compile(r"step\s+(?P<step>\d+)/(?P<total>\d+) \| (?=loss )"),
            fields=piped_fields,
            garbled=re.compile(r"\bloss\b"),
        ),
        Rule(mark=re.compile(rf"val loss (?P<tel>{NUMBER})$"), same_step=True),
    ),
    preferred={"loss": ("trl", "loss"), "eval_loss": ("tel",), "grad_norm": ("norm",)},
)

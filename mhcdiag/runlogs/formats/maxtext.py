"""MaxText on standard output."""

import re

from mhcdiag.runlogs.fields import comma_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

MAXTEXT = Grammar(
    name="maxtext",
    title="MaxText",
    rules=(
        Rule(
            mark=re.compile(r".*?\bcompleted step: (?P<step>\d+), "),
            fields=comma_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        Rule(
            mark=re.compile(r".*?\beval metrics after step: (?P<step>\d+), "),
            fields=comma_fields,
            prefix="eval_",
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("eval_loss",)},
)

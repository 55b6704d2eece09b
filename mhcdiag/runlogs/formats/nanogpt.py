"""nanoGPT on standard output."""

import re

from mhcdiag.runlogs.fields import comma_fields
from mhcdiag.runlogs.grammar import Grammar, Rule
from mhcdiag.runlogs.numbers import NUMBER

NANOGPT = Grammar(
    name="nanogpt",
    title="nanoGPT",
    rules=(
        Rule(
            mark=re.compile(r"(?:.*\s)?iter (?P<step>\d+): (?=loss)"),
            fields=comma_fields,
            garbled=re.compile(r"\bloss\b"),
        ),
        Rule(
            mark=re.compile(
                r"(?:.*\s)?step (?P<step>\d+): "
                rf"train loss (?P<eval_train_loss>{NUMBER}), val loss (?P<val_loss>{NUMBER})"
            )
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",)},
)

"""LitGPT on standard output."""

import re

from mhcdiag.runlogs.fields import piped_fields
from mhcdiag.runlogs.grammar import Grammar, Rule
from mhcdiag.runlogs.numbers import NUMBER

LITGPT = Grammar(
    name="litgpt",
    title="LitGPT",
    rules=(
        Rule(
            mark=re.compile(
                r"Epoch (?P<epoch>\d+) \| iter (?P<step>\d+) step (?P<optimizer_step>\d+) \|"
                rf" loss train: (?P<loss>{NUMBER})?[^,|]*(?:, val: (?P<val_loss>{NUMBER}|n/a))?"
            ),
            fields=piped_fields,
            garbled=re.compile(r"\bloss train:"),
        ),
        Rule(mark=re.compile(rf"iter (?P<step>\d+): val loss (?P<val_loss>{NUMBER})")),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",)},
)

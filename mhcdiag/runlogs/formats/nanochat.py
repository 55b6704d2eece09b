"""nanochat on standard output: base training, mid-training and SFT, whose steps all begin at 0."""

import re

from mhcdiag.runlogs.fields import piped_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

NANOCHAT = Grammar(
    name="nanochat",
    title="nanochat",
    rules=(
        Rule(
            mark=re.compile(r"step (?P<step>\d+)(?:/(?P<total>\d+))? \([\d.]+%\) \|"),
            fields=piped_fields,
            garbled=re.compile(r"\| loss:"),
        ),
        Rule(mark=re.compile(r"Step (?P<step>\d+) \|"), fields=piped_fields),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("Validation bpb", "Validation loss")},
)

"""build-nanogpt: standard output, and the shorter `log.txt`."""

import re

from mhcdiag.runlogs.fields import piped_fields
from mhcdiag.runlogs.grammar import Grammar, Rule
from mhcdiag.runlogs.numbers import NUMBER

BUILD_NANOGPT = Grammar(
    name="build_nanogpt",
    title="build-nanogpt",
    rules=(
        Rule(
            mark=re.compile(r"step\s+(?P<step>\d+) \| (?=loss:)"),
            fields=piped_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        Rule(mark=re.compile(rf"(?P<step>\d+) train (?P<loss>{NUMBER})$")),
        Rule(mark=re.compile(rf"(?P<step>\d+) val (?P<val_loss>{NUMBER})$")),
        Rule(mark=re.compile(rf"(?P<step>\d+) hella (?P<hellaswag>{NUMBER})$")),
        Rule(mark=re.compile(rf"validation loss: (?P<val_loss>{NUMBER})$"), same_step=True),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",), "grad_norm": ("norm",)},
)

"""modded-nanogpt and its descendants; such logs often begin with the source code of the run."""

import re

from mhcdiag.runlogs.fields import spaced_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

MODDED_NANOGPT = Grammar(
    name="modded_nanogpt",
    title="modded-nanogpt",
    rules=(
        Rule(
            mark=re.compile(r"step:(?P<step>\d+)/(?P<total>\d+)\s+(?=\w)"),
            fields=spaced_fields,
            garbled=re.compile(r"\btrain_loss:"),
        ),
    ),
    preferred={"loss": ("train_loss",), "eval_loss": ("val_loss", "val_bpb")},
)

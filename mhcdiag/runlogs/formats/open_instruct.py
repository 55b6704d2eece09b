"""open-instruct, and other scripts of accelerate, that log behind a progress bar."""

import re

from mhcdiag.runlogs.fields import comma_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

OPEN_INSTRUCT = Grammar(
    name="open_instruct",
    title="open-instruct (with tqdm)",
    rules=(
        Rule(
            mark=re.compile(
                r"(?:[^|]*\|[^|]*\|\s*\d+/(?P<total>\d+)\s*\[[^\]]*\])?"
                r".*?\bStep: (?P<step>\d+), (?=LR:|Loss:)"
            ),
            fields=comma_fields,
            garbled=re.compile(r"\bLoss:"),
        ),
    ),
    preferred={"loss": ("Loss",), "learning_rate": ("LR",)},
)

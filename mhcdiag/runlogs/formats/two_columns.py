"""Step and loss, nothing else: the golden losses of torchtitan's tests."""

import re

from mhcdiag.runlogs.grammar import Grammar, Rule

TWO_COLUMNS = Grammar(
    name="two_columns",
    title="two columns, step and loss (torchtitan's golden losses)",
    rules=(
        Rule(
            mark=re.compile(
                r"(?P<step>\d+)[ \t]+"
                r"(?P<loss>[-+]?\d+\.\d+(?:[eE][-+]?\d+)?|(?i:nan|[-+]?inf(?:inity)?))[ \t]*$"
            )
        ),
    ),
    preferred={"loss": ("loss",)},
)

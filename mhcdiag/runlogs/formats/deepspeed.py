"""DeepSpeed's engine and DeepSpeed-Chat on standard output."""

import re

from mhcdiag.runlogs.fields import comma_fields, piped_fields, spaced_fields
from mhcdiag.runlogs.grammar import Grammar, Rule
from mhcdiag.runlogs.numbers import NUMBER

DEEPSPEED = Grammar(
    name="deepspeed",
    title="DeepSpeed engine, DeepSpeed-Chat",
    rules=(
        Rule(
            mark=re.compile(r"epoch:\s*(?P<epoch>\d+)\s*\|\s*step:\s*(?P<step>\d+)\s*\|"),
            fields=piped_fields,
            garbled=re.compile(r"\bact_loss:"),
        ),
        Rule(
            mark=re.compile(r"Epoch: (?P<epoch>\d+), Step: (?P<step>\d+), Rank: \d+, (?=loss)"),
            fields=comma_fields,
            garbled=re.compile(r"\bloss\s*="),
        ),
        Rule(
            mark=re.compile(r"steps?:\s*(?P<step>\d+)\s+(?=loss:\s.*iter time)"),
            fields=spaced_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        Rule(mark=re.compile(r".*\bstep=(?P<step>\d+), skipped=(?P<skipped>\d+), lr=\[(?P<lr>[^,\]]+)")),
        Rule(mark=re.compile(rf"average reward score: (?P<reward>{NUMBER})"), same_step=True),
        Rule(mark=re.compile(rf"ppl: (?P<ppl>{NUMBER})$"), same_step=True),
    ),
    preferred={"loss": ("loss", "act_loss")},
)

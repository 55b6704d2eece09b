"""NeMo 2 on standard output."""

import re

from mhcdiag.runlogs.fields import piped_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

NEMO = Grammar(
    name="nemo",
    title="NeMo 2",
    rules=(
        Rule(
            mark=re.compile(r".*?\bTraining epoch (?P<epoch>\d+), iteration (?P<iteration>\d+)/\d+ \|"),
            fields=piped_fields,
            garbled=re.compile(r"\breduced_train_loss:"),
        ),
        Rule(mark=re.compile(r".*?\bValidation epoch \d+, iteration \d+/\d+ \|"), fields=piped_fields),
    ),
    preferred={"loss": ("reduced_train_loss", "loss"), "eval_loss": ("val_loss",)},
    step_fields=("global_step", "iteration"),
)

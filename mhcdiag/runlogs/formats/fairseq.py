"""fairseq and metaseq: JSON behind a tag (numbers as texts), and the older form with pipes."""

import re

from mhcdiag.runlogs.fields import comma_fields, json_fields, piped_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

_LOSS = re.compile(r"\bloss\b")

FAIRSEQ = Grammar(
    name="fairseq",
    title="fairseq, metaseq",
    rules=(
        Rule(mark=re.compile(r"[^{]*\|\s*train_inner\s*\|\s*(?=\{)"), fields=json_fields, garbled=_LOSS),
        Rule(mark=re.compile(r"[^{]*\|\s*(?:train|valid\w*)\s*\|\s*(?=\{)"), fields=json_fields),
        Rule(
            mark=re.compile(r"[^{]*\|\s*epoch (?P<epoch>\d+):\s+\d+\s*/\s*\d+\s*"),
            fields=comma_fields,
            garbled=_LOSS,
        ),
        Rule(
            mark=re.compile(r"[^{]*\|\s*epoch (?P<epoch>\d+) \| valid on '[^']*' subset \|"),
            fields=piped_fields,
            prefix="valid_",
        ),
        Rule(
            mark=re.compile(r"[^{]*\|\s*epoch (?P<epoch>\d+) \|\s*(?=(?:train_)?loss )"),
            fields=piped_fields,
            prefix="train_",
        ),
    ),
    preferred={
        "loss": ("loss",),
        "eval_loss": ("valid_loss",),
        "grad_norm": ("gnorm",),
        "learning_rate": ("lr",),
    },
    step_fields=("num_updates", "valid_num_updates", "train_num_updates"),
)

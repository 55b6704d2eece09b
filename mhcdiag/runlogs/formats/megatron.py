"""Megatron-LM, Megatron-DeepSpeed and GPT-NeoX on standard output."""

import re

from mhcdiag.runlogs.fields import piped_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

_STAMP = r"\s*(?:\[\d{4}-\d\d-\d\d[^\]]*\]\s*)?(?:samples/sec:\s*[\d.]+\s*\|\s*)?"
_LOSS = re.compile(r"\blm[ _]loss\s*:")

MEGATRON = Grammar(
    name="megatron",
    title="Megatron-LM, Megatron-DeepSpeed, GPT-NeoX",
    rules=(
        Rule(
            mark=re.compile(_STAMP + r"iteration\s+(?P<step>\d+)\s*/\s*(?P<total>\d+)\s*\|"),
            fields=piped_fields,
            garbled=_LOSS,
        ),
        Rule(
            mark=re.compile(r"[\s|]*(?:-+\s*)?valid\w+ (?:loss|results) at (?:iteration|step) (?P<step>\d+)[^|]*\|"),
            fields=piped_fields,
            prefix="validation ",
        ),
        Rule(
            mark=re.compile(r"\s*(?=(?:learning rate|lm[ _]loss|number of \w+ iterations)\s*:)"),
            fields=piped_fields,
            garbled=_LOSS,
            same_step=True,
        ),
    ),
    preferred={
        "loss": ("lm loss", "lm_loss", "loss"),
        "eval_loss": ("validation lm loss value", "validation lm_loss value"),
        "grad_norm": ("grad norm", "grad_norm"),
        "skipped": ("number of skipped iterations",),
    },
    nan_family="megatron",
)

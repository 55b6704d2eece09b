"""Dictionaries that the Hugging Face Trainer prints (also TRL, axolotl): no step, only an epoch."""

import re

from mhcdiag.runlogs.fields import quoted_fields
from mhcdiag.runlogs.grammar import Grammar, Rule

HF_STDOUT = Grammar(
    name="hf_stdout",
    title="Hugging Face Trainer on standard output",
    rules=(
        Rule(
            mark=re.compile(r"[^{]*(?=\{'[a-z_/]+':\s)"),
            fields=quoted_fields,
            garbled=re.compile(r"'loss':"),
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("eval_loss",)},
    nan_family="huggingface",
    step_fields=("step", "global_step"),
)

"""nanoGPT on standard output."""

import re

from mhcdiag.runlogs.fields import comma_fields, piped_fields, spaced_fields
from mhcdiag.runlogs.grammar import Grammar, Rule
from mhcdiag.runlogs.records import NUMBER

NANOGPT = Grammar(
    name="nanogpt",
    title="nanoGPT",
    rules=(
        Rule(
            mark=re.compile(r"(?:.*\s)?iter (?P<step>\d+): (?=loss)"),
            fields=comma_fields,
            garbled=re.compile(r"\bloss\b"),
        ),
        Rule(
            mark=re.compile(
                r"(?:.*\s)?step (?P<step>\d+): "
                rf"train loss (?P<eval_train_loss>{NUMBER}), val loss (?P<val_loss>{NUMBER})"
            )
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",)},
)


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


LLMC = Grammar(
    name="llmc",
    title="llm.c",
    rules=(
        Rule(
            mark=re.compile(r"s:(?P<step>\d+)\s+(?=\w+:)"),
            fields=spaced_fields,
            garbled=re.compile(r"\btrl:"),
        ),
        Rule(
            mark=re.compile(r"step\s+(?P<step>\d+)/(?P<total>\d+) \| (?=loss )"),
            fields=piped_fields,
            garbled=re.compile(r"\bloss\b"),
        ),
        Rule(mark=re.compile(rf"val loss (?P<tel>{NUMBER})$"), same_step=True),
    ),
    preferred={"loss": ("trl", "loss"), "eval_loss": ("tel",), "grad_norm": ("norm",)},
)


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

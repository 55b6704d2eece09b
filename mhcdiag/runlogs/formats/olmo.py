"""OLMo and OLMo-core on the console: a heading with the step, then `name=value` lines."""

import re

from mhcdiag.runlogs.blocks import BlockGrammar

OLMO = BlockGrammar(
    name="olmo",
    title="OLMo, OLMo-core",
    head=re.compile(r".*\[step=(?P<step>\d+(?:,\d{3})*)(?:/(?P<total>\d+(?:,\d{3})*))?[^\]]*\]\s*$"),
    series=re.compile(r"\s+(?P<name>[A-Za-z][^=]*)=(?P<value>[-+.\d\w,%]+)\s*$"),
    garbled=re.compile(r"\s+train/(?:CrossEntropyLoss|CE loss)="),
    preferred={
        "loss": ("train/CrossEntropyLoss", "train/CE loss"),
        "grad_norm": ("optim/total_grad_norm", "optim/total grad norm"),
    },
)

"""Megatron-LM, Megatron-DeepSpeed and GPT-NeoX on standard output."""

import re

from mhcdiag.runlogs.fields import comma_fields, json_fields, piped_fields, quoted_fields, spaced_fields
from mhcdiag.runlogs.grammar import BlockGrammar, Grammar, Rule
from mhcdiag.runlogs.records import NUMBER

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


_FAIRSEQ_LOSS = re.compile(r"\bloss\b")

FAIRSEQ = Grammar(
    name="fairseq",
    title="fairseq, metaseq",
    rules=(
        Rule(mark=re.compile(r"[^{]*\|\s*train_inner\s*\|\s*(?=\{)"), fields=json_fields, garbled=_FAIRSEQ_LOSS),
        Rule(mark=re.compile(r"[^{]*\|\s*(?:train|valid\w*)\s*\|\s*(?=\{)"), fields=json_fields),
        Rule(
            mark=re.compile(r"[^{]*\|\s*epoch (?P<epoch>\d+):\s+\d+\s*/\s*\d+\s*"),
            fields=comma_fields,
            garbled=_FAIRSEQ_LOSS,
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


COMPOSER = BlockGrammar(
    name="composer",
    title="Composer, llm-foundry",
    head=re.compile(r"\s*(?:\[\w+=[^\]]*\])*\[batch=(?P<step>\d+)(?:/(?P<total>\d+))?\]:\s*$"),
    series=re.compile(r"\s*(?:Train|Eval) (?P<name>\S[^:]*):\s*(?P<value>[-+.\d\w,%]+)\s*$"),
    garbled=re.compile(r"\s*Train (?:metrics/train/LanguageCrossEntropy|loss/train/total):"),
    preferred={
        # The total is summed over microbatches in some versions: the cross entropy is the one people compare.
        "loss": ("metrics/train/LanguageCrossEntropy", "loss/train/total"),
        "eval_loss": ("metrics/eval/LanguageCrossEntropy",),
        "grad_norm": ("l2_norm/grad/global",),
    },
)


MAXTEXT = Grammar(
    name="maxtext",
    title="MaxText",
    rules=(
        Rule(
            mark=re.compile(r".*?\bcompleted step: (?P<step>\d+), "),
            fields=comma_fields,
            garbled=re.compile(r"\bloss:"),
        ),
        Rule(
            mark=re.compile(r".*?\beval metrics after step: (?P<step>\d+), "),
            fields=comma_fields,
            prefix="eval_",
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("eval_loss",)},
)


TORCHTITAN = Grammar(
    name="torchtitan",
    title="torchtitan",
    rules=(
        Rule(
            mark=re.compile(r".*?\bvalidate step:\s*(?P<step>\d+)\s+(?=loss:)"),
            fields=spaced_fields,
            prefix="validation_",
        ),
        Rule(
            mark=re.compile(r".*?\bstep:\s*(?P<step>\d+)\s+(?=loss:)"),
            fields=spaced_fields,
            garbled=re.compile(r"\bloss:"),
        ),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("validation_loss",), "grad_norm": ("grad_norm",)},
)


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


LITGPT = Grammar(
    name="litgpt",
    title="LitGPT",
    rules=(
        Rule(
            mark=re.compile(
                r"Epoch (?P<epoch>\d+) \| iter (?P<step>\d+) step (?P<optimizer_step>\d+) \|"
                rf" loss train: (?P<loss>{NUMBER})?[^,|]*(?:, val: (?P<val_loss>{NUMBER}|n/a))?"
            ),
            fields=piped_fields,
            garbled=re.compile(r"\bloss train:"),
        ),
        Rule(mark=re.compile(rf"iter (?P<step>\d+): val loss (?P<val_loss>{NUMBER})")),
    ),
    preferred={"loss": ("loss",), "eval_loss": ("val_loss",)},
)


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

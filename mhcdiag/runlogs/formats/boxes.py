"""Records in boxes and blocks, one series a line: loggers of reinforcement learning, diffusion and speech synthesis."""

import re

from mhcdiag.runlogs.grammar import BlockGrammar
from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord
from mhcdiag.runlogs.names import canonical_rank
from mhcdiag.runlogs.records import NUMBER, parse_number

_ENTRY = re.compile(r"\s*\|(?P<indent>\s*)(?P<name>[A-Za-z][^|]*?)\s*\|\s*(?P<value>[^|]*?)\s*\|\s*$")
_EDGE = re.compile(r"\s*[-+=─━┌┐└┘├┤]{9,}\s*$")
# The boxes of rllab, garage and rlkit have no bars: a rule of two parts opens and closes them.
_OPEN_EDGE = re.compile(r"\s*-{5,}\s{2,}-{3,}\s*$")
_OPEN_ENTRY = re.compile(r"(?P<indent>\s*)(?P<name>[A-Za-z]\S*(?: \S+)*)\s{2,}(?P<value>\S+)\s*$")
# Counts of a box, best first; names of sections stand before those of stable-baselines3.
_BOX_STEPS = (
    "step", "time/total_timesteps", "total_timesteps", "misc/total_timesteps", "time/total timesteps", "steps",
    "TotalEnvInteracts", "TotalTimesteps", "timesteps_total", "time/iterations", "train/n_updates", "n_updates",
    "misc/nupdates", "nupdates", "TotalEnvSteps", "Evaluation/Iteration", "Iteration", "Itr", "Epoch", "epoch",
    "iteration",
)  # fmt: skip


class BoxParser:
    """Collects the lines of a box until its lower edge."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._steps = (keys.step,) if keys.step is not None else _BOX_STEPS
        self._open: LogRecord | None = None
        self._garbled = False
        self._section = ""
        self._barless = False

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Take the next line; return the record that it ends."""
        if _EDGE.match(text) or _OPEN_EDGE.match(text):
            self._barless = not self._barless and _OPEN_EDGE.match(text) is not None
            return self._close()
        entry = _OPEN_ENTRY.match(text) if self._barless else _ENTRY.match(text)
        if entry is None:
            return None
        name, value = entry["name"].rstrip(), entry["value"]
        if not value and name.endswith("/"):
            self._section = name
            return None
        # stable-baselines3 indents what belongs to a section; in other boxes all names stand alike.
        name = self._section + name if self._section and len(entry["indent"]) > 1 else name
        done = self._close() if self._open is not None and name in self._open.values else None
        self._open = self._open or LogRecord(line=line, values={})
        number = parse_number(value)
        if number is not None:
            self._open.values[name] = number
        elif value and self._is_loss(name):
            self._garbled = True
        return done

    def finish(self) -> LogRecord | None:
        """Return the record that was still open at the end."""
        return self._close()

    def _close(self) -> LogRecord | None:
        done, self._open, self._section = self._open, None, ""
        garbled, self._garbled = self._garbled, False
        if done is None or not (done.values or garbled):
            return None
        name = next((name for name in self._steps if name in done.values), None)
        step = done.values.get(name) if name is not None else None
        values = {key: value for key, value in done.values.items() if key != name}
        return LogRecord(line=done.line, step=step, values=values, garbled=garbled)

    def _is_loss(self, name: str) -> bool:
        if self._keys.loss is not None:
            return name == self._keys.loss
        rank = canonical_rank(name)
        return rank is not None and rank[0] == "loss"


def _of_a_box(text: str) -> bool:
    return _ENTRY.match(text) is not None


# The HumanOutputFormat of openai/baselines (logger.py), which guided-diffusion and others took over, of DLR-RM/
# stable-baselines3 (common/logger.py), the EpochLogger of openai/spinningup, and the tables of rllab, garage and rlkit:
# | train/                  |             |         | grad_norm      | 0.123    |         |    LossPi |  -0.013 |
# |    loss                 | 3.23        |         | step           | 10       |
# Where there is no total the critic's loss is the loss: that of the policy has no zero to stay above.
BOXES = LineFormat(
    name="boxes",
    title="boxes of key and value: stable-baselines3, baselines, guided-diffusion, Spinning Up, rlkit",
    parser=BoxParser,
    preferred={
        "loss": (
            "train/loss", "loss", "loss/loss", "train/critic_loss", "train/value_loss", "loss/value_loss",
            "loss/vf_loss", "value_loss", "LossQ", "LossV", "trainer/QF1 Loss", "QF1 Loss", "QF Loss",
        ),
        "grad_norm": ("train/grad_norm", "grad_norm"),
        "learning_rate": ("train/learning_rate",),
    },
    belongs=_of_a_box,
)  # fmt: skip

# leggedrobotics/rsl_rl (on_policy_runner.py), older and newer than 2.0:
#                        Learning iteration 3/1500
#                Value function loss: 0.0284          or          Mean value_function loss: 0.0284
#                     Surrogate loss: 0.0003
RSL_RL = BlockGrammar(
    name="rsl_rl",
    title="rsl_rl",
    head=re.compile(r"\s*Learning iteration (?P<step>\d+)/(?P<total>\d+)\s*$"),
    series=re.compile(r"\s+(?P<name>[A-Z][\w /()]*?):\s+(?P<value>[-+.\d\w]+)\s*$"),
    garbled=re.compile(r"\s+(?:Value function|Mean value_function|Mean value) loss:"),
    preferred={"loss": ("Value function loss", "Mean value_function loss", "Mean value loss")},
)

# coqui-ai/TTS and Trainer (console_logger.py); the number in brackets is the mean so far:
#    --> STEP: 25/405 -- GLOBAL_STEP: 25
#      | > loss: 3.12345  (3.45678)
#   --> EVAL PERFORMANCE
#      | > avg_loss: 3.10000 (-0.20000)
COQUI = BlockGrammar(
    name="coqui",
    title="Coqui TTS",
    head=re.compile(r"\s*-->\s+STEP: \d+(?:/\d+)? -- GLOBAL_STEP: (?P<step>\d+)(?P<total>)\s*$"),
    eval_head=re.compile(r"\s*-->\s+(?:STEP: \d+(?:/\d+)?|EVAL PERFORMANCE)\s*$"),
    series=re.compile(rf"\s*\| > (?P<name>[\w/.-]+):\s*(?P<value>{NUMBER})(?:\s*\([^)]*\))?\s*$"),
    garbled=re.compile(r"\s*\| > loss:"),
    preferred={
        "loss": ("loss",),
        "eval_loss": ("eval_loss", "eval_avg_loss"),
        "grad_norm": ("grad_norm",),
        "learning_rate": ("current_lr",),
    },
)

# allenai/allennlp (tensorboard_writer.py, later console_logger.py): one table an epoch, training and validation.
# 2021-05-01 10:00:00,123 - INFO - allennlp.training.trainer - Epoch 3/39
# 2021-05-01 10:00:00,123 - INFO - allennlp.training.tensorboard_writer - loss               |     0.123  |     0.234
ALLENNLP = BlockGrammar(
    name="allennlp",
    title="AllenNLP",
    head=re.compile(r".*\ballennlp\S* - Epoch (?P<step>\d+)/(?P<total>\d+)\s*$"),
    series=re.compile(r".*\ballennlp\S* - (?P<name>[\w.-]+)\s+\|\s+(?P<value>\S+)\s+\|\s+(?P<other>\S+)\s*$"),
    garbled=re.compile(r".*\ballennlp\S* - loss\s+\|"),
    preferred={"loss": ("loss",), "eval_loss": ("validation_loss",)},
    needle="allennlp",
    other_split="validation_",
)


class ResultParser:
    """Collects the nested lines of a result until it ends; names of lines that stand deeper are joined with `/`."""

    def __init__(self, keys: Keys) -> None:
        self._steps = (keys.step,) if keys.step is not None else ("training_iteration", "timesteps_total")
        self._open: LogRecord | None = None
        self._path: list[tuple[int, str]] = []

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Take the next line; return the record that it ends."""
        if _RESULT.match(text):
            done = self._close()
            self._open = LogRecord(line=line, values={})
            return done
        if self._open is None:
            return None
        entry = _NESTED.match(text)
        if entry is None:
            return self._close()
        depth = len(entry["indent"])
        while self._path and self._path[-1][0] >= depth:
            self._path.pop()
        names = [name for _, name in self._path] + [entry["name"]]
        number = parse_number(entry["value"]) if entry["value"] else None
        if number is not None:
            self._open.values["/".join(names)] = number
        elif not entry["value"]:
            self._path.append((depth, entry["name"]))
        return None

    def finish(self) -> LogRecord | None:
        """Return the record that was still open at the end."""
        return self._close()

    def _close(self) -> LogRecord | None:
        done, self._open, self._path = self._open, None, []
        if done is None or not done.values:
            return None
        name = next((name for name in self._steps if name in done.values), None)
        step = done.values.get(name) if name is not None else None
        return LogRecord(
            line=done.line, step=step, values={key: value for key, value in done.values.items() if key != name}
        )


_RESULT = re.compile(r"\s*Result for \S+:\s*$")
_NESTED = re.compile(r"(?P<indent>\s+)(?P<name>[\w./-]+):(?:\s+(?P<value>\S.*?))?\s*$")


def _of_a_result(text: str) -> bool:
    return _RESULT.match(text) is not None or _NESTED.match(text) is not None


# ray-project/ray (tune/progress_reporter.py), as YAML behind the name of the trial:
# Result for PPO_CartPole-v0_b34c2_00000:
#   info:
#     learner:
#       total_loss: 9.1
#   training_iteration: 1
RAY_RESULT = LineFormat(
    name="ray_result",
    title="results of Ray Tune and RLlib on the console",
    parser=ResultParser,
    belongs=_of_a_result,
)

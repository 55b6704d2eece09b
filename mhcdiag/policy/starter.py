"""The policy that `mhcdiag check --init` writes: it works as it stands, and every line can be changed."""

STARTER = """\
# What `mhcdiag check` looks at and when it fails. Every gate is explained by `mhcdiag explain METRIC`.
# Paths are relative to this file. The same tables may stand in pyproject.toml under [tool.mhcdiag].

[inputs]
checkpoints = ["checkpoints/*"]   # files or folders; ** crosses folders
logs = ["logs/*"]

# Options of the commands, by their names: `mhcdiag config` shows all of them with their values.
[gain]
tokens = 1024

[spikes]
# log_format = "megatron"

[check]
# baseline = "mhcdiag-baseline.json"   # `mhcdiag check --update-baseline` writes it
# strict = true

# A gate is one limit on one metric: max, min, or max_ratio (a multiple of the baseline's value).
[[gates]]
name = "finite mappings"
metric = "gain.nonfinite"
max = 0

[[gates]]
name = "forward gain"
metric = "gain.worst.forward.norm"
max = 1000
reason = "arXiv 2512.24880 calls this level exploded"

[[gates]]
name = "backward gain"
metric = "gain.worst.backward.norm"
max = 1000
reason = "arXiv 2512.24880 calls this level exploded"

[[gates]]
name = "rising gain"
metric = "gain.worst.backward.norm"
max = 30
severity = "warning"   # shown, and changes nothing unless --strict is given
reason = "healthy mHC models stay below 3"

[[gates]]
name = "no NaN"
metric = "spikes.count.nan"
series = "*"           # every series that was judged
max = 0

[[gates]]
name = "no divergence"
metric = "spikes.count.divergence"
series = "*"
max = 0

[[gates]]
name = "loss scale"
metric = "spikes.count.loss_scale"
max = 0

[[gates]]
name = "few spikes"
metric = "spikes.count.spike"
max = 3
severity = "warning"

# Events that are known, and why: they count nowhere, and every report shows them.
# [[allow]]
# kind = "spike"
# steps = [12000, 12050]
# paths = "logs/base*.jsonl"
# reason = "corrupt shard 17, skipped since"
"""

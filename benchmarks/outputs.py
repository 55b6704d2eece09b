"""Everything that the commands print and write on the samples, kept in a folder and compared with it later.

For changes of structure that must not change a byte::

    python benchmarks/outputs.py record /tmp/before     # at the old commit
    python benchmarks/outputs.py compare /tmp/before    # at the new one: lists what differs, exit code 1

`--checkpoints FOLDER` and `--logs FOLDER` add each entry of a folder of one's own: `gain`, `health` and `inspect`, or
`spikes`, in text and JSON.

Each command runs in a fork of one process that has imported torch already, in an empty folder with a link to the
samples: 180 commands then take about a minute instead of six.
"""

import argparse
import contextlib
import difflib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
COLUMNS = 88
EPOCH = "1767225600"

S = "sample_checkpoints"
CHECKPOINTS = (
    f"{S}/mhc.safetensors", f"{S}/hc.safetensors", f"{S}/residual.safetensors", f"{S}/identity-hc.safetensors",
    f"{S}/captured/hc.safetensors", f"{S}/captured/mhc.safetensors", f"{S}/deepseek_v4",
)  # fmt: skip
LOGS = ("diverged.log", "spiky.jsonl", "toy-collapse.jsonl", "toy-hc.jsonl", "toy-mhc.jsonl", "toy-residual.jsonl")
PAGES = (
    "", "gain", "health", "capture", "inspect", "layouts", "spikes", "trend", "check", "config", "toy", "toy train",
    "toy compare", "cost", "explain",
)  # fmt: skip
RULES = ("olmo2", "olmo-core", "kill-loss-spike", "megatron", "zclip")
METRICS = ("gain.worst.forward.norm", "spikes.count.spike", "spikes.new", "gain.bound.forward.norm", "health.failed")
FORMATS = ("text", "json", "markdown", "csv", "html", "junit", "sarif", "github")


def commands() -> Iterator[str]:
    """Command lines on the samples."""
    yield from (f"{page} --help".strip() for page in PAGES)
    yield from (
        "--version", "layouts", "layouts --json", "explain", "config", "config --isolated", "cost", "cost --json",
        "cost --preset v4-pro", "cost --width 512 --streams 4 --blocks 8 --dtype fp32 --json", f"cost {S}/deepseek_v4",
        "cost --preset nonsense", "explain nonsense", "explain trend",
    )  # fmt: skip
    yield from (f"explain {name}" for name in (*RULES, *METRICS, "mhcdiag", "gain", "spikes", "health"))
    for path in CHECKPOINTS:
        yield from (f"{command} {path}{json}" for command in ("gain", "health", "inspect") for json in ("", " --json"))
        yield f"gain {path} --inputs static --plot figure.svg --heatmap"
    yield from _gain()
    yield from _health()
    yield from _logs()
    yield from _trend()
    yield from _check()


def _gain() -> Iterator[str]:
    mhc, hc = f"{S}/mhc.safetensors", f"{S}/hc.safetensors"
    runs = " ".join(f"{S}/runs/hc/step_{step:06}.safetensors" for step in (50, 100, 150))
    yield from (
        f"gain {mhc} --tokens 7 --seed 3 --sites 2:9 --json", f"gain {mhc} --sinkhorn-iters 3 --json",
        f"gain {mhc} --orientation source-rows --json", f"gain {mhc} {hc}", f"gain -v {mhc} {hc}",
        f"gain -q {mhc} {hc}",
        f"gain {mhc} --gate-on bound --max-gain 3", f"gain {mhc} --gate-on bound --max-gain 30", f"gain {runs}",
        f"gain {mhc} --strict", f"gain {mhc} --max-gain 1.1", f"gain {mhc} --dtype float32",
        f"gain {runs} --plot x.png",
        f"gain {S}/deepseek_v4 --inputs embedding", f"gain {mhc} --inputs embedding",
        f"gain {S}/captured/hc.safetensors",
        "gain missing.safetensors", f"gain {S}/logs/diverged.log", f"gain {mhc} missing.safetensors", "gain",
        f"gain {mhc} --layout nonsense", f"gain {hc} --layout deepseek-v4", f"gain {mhc} --sites 90:99",
        f"gain {mhc} --inputs captured", f"gain {mhc} --no-tanh", f"gain {hc} --no-tanh", f"gain {hc} --device cuda",
        f"gain {S}/runs/hc", f"gain {mhc} --plot figure.docx", f"inspect {mhc} --layout plain", "inspect missing.pt",
        f"inspect {mhc} {hc} -v", f"inspect {S}/logs",
    )  # fmt: skip


def _health() -> Iterator[str]:
    runs = f"{S}/runs/hc/step_000300.safetensors --against {S}/runs/hc/step_000050.safetensors"
    mhc, hc = f"{S}/mhc.safetensors", f"{S}/hc.safetensors"
    yield from (
        f"health {runs}", f"health {runs} --json", f"health {mhc} --against {S}/captured/mhc.safetensors",
        f"health {mhc} --captured {S}/captured/mhc.safetensors", f"health {hc} --inputs static",
        f"health {mhc} {hc} -q", f"health {mhc} {hc}", f"health {mhc} {hc} -v", f"health {mhc} --fail-on note",
        f"health {hc} --only gates,products", f"health {hc} --only nonsense", f"health {mhc} --strict",
        f"health {mhc} --threshold gates.alpha=0.001", f"health {mhc} --threshold nonsense", "health missing.pt",
    )  # fmt: skip


def _logs() -> Iterator[str]:
    for name in LOGS:
        yield from (f"spikes {S}/logs/{name}{option}" for option in ("", " --json", " --csv", " --list-series"))
        yield f"spikes {S}/logs/{name} --plot figure.svg --log-scale --advice --context 2"
    spiky = f"{S}/logs/spiky.jsonl"
    yield from (f"spikes {spiky} --rule {rule} --json" for rule in RULES)
    yield from (
        f"spikes {S}/logs", f"spikes -q {S}/logs", f"spikes {spiky} --fail-on spike", f"spikes {spiky} --max-spikes 0",
        f"spikes {spiky} --z 3 --min-rise 0.1 --window 32 --warmup 16 --json", f"spikes {spiky} --steps 100:300",
        f"spikes {spiky} --max-spike-score 0.0001", f"spikes {spiky} --series grad_norm --json",
        f"spikes {spiky} --against {S}/logs/toy-mhc.jsonl", f"spikes {spiky} --against {S}/logs/toy-mhc.jsonl --json",
        f"spikes {S}/logs/toy-hc.jsonl --against {S}/logs/toy-mhc.jsonl --plot gap.svg", f"spikes {spiky} --regex x",
        f"spikes {spiky} --loss-key nonsense", f"spikes {spiky} --log-format nonsense", f"spikes {spiky} --rule none",
        "spikes missing.log", f"spikes {spiky} missing.log", "spikes", f"spikes {S}/mhc.safetensors",
        f"spikes --follow {spiky} --idle-timeout 0.1", f"spikes --follow {S}/logs/diverged.log --idle-timeout 0.1",
        f"spikes --follow {S}/logs/toy-hc.jsonl --idle-timeout 0.1 --fail-on spike --on-fail true",
    )  # fmt: skip


def _trend() -> Iterator[str]:
    for name in ("hc", "mhc"):
        run, log = f"{S}/runs/{name}", f"{S}/logs/toy-{name}.jsonl"
        yield from (f"trend {run}{option}" for option in ("", " --json", " -q", " --inputs static"))
        yield from (f"trend {run} --log {log}{option}" for option in ("", " --json", " --html p.html", " --plot p.svg"))
        yield from (f"trend {log}", f"trend {log} --json", f"trend {run} --stream-rms 3 --fit-from 100")
        yield f"trend {run} --max-doubling-rate 0.1 --no-crossing-before 1000 --max-gain 3 --strict"
    yield from ("trend missing", f"trend {S}/hc.safetensors", f"trend {S}/logs/spiky.jsonl", "trend")


def _check() -> Iterator[str]:
    some = f"{S}/mhc.safetensors {S}/hc.safetensors {S}/residual.safetensors {S}/logs/spiky.jsonl {S}/logs/diverged.log"
    yield from (f"check {some} --format {name}" for name in FORMATS)
    outputs = " ".join(f"-o {name}:report.{name}" for name in FORMATS[1:])
    yield from (
        f"check {some} {outputs}", f"check {some} -v", f"check {some} -q", f"check {some} --strict", "check --init",
        f"check {some} --exit-zero", f"check {S}/mhc.safetensors", f"check {S}/mhc.safetensors --format html",
        f"check {S}/logs/toy-mhc.jsonl --format html", f"check {S}/logs", f"check {S}/runs/hc --format markdown",
        f"check {some} --baseline base.json --update-baseline", "check", "check missing.safetensors",
        "check --format x",
        f"check {S}/mhc.safetensors --baseline missing.json", f"check {S}/mhc.safetensors --config missing.toml",
        f"check --config with.toml {some} --format json", "check --config with.toml", "config --config with.toml",
        f"check --config with.toml {some}", f"check --config with.toml {some} --baseline base.json --format json",
        f"check --config wrong.toml {some}", f"gain --config with.toml {S}/mhc.safetensors",
        "explain --config with.toml",
    )  # fmt: skip


POLICY = f"""
[inputs]
checkpoints = ["{S}/*.safetensors"]
logs = ["{S}/logs/*"]

[gain]
tokens = 64

[[gates]]
name = "gain"
metric = "gain.worst.forward.norm"
max = 30
reason = "published models stay below"

[[gates]]
metric = "spikes.count.spike"
max = 2
severity = "warning"

[[gates]]
name = "grown"
metric = "gain.worst.backward.norm"
max_ratio = 1.5

[[gates]]
name = "new"
metric = "spikes.new"
max = 0

[[gates]]
metric = "health.failed"
max = 0

[[allow]]
kind = "spike"
steps = [100, 400]
paths = "{S}/logs/spiky.jsonl"
reason = "known"
"""


def cases_of(folder: Path, *, kind: str) -> Iterator[str]:
    """Command lines for each entry of a folder that is not about this project."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".md":
            continue
        names = ("gain", "health", "inspect") if kind == "checkpoints" else ("spikes",)
        yield from (f"{name} {path.resolve()}{json}" for name in names for json in ("", " --json"))


def run(command: str, folder: Path) -> None:
    """Run one command line in a fork; its outputs, exit code and files are in the folder afterwards."""
    folder.mkdir(parents=True)
    work = Path(tempfile.mkdtemp())
    (work / S).symlink_to(ROOT / S)
    (work / "with.toml").write_text(POLICY)
    (work / "wrong.toml").write_text("[gates]\nnonsense = 1\n")
    base = folder.parent / "base.json"
    if base.exists():
        shutil.copy(base, work / "base.json")
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _become(command, work, folder)
    _, status = os.waitpid(child, 0)
    (folder / "exit").write_text(f"{os.waitstatus_to_exitcode(status)}\n")
    if "--update-baseline" in command:
        shutil.copy(work / "base.json", base)
    for path in work.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in {"with.toml", "wrong.toml"}:
            shutil.copy(path, folder / f"file-{path.name}")
    shutil.rmtree(work)


def _become(command: str, work: Path, folder: Path) -> None:
    """Be the command: never returns."""
    os.chdir(work)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["mhcdiag", *command.split()]
    code = 3
    from mhcdiag.cli import main

    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def record(folder: Path, lines: list[str], *, only: str) -> None:
    """Run the command lines that contain `only`, and the one that writes the baseline of others."""
    os.environ |= {"SOURCE_DATE_EPOCH": EPOCH, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    os.environ.pop("FORCE_COLOR", None)
    import pandas  # noqa: F401
    import torch

    torch.set_num_threads(1)
    for number, line in enumerate(dict.fromkeys(lines)):  # numbered before any is left out: folders keep their names
        if only not in line and "--update-baseline" not in line:
            continue
        name = "".join(letter if letter.isalnum() else "-" for letter in line.replace(S, "S").replace("/", "."))
        run(line, folder / f"{number:03} {name[:120]}")
        (folder / f"{number:03} {name[:120]}" / "command").write_text(f"mhcdiag {line}\n")


def compare(before: Path, after: Path) -> int:
    """Print what differs; the number of files that do."""
    known = {path.name for path in after.iterdir()}
    files = {path.relative_to(top) for top in (before, after) for path in top.rglob("*") if path.is_file()}
    names = sorted(name for name in files if name.parts[0] in known)
    differ = 0
    for name in names:
        old, new = ((top / name).read_bytes() if (top / name).exists() else b"" for top in (before, after))
        if old == new:
            continue
        differ += 1
        print(f"--- {name}")
        lines = (data.decode(errors="replace").splitlines() for data in (old, new))
        print("\n".join(line[:160] for line in list(difflib.unified_diff(*lines, lineterm="", n=0))[2:10]))
    print(f"{len(names)} files compared, {differ} differ")
    return differ


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoints", type=Path, action="append", default=[])
    parser.add_argument("--logs", type=Path, action="append", default=[])
    parser.add_argument("--only", default="", help="only command lines that contain this")
    options = parser.parse_args()
    lines = list(commands())
    for folder in options.checkpoints:
        lines += cases_of(folder, kind="checkpoints")
    for folder in options.logs:
        lines += cases_of(folder, kind="logs")
    if options.action == "record":
        shutil.rmtree(options.folder, ignore_errors=True)
        record(options.folder, lines, only=options.only)
        print(f"{len(list(options.folder.iterdir()))} entries recorded in {options.folder}")
        return 0
    now = Path(tempfile.mkdtemp()) / "now"
    record(now, lines, only=options.only)
    return int(compare(options.folder, now) > 0)


if __name__ == "__main__":
    sys.exit(main())

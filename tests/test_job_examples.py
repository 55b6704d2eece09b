"""The documents' examples for jobs and CI, run as far as a machine without Slurm, torchrun and GitHub allows.

`srun`, `scancel` and `torchrun` are small scripts first on PATH; `mhcdiag` and the shell are the real ones.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from document_blocks import DOCS, ROOT, text_of

from mhcdiag.policies.policy_files import read_policy

TEXT = text_of(DOCS / "policies.md")
SLURM, TORCHRUN = re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HEALTHY = [f'{{"step": {step}, "loss": {2 + 1 / (1 + step):.4f}}}' for step in range(40)]
SICK = [*HEALTHY, *(f'{{"step": {step}, "loss": NaN}}' for step in range(40, 60))]


def executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def job(tmp_path: Path):
    """Run a script in a folder with checkpoints, a training that prints `lines`, and the commands a cluster has."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_1.safetensors").write_bytes(
        (ROOT / "sample_checkpoints" / "mhc.safetensors").read_bytes()
    )
    executable(tools / "mhcdiag", f'#!/bin/sh\nexec "{sys.executable}" -m mhcdiag "$@"\n')
    executable(tools / "scancel", '#!/bin/sh\necho "$1" > cancelled\n')

    def run(script: str, lines: list[str]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "lines").write_text("\n".join(lines) + "\n", encoding="utf-8")
        # The training writes its lines, then works until somebody stops it or it is done.
        work = "#!/bin/bash\ncat lines\nfor i in $(seq 100); do [ -e cancelled ] && exit 143; sleep 0.1; done\n"
        if "NaN" not in "".join(lines):
            work = "#!/bin/bash\ncat lines\nsleep 2\n"
        for name in ("srun", "torchrun"):
            executable(tools / name, work)
        environment = os.environ | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SLURM_JOB_ID": "4711",
        }
        return subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_healthy_slurm_job_ends_well_and_leaves_a_report(job, tmp_path):
    done = job(SLURM, HEALTHY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "cancelled").exists()
    assert "PASS" in (tmp_path / "logs" / "4711.html").read_text(encoding="utf-8").upper()


def test_a_slurm_job_with_nan_is_cancelled_by_its_number(job, tmp_path):
    done = job(SLURM, SICK)
    assert (tmp_path / "cancelled").read_text(encoding="utf-8") == "4711\n"
    assert done.returncode == 143
    assert "no NaN" in done.stdout


def test_torchrun_is_ended_at_the_first_failed_gate(job):
    done = job(TORCHRUN, SICK)
    assert done.returncode == 1, done.stdout + done.stderr


def test_a_healthy_torchrun_ends_with_its_own_code(job):
    done = job(TORCHRUN, HEALTHY)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("paths", "strict", "code", "verdict"),
    [
        ("checkpoints", "false", 0, "pass"),
        ("checkpoints\nsick.jsonl", "false", 1, "fail"),
        ("checkpoints", "true", 1, "fail"),
        ("no such file.log", "false", 2, "unjudged"),
    ],
)
def test_the_action_checks_annotates_and_tells_the_verdict(job, tmp_path, monkeypatch, paths, strict, code, verdict):
    step = ACTION["runs"]["steps"][1]
    (tmp_path / "sick.jsonl").write_text("\n".join(SICK), encoding="utf-8")
    warning = '[[gates]]\nmetric = "gain.worst.forward.norm"\nmax = 0.5\nseverity = "warning"\n'
    nan = '[[gates]]\nmetric = "spikes.count.nan"\nmax = 0\n'
    (tmp_path / "mhcdiag.toml").write_text(warning + nan, encoding="utf-8")
    given = {
        "PATHS": paths,
        "CONFIG": "",
        "BASELINE": "",
        "REPORTS": "junit.xml\n",
        "SUMMARY": "true",
        "STRICT": strict,
        "REQUIRE": "",
    }
    assert set(given) == set(step["env"])
    for name, value in {**given, "GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "outputs"}.items():
        monkeypatch.setenv(name, value)
    done = job(step["run"], HEALTHY)
    assert done.returncode == code, done.stdout + done.stderr
    assert "::" in done.stdout
    assert (tmp_path / "junit.xml").exists()
    assert (tmp_path / "summary.md").stat().st_size > 0
    assert f"verdict={verdict}" in (tmp_path / "outputs").read_text(encoding="utf-8")


def test_the_action_installs_with_the_tested_versions():
    assert "constraints.txt" in ACTION["runs"]["steps"][0]["run"]
    assert all(output["value"].startswith("${{ steps.check.outputs.") for output in ACTION["outputs"].values())


def test_the_policies_in_the_documents_are_some(tmp_path):
    of_health, whole = (
        re.search(r"^```toml\n(.*?)^```$", text_of(DOCS / page), re.MULTILINE | re.DOTALL)[1]
        for page in ("health.md", "policies.md")
    )
    path = tmp_path / "mhcdiag.toml"
    path.write_text(of_health, encoding="utf-8")
    assert [gate.metric for gate in read_policy(path).gates] == ["health.failed", "health.collapse.half_depth"]
    path.write_text(whole, encoding="utf-8")
    policy = read_policy(path)
    assert [gate.metric for gate in policy.gates][:2] == ["gain.worst.backward.norm", "gain.prefix.forward.amax.max"]
    assert policy.allow[0].steps == (12000, 12050)

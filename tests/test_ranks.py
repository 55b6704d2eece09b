"""Several processes that share one measurement, over gloo: the same output as one, and an end when one dies."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import mhcdiag
from mhcdiag.errors import ContainerError
from mhcdiag.ranks import Alone, _said_after, deal, joined_ranks
from mhcdiag.tensorfiles import open_checkpoint

SITES, STREAMS = 3, 2
SAMPLES = Path(__file__).parents[1] / "sample_checkpoints"
LENGTHS = (9001, 4099, 521)
"""Tokens per file: no file ends where a chunk of 4096 does."""


def write_files(folder: Path, lengths: tuple[int, ...], *, sites: int = SITES, streams: int = STREAMS) -> Path:
    """Captured mappings of one model in several files, each beginning two sequences."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    for i, tokens in enumerate(lengths):
        maps = {
            f"layers.{site}.h_res": torch.eye(streams)
            + 0.3 * torch.randn(tokens, streams, streams, generator=generator)
            for site in range(sites)
        }
        save_file(maps, folder / f"part{i}.safetensors", metadata={"first_tokens": "[0, 7]"})
    return folder


def start(rank: int, count: int, port: int, *command: str) -> subprocess.Popen[str]:
    """One process as torchrun would start it."""
    of_rank = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command], env=os.environ | of_rank | job,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_ranks(count: int, *command: str) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of every rank."""
    port = free_port()
    processes = [start(rank, count, port, *command) for rank in range(count)]
    ended = [process.communicate(timeout=240) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("captured"), LENGTHS)


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_ranks_prints_the_json_of_one_and_only_rank_0_prints(count: int, folder: Path):
    command = ("-m", "mhcdiag", "gain", str(folder), "--json")
    [(code, alone, _)] = run_ranks(1, *command)
    assert code == 0
    assert json.loads(alone)["results"][0]["tokens"] == sum(LENGTHS)
    first, *others = run_ranks(count, *command)
    assert first[:2] == (0, alone)
    assert [other[:2] for other in others] == [(0, "")] * (count - 1)


def test_histograms_of_two_ranks_add_up(tmp_path: Path):
    command = ("-m", "mhcdiag", "gain", str(write_files(tmp_path / "long", (65_000, 1000), sites=2)), "--json")
    [(_, alone, _)] = run_ranks(1, *command)
    assert run_ranks(2, *command)[0][:2] == (0, alone)


SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"


@pytest.mark.parametrize(
    "command",
    [
        ("gain", *(str(SAMPLES / f"{name}.safetensors") for name in ("hc", "mhc", "residual")), "--inputs", "static"),
        ("trend", str(SAMPLES / "runs" / "hc"), "--inputs", "static"),
        ("spikes", str(SAMPLES / "logs")),
    ],
    ids=lambda command: command[0],
)
def test_whole_checkpoints_and_logs_are_dealt_out(command: tuple[str, ...]):
    [(code, alone, said)] = run_ranks(1, "-m", "mhcdiag", *command, "--json")
    first, other = run_ranks(2, "-m", "mhcdiag", *command, "--json")
    assert first[:2] == (code, alone)
    assert other[:2] == (code, "")
    assert sorted((first[2] + other[2]).splitlines()) == sorted(said.splitlines())


def test_a_deal_keeps_the_order_of_the_items():
    assert deal([3, 1, 2], lambda mine: [-item for item in mine], Alone()) == [-3, -1, -2]


DIES = """
import os
from mhcdiag.ranks import joined_ranks
from mhcdiag.errors import RankError
try:
    with joined_ranks() as ranks:
        ranks.gather(1)
        if ranks.rank == 1:
            os._exit(9)
        ranks.gather(2)
except RankError as error:
    print(error)
"""


def test_a_rank_that_dies_ends_the_others_with_a_message():
    survivor, dead = run_ranks(2, "-c", DIES)
    assert dead[0] == 9
    assert survivor[1].startswith("rank 0 lost the others: ")


def test_a_broken_file_is_named_by_every_rank(tmp_path: Path):
    broken = write_files(tmp_path / "broken", (4096, 4096))
    path = broken / "part1.safetensors"
    path.write_bytes(path.read_bytes()[:-64])
    for code, _, message in run_ranks(2, "-m", "mhcdiag", "gain", str(broken)):
        assert code == 2
        assert "part1.safetensors" in message


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined_ranks() as ranks:
        assert ranks == Alone()
        assert ranks.gather(3) == [3]
        assert ranks.share(4) == 4


def test_tokens_of_a_directory_follow_one_another(folder: Path):
    joined = open_checkpoint(folder)
    parts = [open_checkpoint(path).read("layers.1.h_res") for path in sorted(folder.iterdir())]
    assert torch.equal(joined.read("layers.1.h_res"), torch.cat(parts))
    across = joined.read("layers.1.h_res", rows=slice(8999, 13_103))
    assert torch.equal(across, torch.cat(parts)[8999:13_103])
    assert json.loads(joined.metadata["first_tokens"]) == [0, 7, 9001, 9008, 13_100, 13_107]


@pytest.mark.parametrize(("sites", "streams", "found"), [(4, 2, "4 sites"), (3, 3, r"mappings of shape \[3, 3\]")])
def test_files_that_disagree_are_refused_by_name(sites: int, streams: int, found: str, tmp_path: Path):
    write_files(tmp_path, (5, 7))
    other = write_files(tmp_path / "other", (5,), sites=sites, streams=streams)
    (other / "part0.safetensors").rename(tmp_path / "zzz.safetensors")
    other.rmdir()
    with pytest.raises(ContainerError, match=rf"zzz.safetensors: .*{found}.*part0.safetensors.*one by one"):
        open_checkpoint(tmp_path)


def test_activations_of_fewer_tokens_do_not_shorten_the_mappings(tmp_path: Path):
    """As the captured format allows; their names come first in the file."""
    for name, tokens in (("a", 20), ("b", 15)):
        maps = {f"layers.{site}.h_res": torch.eye(2).repeat(tokens, 1, 1) for site in range(2)}
        maps["layers.1.h_res"][-1, 0, 0] = torch.nan if name == "b" else 1.0
        extra = {f"layers.{site}.branch": torch.ones(8, 5) for site in range(2)}
        save_file(maps | extra, tmp_path / f"{name}.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.tensors["layers.0.h_res"].shape == (35, 2, 2)
    assert checkpoint.read("layers.0.branch").shape == (8, 5)
    assert checkpoint.read("layers.1.h_res")[-1].isnan().any()
    assert [each.tensors for each in mhcdiag.gain(tmp_path).nonfinite] == [("layers.1.h_res",)]


def test_sites_of_different_tokens_are_refused(tmp_path: Path):
    for name in ("a", "b"):
        maps = {f"layers.{site}.h_res": torch.eye(2).repeat(9 - site, 1, 1) for site in range(2)}
        save_file(maps, tmp_path / f"{name}.safetensors")
    with pytest.raises(ContainerError, match=r"layers\.1\.h_res of \[8\] tokens, layers\.0\.h_res of \[9\]"):
        open_checkpoint(tmp_path)


def test_a_failed_gate_is_printed_and_drawn_before_any_rank_ends(tmp_path: Path):
    """torchrun ends the others as soon as one ends with anything but 0."""
    figure, sick = tmp_path / "gain.png", SAMPLES / "hc.safetensors"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "mhcdiag", "gain", str(sick), "--json", "--plot", str(figure)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["results"][0]["verdict"] == "fail"
    assert figure.exists()


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "junk"}, {"WORLD_SIZE": "1.5"}, {"WORLD_SIZE": "2"}], ids=str)
def test_variables_that_make_no_job_are_told(variables: dict[str, str]):
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MASTER_")}
    command = [sys.executable, "-m", "mhcdiag", "spikes", str(SAMPLES / "logs" / "spiky.jsonl")]
    ran = subprocess.run(command, env=outside | {"RANK": "0"} | variables, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)


def test_waiting_is_told(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with _said_after(0.01):
        time.sleep(0.5)
    assert "waiting for 2 processes" in capfd.readouterr().err
    with _said_after(0.5):
        pass
    time.sleep(0.6)
    assert capfd.readouterr().err == ""

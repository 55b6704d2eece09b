"""A monitored run on two ranks: one report of all tokens, and nobody left waiting."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import reference

SITES, STREAMS = 3, 2
SCRIPT = """
import json, os, sys
import torch
from torch import distributed
from mhcdiag import Monitor
from mhcdiag.errors import SettingError

distributed.init_process_group("gloo")
rank = distributed.get_rank()
maps = torch.load(sys.argv[1])
maps = maps[:, :5] if rank == 0 else maps[:, 5:]

def told(sites, maps, every=1):
    with Monitor(every=every, jsonl=sys.argv[2]) as monitor:
        for site, each in zip(sites, maps):
            monitor.observe(site, each)
        try:
            found = monitor.step()
        except SettingError as error:
            return str(error)
        return None if found is None else [found.tokens, found.forward, found.backward, found.forward_max]

def broken_on(which):
    broken = maps.clone()
    broken[1, 0, 0, 0] = torch.nan if rank == which else 0.0
    return broken

cases = {
    "all": told("abc", maps),
    "nan": told("abc", broken_on(0)) + told("abc", broken_on(1)),
    "idle": told("abc" if rank == 0 else "", maps),
    "both idle": told("", maps),
    "others": told("abc" if rank == 0 else "abd", maps),
    "uneven": told("abc", maps if rank == 0 else [maps[0], maps[1], maps[2][:2]]),
}
with open(sys.argv[2] + str(rank), "w") as file:
    json.dump(cases, file)
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, list[dict], list[dict], str]:
    folder = tmp_path_factory.mktemp("ranks")
    generator = torch.Generator().manual_seed(0)
    maps = torch.eye(STREAMS) + 0.3 * torch.randn(SITES, 12, STREAMS, STREAMS, generator=generator)
    torch.save(maps, folder / "maps.pt")
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(folder / "script.py"), str(folder / "maps.pt"), str(folder / "told")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    written = [json.loads(line) for line in Path(folder / "told").read_text().splitlines()]
    by_rank = [json.loads(Path(folder / f"told{rank}").read_text()) for rank in (0, 1)]
    return maps.double().numpy(), by_rank, written, done.stderr


def test_both_report_the_means_and_maxima_of_all_tokens(ran):
    maps, by_rank, written, _ = ran
    gain = reference(maps).gain
    kinds = ("single", "prefix", "suffix")
    expected = [12, *(max(max(gain[k, way, "norm", "mean"]) for k in kinds) for way in ("forward", "backward"))]
    expected.append(max(max(gain[k, "forward", "norm", "max"]) for k in kinds))
    assert by_rank[0]["all"] == by_rank[1]["all"] == pytest.approx(expected, rel=1e-6)
    assert len(written) == 3  # "all" and twice "nan", by rank 0 alone


def test_a_nan_of_one_rank_is_in_every_number_of_both(ran):
    for each in ran[1]:
        first, second = each["nan"][1:4], each["nan"][5:8]
        assert np.isnan([*first, *second]).all()


def test_where_one_ran_no_site_none_reports_and_it_is_said(ran):
    assert [each["idle"] for each in ran[1]] == [None, None]
    assert [each["both idle"] for each in ran[1]] == [None, None]
    assert ran[3].count("no report of gains, since a rank ran no site") == 2


def test_both_refuse_what_one_cannot_compose(ran):
    assert all("ranks ran different sites" in each["others"] for each in ran[1])
    first, second = (each["uneven"] for each in ran[1])
    assert "of another rank cannot be composed" in first
    assert "expected the same tokens and streams at all" in second

"""The folder of one run: what is written when, and what a resumed run finds.

config.json               topology and sizes, as the layout `toy` reads them
settings.json             everything the run depends on
train.jsonl               one line per step
step_000200.safetensors   parameters after that step, one tensor per site and role
captured/step_000200.safetensors   mappings on the held-out batch, in the format of captured mappings
resume.safetensors        parameters and optimiser state of the newest checkpoint
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mhcdiag.errors import InputError, OutputError, SettingError
from mhcdiag.layouts.checks import TOY_METADATA, TOY_TYPE
from mhcdiag.results.toy import StepRow
from mhcdiag.toy.model import CONNECTION, Parameters, SiteRecord
from mhcdiag.toy.settings import ToySettings, differing
from mhcdiag.toy.topologies import topology_for

LOG = "train.jsonl"
SETTINGS = "settings.json"
CONFIG = "config.json"
RESUME = "resume.safetensors"
CAPTURED = "captured"
VOCABULARY_KEY, SETTINGS_KEY = "vocabulary", "mhcdiag_toy_settings"
"""In the metadata of a checkpoint: the characters by number, and what the run depends on, so that it can be run on any
text."""
DETAILED_TOKENS = 8
"""Tokens for which a captured file also holds what entered and left each site."""


def checkpoint_name(step: int) -> str:
    """File name of the checkpoint after a step."""
    return f"step_{step:06d}.safetensors"


def prepare(folder: Path, settings: ToySettings, *, force: bool, resume: bool) -> None:
    """Make the folder of a run.

    Parameters
    ----------
    folder
        Where the run writes.
    settings
        Of the run.
    force
        Remove what an earlier run left there.
    resume
        Keep it; it must be of the same run.

    Raises
    ------
    OutputError
        The folder holds something else, or cannot be written.
    SettingError
        The run to resume has other settings.
    """
    if resume and (folder / SETTINGS).exists():
        _refuse_other_run(folder, settings)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not force:
            raise OutputError(f"{folder}: exists already; --force replaces it, --resume continues the run in it")
        _remove_run(folder)
    try:
        (folder / CAPTURED).mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(json.dumps(settings.as_json(), indent=2) + "\n")
        (folder / CONFIG).write_text(json.dumps(config_of(settings), indent=2) + "\n")
        (folder / LOG).write_text("")
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}") from error


def config_of(settings: ToySettings) -> dict[str, Any]:
    """What a reader of the checkpoints must know."""
    topology = topology_for(settings)
    config: dict[str, Any] = {
        "model_type": TOY_TYPE,
        "topology": topology.name,
        "num_hidden_layers": settings.depth,
        "hidden_size": settings.width,
    }
    if settings.topology != "residual":
        config["streams"] = topology.streams(settings)
    if settings.topology == "mhc":
        config["sinkhorn_iters"] = settings.sinkhorn_iters
    return config


def named_tensors(parameters: Parameters) -> dict[str, Tensor]:
    """Stacked parameters as one tensor per block or site: `blocks.3.attn.hc.b_res`, `blocks.3.ffn.up`, `embedding`."""
    found: dict[str, Tensor] = {}
    for name, stacked in parameters.items():
        values = stacked.detach().cpu()
        kind, _, role = name.partition(".")
        if name.startswith(CONNECTION):
            for site, value in enumerate(values):
                found[f"blocks.{site // 2}.{('attn', 'ffn')[site % 2]}.{name}"] = value.contiguous()
        elif role:
            found |= {f"blocks.{block}.{kind}.{role}": value.contiguous() for block, value in enumerate(values)}
        else:
            found[name] = values.contiguous()
    return found


def write_checkpoint(
    folder: Path, settings: ToySettings, step: int, parameters: Parameters, *, vocabulary: str | None = None
) -> None:
    """Write the parameters after a step, and the characters by number where they are given."""
    metadata = {TOY_METADATA: json.dumps(config_of(settings)), "step": str(step)}
    metadata[SETTINGS_KEY] = json.dumps(settings.as_json())
    metadata |= {} if vocabulary is None else {VOCABULARY_KEY: vocabulary}
    _save(named_tensors(parameters), folder / checkpoint_name(step), metadata)


def write_captured(folder: Path, settings: ToySettings, step: int, record: list[SiteRecord]) -> None:
    """Write the mappings of the held-out batch; nothing where streams are not mixed."""
    tensors: dict[str, Tensor] = {}
    for site, passed in enumerate(record):
        if passed.maps is None or passed.maps.res is None:
            return
        details = {"x_in": passed.before, "x_out": passed.after, "branch": passed.branch, "post": passed.maps.post}
        tensors[f"layers.{site}.h_res"] = passed.maps.res.cpu().contiguous()
        tensors |= {
            f"layers.{site}.{name}": t[:DETAILED_TOKENS].cpu().contiguous().clone() for name, t in details.items()
        }
    starts = list(range(0, settings.batch * settings.context, settings.context))
    _save(tensors, folder / CAPTURED / checkpoint_name(step), {"first_tokens": json.dumps(starts), "step": str(step)})


def append_row(folder: Path, row: StepRow) -> None:
    """Add one line to the log."""
    with (folder / LOG).open("a") as log:
        log.write(json.dumps(row.as_json()) + "\n")


def read_rows(folder: Path) -> list[StepRow]:
    """The steps logged so far; a line cut off by a crash is left out."""
    rows = []
    for line in (folder / LOG).read_text().splitlines():
        try:
            rows.append(StepRow(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return rows


def write_state(folder: Path, step: int, parameters: Parameters, optimiser: torch.optim.Optimizer) -> None:
    """Write what a resumed run needs, under a temporary name first."""
    tensors = {f"parameters.{name}": value.detach().cpu() for name, value in parameters.items()}
    for name, value in parameters.items():
        for moment, numbers in optimiser.state[value].items():
            tensors[f"{moment}.{name}"] = numbers.detach().cpu()
    temporary = folder / f".{RESUME}"
    _save(tensors, temporary, {"step": str(step)})
    temporary.replace(folder / RESUME)


def read_state(folder: Path) -> tuple[int, dict[str, Tensor]] | None:
    """Step and tensors of `write_state`; None where no checkpoint was reached."""
    from safetensors import SafetensorError, safe_open

    if not (folder / RESUME).exists():
        return None
    try:
        with safe_open(folder / RESUME, framework="pt") as file:
            return int(file.metadata()["step"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(folder / RESUME, found=f"no state of a run ({error})", expected="an intact file") from error


def keep_rows(folder: Path, upto: int) -> list[StepRow]:
    """Cut the log behind a step, and return what is left."""
    rows = [row for row in read_rows(folder) if row.step <= upto]
    (folder / LOG).write_text("".join(json.dumps(row.as_json()) + "\n" for row in rows))
    return rows


def stored_settings(folder: Path) -> ToySettings:
    """Return the settings of the run in a folder.

    Raises
    ------
    InputError
        There is no run.
    """
    try:
        return ToySettings.from_json(json.loads((folder / SETTINGS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            folder / SETTINGS, found=f"no settings of a run ({error})", expected="a run's folder"
        ) from error


def _refuse_other_run(folder: Path, settings: ToySettings) -> None:
    different = differing(stored_settings(folder), settings)
    if different:
        raise SettingError(
            f"{folder}: the run there has other settings ({', '.join(different)}); --force starts it anew"
        )


def _remove_run(folder: Path) -> None:
    """Remove what a run writes and nothing else."""
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file; expected a folder")
    for name in (LOG, SETTINGS, CONFIG, RESUME):
        (folder / name).unlink(missing_ok=True)
    for file in folder.glob("step_*.safetensors"):
        file.unlink()
    shutil.rmtree(folder / CAPTURED, ignore_errors=True)


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata=metadata)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error

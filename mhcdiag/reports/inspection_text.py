"""The reports of `mhcdiag inspect` and `mhcdiag layouts`, as text and JSON, and the tables of the documents."""

import json
from collections.abc import Sequence

from mhcdiag.reports.text import in_bytes, printable, wrapped
from mhcdiag.results.inspection import EVIDENCE_WORDS, Catalogue, Evidence, InspectedTensor, Inspection, Trial

SHOWN = 12
"""Tensors shown in each group without `--verbose`."""


def inspection_text(inspection: Inspection, *, details: bool = False) -> str:
    """What stands in one checkpoint, line by line.

    Parameters
    ----------
    details
        List every mixing tensor.
    """
    lines = [inspection.path, *_file_facts(inspection), *_recognised(inspection)]
    groups = {
        "tensors of sites": [each for each in inspection.mixers if each.use not in ("excluded", "not used")],
        "excluded by design": [each for each in inspection.mixers if each.use == "excluded"],
        "look like a mixer and are not used": [each for each in inspection.mixers if each.use == "not used"],
    }
    for title, tensors in groups.items():
        if tensors:
            lines += [f"  {title}: {len(tensors)}", *_listed(tensors, details=details)]
    return "\n".join(printable(line) for line in lines) + "\n"


def inspection_json(inspections: Sequence[Inspection]) -> str:
    """All inspections as one JSON document."""
    return json.dumps({"format_version": 1, "results": [_record(each) for each in inspections]}, indent=2) + "\n"


def _file_facts(inspection: Inspection) -> list[str]:
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in inspection.dtypes.items())
    config = "; ".join(inspection.config_keys) or "says nothing of mixing"
    return [
        f"  container  {inspection.container.replace('`', '')}, {in_bytes(inspection.bytes_total)}",
        f"  tensors    {inspection.tensors} with {inspection.parameters:,} elements: {dtypes}",
        f"  config     {config if inspection.has_config else 'none'}",
        f"  read       {in_bytes(inspection.bytes_read)}",
    ]


def _recognised(inspection: Inspection) -> list[str]:
    lines = []
    if inspection.layout:
        model = f" ({inspection.model})" if inspection.model and inspection.model != inspection.layout else ""
        ends = f", {inspection.sites[0]} to {inspection.sites[-1]}" if inspection.sites else ""
        lines.append(f"  layout     {inspection.layout}{model}: {len(inspection.sites)} sites{ends}")
        lines.append(f"  mixing     {inspection.mixing.replace('`', '')}")
    else:
        lines.append(f"  layout     not recognised: {inspection.reason}")
    lines += [f"  tried      {trial.layout}: {trial.reason or 'fits'}" for trial in _worth_telling(inspection)]
    return lines + [f"  assumed    {what}" for what in inspection.assumed]


def _worth_telling(inspection: Inspection) -> list[Trial]:
    return [trial for trial in inspection.trials if trial.reason or not inspection.layout]


def _listed(tensors: Sequence[InspectedTensor], *, details: bool) -> list[str]:
    shown = tensors if details else tensors[:SHOWN]
    width = max(len(each.name) for each in shown)
    lines = [f"    {each.name:{width}}  {each.dtype:4} {list(each.shape)!s}  {each.use}" for each in shown]
    more = len(tensors) - len(shown)
    return lines + ([f"    and {more} more (--verbose)"] if more else [])


def _record(inspection: Inspection) -> dict[str, object]:
    return {
        "path": inspection.path,
        "container": inspection.container,
        "bytes_total": inspection.bytes_total,
        "bytes_read": inspection.bytes_read,
        "tensors": inspection.tensors,
        "parameters": inspection.parameters,
        "dtypes": dict(inspection.dtypes),
        "config": list(inspection.config_keys) if inspection.has_config else None,
        "layout": inspection.layout or None,
        "mixing": inspection.mixing or None,
        "model": inspection.model,
        "sites": list(inspection.sites),
        "assumed": list(inspection.assumed),
        "tried": [
            {"layout": trial.layout, "fits": not trial.reason, "reason": trial.reason} for trial in inspection.trials
        ],
        "mixers": [
            {"name": each.name, "dtype": each.dtype, "shape": list(each.shape), "use": each.use}
            for each in inspection.mixers
        ],
        "reason": inspection.reason,
    }


def catalogue_text(catalogue: Catalogue, *, width: int) -> str:
    """Layouts with tensors, mixing, source and status, then containers.

    Parameters
    ----------
    width
        Columns of the terminal.
    """
    lines = []
    for layout in catalogue.layouts:
        lines.append(f"{layout.name}  [{layout.evidence}]")
        for word, text in (("tensors", layout.tensors), ("mixing", layout.mixing), ("source", layout.source)):
            lines += wrapped(f"  {word:9}", text.replace("`", ""), width, indent=11)
    lines += ["", "status:"]
    lines += [f"  {evidence:11} {EVIDENCE_WORDS[evidence]}" for evidence in Evidence]
    lines += ["", "containers:"]
    for container in catalogue.containers:
        lines += wrapped(f"  {container.title.replace('`', '')}: ", container.looks.replace("`", ""), width, indent=4)
    return "\n".join(lines) + "\n"


def catalogue_json(catalogue: Catalogue) -> str:
    """The same as one JSON document."""
    document = {
        "format_version": 1,
        "layouts": [
            {
                "name": each.name,
                "tensors": each.tensors,
                "mixing": each.mixing,
                "source": each.source,
                "status": str(each.evidence),
            }
            for each in catalogue.layouts
        ],
        "containers": [{"title": each.title, "looks": each.looks} for each in catalogue.containers],
    }
    return json.dumps(document, indent=2) + "\n"


def layouts_table(catalogue: Catalogue) -> str:
    """The layouts as the rows of a Markdown table."""
    return "".join(
        f"| `{each.name}` | {each.tensors} | {each.mixing} | {each.evidence} |\n" for each in catalogue.layouts
    )


def containers_table(catalogue: Catalogue) -> str:
    """The containers as the rows of a Markdown table."""
    return "".join(f"| {each.title} | {each.looks} |\n" for each in catalogue.containers)

"""The report of `mhcdiag layouts`: what can be read, as text, JSON and Markdown tables."""

import json

from mhcdiag.reports.text import wrapped
from mhcdiag.results.catalogue import EVIDENCE_WORDS, Catalogue, Evidence


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

"""What a report format of `mhcdiag check` is, and the rules that each obeys.

A new format is one file here and one entry in `REPORT_FORMATS` (`__init__.py`). `--format`, `-o`, their help and error
messages, and the table in docs/policies.md follow from the entry; `python tests/document_blocks.py` writes the table
again.

Each file holds the function that makes the text and, below it, one `ReportFormat`. The function

* is pure: it takes the record of the whole check and returns text that ends in a newline; equal records give equal
  text;
* names the gate that decided, with value against limit in as many digits as tell them apart, or the input that could
  not be read; the words come from `mhcdiag.reports.check_words`, so that no two formats say it differently;
* never lets a check that did not pass look like one that did, even where its consumer knows only pass and failure;
* lets no character through that means something to its consumer: file names and logs are not ours;
* runs with the few packages that an installation for logs has; what it needs beyond them is imported inside the
  function and named in `needs`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from mhcdiag.results.check import CheckReport


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFormat:
    """One way to write the outcome of a check into a file."""

    name: str
    """Its word after `--format`, and before the colon in `-o FORMAT:FILE`."""
    suffixes: tuple[str, ...]
    """Ends of file names, in lower case, that `-o FILE` takes for this format; the first is the usual one. Empty where
    none belongs to it alone."""
    about: str
    """Who reads it, and what is in it: its cell in the README's table, in Markdown."""
    render: Callable[[CheckReport], str]
    """Makes the text."""
    suffix_note: str = ""
    """What the help says behind a suffix that other kinds of file have as well."""
    needs: tuple[str, ...] = ()
    """Packages that an installation for logs only may lack (README, "Without torch")."""

    def require(self) -> None:
        """Import what `render` needs, so that a missing package is told before hours of work and not after them.

        Raises
        ------
        ModuleNotFoundError
            A package is missing; the command line says which, and how to install it.
        """
        for package in self.needs:
            import_module(package)

"""Short names of inputs: a page full of long paths tells them apart worse."""

from pathlib import PurePosixPath

from mhcdiag.results.check import CheckReport


def short_names(report: CheckReport) -> dict[str, str]:
    """Name by path: the path without the folders that all inputs share, or its last component where it is alone."""
    paths = list(dict.fromkeys(one.path for one in report.inputs))
    parts = {path: PurePosixPath(path).parts or (path,) for path in paths}
    shared = min((len(each) for each in parts.values()), default=1) - 1
    while any(each[:shared] != parts[paths[0]][:shared] for each in parts.values()):
        shared -= 1
    return {path: "/".join(each[shared:]) if shared else path for path, each in parts.items()}

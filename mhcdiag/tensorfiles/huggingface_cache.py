"""A model's folder in the cache of Hugging Face: `models--owner--name` with `blobs`, `refs`, `snapshots`.

A snapshot is a directory of links to blobs and needs nothing special; this finds the snapshot.
"""

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.local_file import LocalFile
from mhcdiag.tensorfiles.places import Place, look
from mhcdiag.tensorfiles.shards import listed


def main_snapshot(place: Place) -> Place:
    """The snapshot of a model's folder: the only one, or that of the branch `main`.

    Anything else is returned as it is.

    Raises
    ------
    ContainerError
        No snapshot, or several of which none is `main`.
    """
    if not {"blobs", "snapshots"} <= set(place.names):
        return place
    snapshots = look(place.beside("snapshots"))
    if len(snapshots.names) == 1:
        return look(snapshots.beside(snapshots.names[0]))
    revision = _main_revision(place)
    if revision not in snapshots.names:
        raise ContainerError(
            place.path,
            found=f"{len(snapshots.names)} snapshots: {listed(snapshots.names) or 'none'}",
            expected="one, or a branch main that names one",
            hint="pass the path of a snapshot",
        )
    return look(snapshots.beside(revision))


def _main_revision(place: Place) -> str:
    if "refs" not in place.names or "main" not in look(place.beside("refs")).names:
        return ""
    reference = LocalFile(place.beside("refs/main"))
    return reference.read(0, min(reference.size, 100)).decode("ascii", "replace").strip()

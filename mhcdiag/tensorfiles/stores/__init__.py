"""The stores where the bytes of a checkpoint lie: this machine, web servers, the Hugging Face Hub; one file a store."""

from mhcdiag.tensorfiles.stores.hub import HUB
from mhcdiag.tensorfiles.stores.interface import Store
from mhcdiag.tensorfiles.stores.local import LOCAL
from mhcdiag.tensorfiles.stores.web import WEB

STORES: tuple[Store, ...] = (WEB, HUB, LOCAL)
"""All stores; the first that recognises a path holds it. `LOCAL` recognises every path, and stands last."""

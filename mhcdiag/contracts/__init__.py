"""Results as JSON documents: the keys that scripts, policies and baselines rely on.

A result becomes a tree of dicts, lists, strings and numbers here; reports write that tree, metrics read their numbers
out of it, whether it was measured now or comes from a baseline. The schemas of whole reports stand beside it.
"""

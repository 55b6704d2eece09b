"""From a model on disk and a text to a file of captured mappings."""

"""Models that run on a text here: which tokens they get, how they are loaded, and the mappings that they form."""

"""Forward passes of running models: every call of every site in order, and the stacks of residual streams they form."""

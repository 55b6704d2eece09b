"""Results to matplotlib figures; functions return a Figure and touch no global state, so notebooks can use them."""

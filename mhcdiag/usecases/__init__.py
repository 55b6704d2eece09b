"""What the tool does, one use case a file, each named as its command: `mhcdiag.gain` is `usecases/gain.py`."""

"""`python -m mhcdiag`: the same as the console script."""

from mhcdiag.cli import main

if __name__ == "__main__":
    main()

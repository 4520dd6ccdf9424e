"""`python -m orionfs`: the same as the command `orionfs`; the daemon is started this way."""

from __future__ import annotations

from orionfs.cli.main import main

if __name__ == "__main__":
    main()

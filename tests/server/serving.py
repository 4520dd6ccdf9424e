"""A server of its own, told by one JSON argument what `ServeOptions` can be told; prints where it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orionfs.server import ServeError, ServeOptions, serve

PATHS = ("data", "token_file", "access_log", "faults", "import_dir", "users")

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    options |= {name: Path(options[name]) for name in PATHS if options.get(name) is not None}
    try:
        serve(ServeOptions(ready=lambda url: print(url, flush=True), **options))
    except ServeError as error:
        sys.exit(f"ServeError: {error}")

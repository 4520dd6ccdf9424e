"""A process that tells about itself, or ends as it is told; run by path."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path


def main(told: str) -> None:
    """Do what is told, else look around."""
    if told == "raise":
        raise RuntimeError("as told")
    if told == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if told.startswith("exit"):
        sys.exit(int(told.split()[1]))
    if told != "nothing":
        json.dump(_look(), sys.stdout)


def _look() -> dict[str, object]:
    own = [int(name) for name in os.listdir("/proc/self/fd")]
    umask = os.umask(0)
    status = Path("/proc/self/status").read_text()
    signals = [line for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    return {
        "arguments": sys.argv,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "umask": umask,
        "signals": signals,
        "leads_a_session": os.getsid(0) == os.getpid(),
        "stdin": "" if sys.stdin.isatty() else sys.stdin.read(),
        "streams": [
            [each.encoding, each.errors, each.line_buffering] for each in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "kept": [fd for fd in own if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")],
        "warnings": [each[0] for each in warnings.filters[:2]],
        "name": __name__,
        "main": sys.modules["__main__"].__file__,
        "is_our_child": os.getppid() == int(os.environ.get("PYTEST_PID", os.getppid())),
        "is_forked": "tests.forkserver" in sys.modules or "orionfs.daemon" in sys.modules,
    }


if __name__ == "__main__":
    main(sys.argv[1])

"""What the stand-in does wrong, by name of a call."""

import json
import os
import sys
import time
from pathlib import Path

FOLDER = Path.home() / ".standin"


def fault_of(call: str) -> str:
    """The fault of a call, or nothing."""
    try:
        text = (FOLDER / "faults.json").read_text()
    except FileNotFoundError:
        return ""
    return str(json.loads(text).get(call, ""))


def misbehave(call: str) -> None:
    """Do what is to be done before a call."""
    fault = fault_of(call)
    if fault == "hang":
        time.sleep(3600)
    elif fault == "crash":
        os._exit(17)
    elif fault == "retry":
        _retry_for_an_hour()
    elif fault == "print":
        print(f"stand-in: {call}")
        os.write(1, b"stand-in: \x00\xff binary, at the level of C\n")
    elif fault == "garbage":
        os.write(int(sys.argv[sys.argv.index("--fd") + 1]), b"HTTP/1.1 200 OK\r\n\r\n")


def _retry_for_an_hour() -> None:
    ends_at = time.monotonic() + 3600
    while time.monotonic() < ends_at:
        try:
            raise ConnectionError("again")
        except ConnectionError:
            time.sleep(0.2)

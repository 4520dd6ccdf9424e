"""Waiting until a mount has brought everything to Orion, and saying what it has not.

Used by the commands that end a mount. What the daemon has not said is not known to be done: one that
hangs, dies or talks nonsense leaves changes behind, whose bytes are kept on this machine.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from orionfs.cli.terminal import counted, printable
from orionfs.errors import ExitStatus

FAILED_SHOWN = 5
# The limit may come down while we wait, so it is looked at so often.
_LOOK_EVERY_S = 0.5


@dataclass(slots=True)
class Drained:
    """What the daemon said of the changes it had to bring to Orion."""

    is_done: bool = False
    pending: int | None = None  # None: it said nothing
    failed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()  # what Orion would not remove
    kept_in: str | None = None  # the folder on this machine that holds what is left

    @property
    def is_all_uploaded(self) -> bool:
        """Whether Orion has everything."""
        return self.is_done and not (self.pending or self.failed or self.refused)

    @property
    def is_all_kept(self) -> bool:
        """Whether all that is missing is what Orion would not remove: nothing waits on this machine."""
        return self.is_done and not (self.pending or self.failed)


def drain(
    connection: socket.socket,
    left_s: Callable[[], float],
    show: Callable[[int | None, int | None], None],
    **asked: float,
) -> Drained:
    """Ask the daemon to bring everything to Orion; what it said last counts.

    `left_s` tells how long that may still take, in seconds; it is asked again and again. `show` gets
    items and bytes left. `asked` is said to the daemon as well: `offline_s`, how long it may take where Orion
    does not answer, or another `timeout_s`.
    """
    drained = Drained()
    request = {"command": "drain", "timeout_s": max(0.0, left_s()), **asked}
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        for answer in _answers_while(connection, left_s):
            drained.pending = answer.get("pending", drained.pending)
            drained.failed = tuple(str(name) for name in answer.get("failed", drained.failed))
            drained.refused = tuple(str(name) for name in answer.get("refused", drained.refused))
            drained.kept_in = answer.get("kept_in", drained.kept_in)
            drained.is_done = bool(answer.get("done"))
            if drained.is_done:
                break
            show(drained.pending, answer.get("bytes"))
    except (OSError, ValueError):
        return drained
    return drained


def _answers_while(connection: socket.socket, left_s: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """The JSON objects that come in, one a line, while there is time left. Raises OSError and ValueError."""
    received = b""
    connection.settimeout(_LOOK_EVERY_S)
    while left_s() > 0:
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            continue
        if not piece:
            return
        *lines, received = (received + piece).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("the daemon's answer is not an object")
            yield answer


def tell_failed(drained: Drained) -> None:
    """Name what could not be uploaded, and what Orion would not remove."""
    for what, names in (("uploaded", drained.failed), ("removed", drained.refused)):
        for name in names[:FAILED_SHOWN]:
            click.echo(f"  not {what}: {printable(name)}", err=True)
        more = len(names) - FAILED_SHOWN
        if more > 0:
            click.echo(f"  and {more} more", err=True)


def tell_left(drained: Drained, what_next: str) -> ExitStatus:
    """Say what is not on Orion as it should be, and what becomes of it; the exit status."""
    tell_failed(drained)
    if drained.is_all_kept:
        words = (
            f"{counted(len(drained.refused), 'removal')} Orion has refused; what was removed is there again"
        )
    else:
        words = f"{left_over(drained)} could not be uploaded; nothing is lost: {what_next}"
    click.echo(f"orionfs: {printable(words)}", err=True)
    return ExitStatus.NOT_UPLOADED


def left_over(drained: Drained) -> str:
    """What is left, in words: "2 changes"."""
    return "an unknown number of changes" if drained.pending is None else counted(drained.pending, "change")


def deadline_in(limit_s: float) -> Callable[[], float]:
    """How many seconds are left of so many from now."""
    ends_at = time.monotonic() + limit_s
    return lambda: ends_at - time.monotonic()

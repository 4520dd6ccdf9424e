"""How a mount is left: what is brought to Orion before it goes, and for how long somebody waits for that.

Who unmounts asks first, on the control socket, and says how patient he is; a signal gives the usual time.
A network that is gone must not keep anybody: then the rest is the next mount's. Decides nothing about an
upload itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import trio

from orionfs.daemon.layers import Layers
from orionfs.daemon.sending import look
from orionfs.errors import OrionFsError
from orionfs.orion.remote import Health
from orionfs.outgoing.upload import UploadState

DRAIN_LIMIT_S = 60.0
_PROGRESS_EVERY_S = 1.0
_ANSWER_LIMIT_S = 2.0  # a guess: what takes longer to say who we are is gone, unless bytes go on leaving
_ANSWER_LEAST_S = 1.0
_SEAL_AT_FIRST_S = 0.5
_SEAL_AT_LAST_S = 4.0


@dataclass(slots=True)
class Patience:
    """How long (s) the daemon may go on with uploads once nothing is mounted any more."""

    limit_s: float = DRAIN_LIMIT_S


@dataclass(slots=True)
class _Line:
    """What is known of the way to Orion since somebody has begun to wait."""

    left: tuple[int, int]  # changes and bytes
    is_checked: bool = False
    is_gone: bool = False

    def note(self, left: tuple[int, int]) -> None:
        """What goes on leaving has somewhere to go."""
        if left < self.left or left[1] < self.left[1]:
            self.is_gone = False
        self.left = left


async def drain(layers: Layers, request: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any], None]:
    """Bring all that is pending to Orion, and tell how far that is, once a second at least.

    `timeout_s` is how long that may take; `offline_s`, if it is given, is how long where Orion does not
    answer, which is then found out.
    """
    sync = layers.sync
    begun_s = trio.current_time()
    ends_at_s = begun_s + float(request.get("timeout_s", DRAIN_LIMIT_S))
    hopes_until_s = begun_s + float(request["offline_s"]) if "offline_s" in request else -inf
    # What is being closed meanwhile holds on to its file for as long as its upload takes. Who ends the mount
    # can't do so while a file is open, so nothing depends on these.
    with trio.move_on_at(max(ends_at_s if hopes_until_s == -inf else -inf, begun_s + _SEAL_AT_FIRST_S)):
        await layers.files.seal_all()
    sync.hurry()
    line = _Line(_left(layers))
    while sync.pending_count and trio.current_time() < ends_at_s:
        seen = sync.steps.count
        line.note(_left(layers))
        is_offline = line.is_gone or layers.remote.health is Health.OFFLINE
        is_hoped_for = is_offline and trio.current_time() < hopes_until_s
        if not is_hoped_for and (line.is_gone or sync.is_stuck):
            break
        yield {"pending": line.left[0], "bytes": line.left[1], "is_offline": is_offline}
        end_s = min(ends_at_s, hopes_until_s) if is_hoped_for else ends_at_s
        await sync.steps.wait(min(_PROGRESS_EVERY_S, max(0.0, end_s - trio.current_time())), seen)
        if hopes_until_s > -inf and not line.is_checked and sync.pending_count:
            line.is_checked = True
            left_s = min(ends_at_s, hopes_until_s) - trio.current_time()
            line.is_gone = not await _answers(layers, min(_ANSWER_LIMIT_S, max(_ANSWER_LEAST_S, left_s)))
    yield {"done": True, **_outcome(layers)}


async def promise_all(layers: Layers, limit_s: float) -> None:
    """Nothing is mounted any more: promise what was written to files that were not closed."""
    with trio.move_on_after(max(limit_s, _SEAL_AT_LAST_S)):
        await layers.files.seal_all()


async def end_within(layers: Layers, limit_s: float) -> bool:
    """All is promised: bring it to Orion. False if some stays for the next mount."""
    layers.sync.holding.end(is_last=True)
    return await layers.sync.drain(limit_s)


async def _answers(layers: Layers, limit_s: float) -> bool:
    """Whether Orion says who we are, in time."""
    with trio.move_on_after(limit_s):
        try:
            await layers.remote.whoami(layers.account.stack)
        except OrionFsError:
            return layers.remote.health is Health.ONLINE
        return True
    return False


def _left(layers: Layers) -> tuple[int, int]:
    return layers.sync.pending_count, look(layers).bytes_left


def _outcome(layers: Layers) -> Mapping[str, Any]:
    sync = layers.sync
    refused, sync.removals.refused = sync.removals.refused, []  # somebody hears of them
    return {
        "pending": sync.pending_count,
        "failed": [upload.row.path for upload in sync.pending if upload.state is UploadState.FAILED],
        "refused": refused,
        "kept_in": str(layers.staging.parent),
    }

"""What the control socket of a mount can be asked for: `drain`, `status`, `refresh`, `remove`, `stop`.

Each order decodes a request, calls a layer and tells how far it is; what it means is the layer's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import trio

from orionfs import control
from orionfs.config import MountConfig
from orionfs.daemon.endings import end
from orionfs.daemon.layers import Layers
from orionfs.daemon.locating import locating_orders
from orionfs.daemon.status import status_of
from orionfs.errors import OrionFsError
from orionfs.remote import Health
from orionfs.upload import UploadState

DRAIN_LIMIT_S = 60.0
_PROGRESS_EVERY_S = 1.0
_TELLING_LIMIT_S = 10.0


def orders(config: MountConfig, layers: Layers) -> Mapping[str, control.Command]:
    """The orders by the name that a request gives in `command`."""
    sync = layers.sync

    async def drain(request: Mapping[str, Any]) -> control.Answers:
        await layers.files.seal_all()
        ends_at_s = trio.current_time() + float(request.get("timeout_s", DRAIN_LIMIT_S))
        sync.hurry()
        while sync.pending_count and trio.current_time() < ends_at_s and not sync.is_stuck:
            yield {"pending": sync.pending_count}
            await sync.steps.wait(min(_PROGRESS_EVERY_S, ends_at_s - trio.current_time()))
        failed = [upload.row.path for upload in sync.pending if upload.state is UploadState.FAILED]
        kept_in = str(layers.staging.parent)
        refused, sync.removals.refused = sync.removals.refused, []  # somebody hears of them
        rest = {"pending": sync.pending_count, "failed": failed, "refused": refused, "kept_in": kept_in}
        yield {"done": True, **rest}

    async def status(_request: Mapping[str, Any]) -> control.Answers:
        yield status_of(config, layers)

    async def refresh(request: Mapping[str, Any]) -> control.Answers:
        refreshed = layers.refresher.start(str(request.get("path", "/")))
        while not refreshed.done.is_set():
            yield {"folders": refreshed.folders, "left": refreshed.left}
            with trio.move_on_after(_PROGRESS_EVERY_S):
                await refreshed.done.wait()
        await layers.kernel.settled(_TELLING_LIMIT_S)
        yield {
            "done": True,
            "folders": refreshed.folders,
            **refreshed.names,
            "failed": [str(error) for error in refreshed.failed],
            "is_offline": layers.remote.health is Health.OFFLINE,
        }

    async def remove(request: Mapping[str, Any]) -> control.Answers:
        try:
            kind = await layers.removing.remove(str(request.get("path", "/")))
        except OrionFsError as error:
            yield {"done": True, "error": str(error) or os.strerror(error.errno)}
            return
        await layers.kernel.settled(_TELLING_LIMIT_S)
        yield {"done": True, "kind": kind.value}

    async def stop(_request: Mapping[str, Any]) -> control.Answers:
        await end(layers)
        yield {"done": True}

    own = {"drain": drain, "status": status, "refresh": refresh, "remove": remove, "stop": stop}
    return {**own, **locating_orders(layers)}

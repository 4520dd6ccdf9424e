"""What the control socket of a mount can be asked for: to drain, to leave, how it is, to refresh and so on.

Each order decodes a request, calls a layer and tells how far it is; what it means is the layer's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import trio

from orionfs.config import MountConfig
from orionfs.daemon import control, leaving
from orionfs.daemon.endings import end
from orionfs.daemon.layers import Layers
from orionfs.daemon.locating import locating_orders
from orionfs.daemon.status import Beginning, status_of
from orionfs.errors import OrionFsError
from orionfs.orion.remote import Health

_PROGRESS_EVERY_S = 1.0
_TELLING_LIMIT_S = 10.0


def orders(config: MountConfig, layers: Layers, patience: leaving.Patience) -> Mapping[str, control.Command]:
    """The orders by the name that a request gives in `command`; `patience` is what `leave` sets."""
    beginning = Beginning()

    async def drain(request: Mapping[str, Any]) -> control.Answers:
        async with aclosing(leaving.drain(layers, request)) as answers:
            async for answer in answers:
                yield answer

    async def leave(request: Mapping[str, Any]) -> control.Answers:
        patience.limit_s = float(request.get("timeout_s", 0.0))
        yield {"done": True}

    async def status(_request: Mapping[str, Any]) -> control.Answers:
        yield status_of(config, layers, beginning)

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
        path = str(request.get("path", "/"))
        try:
            kind = await layers.removing.remove(path)
        except OrionFsError as error:
            # Errors that say it all name the path alone.
            reason = os.strerror(error.errno) if str(error) in ("", path) else str(error)
            yield {"done": True, "error": reason}
            return
        await layers.kernel.settled(_TELLING_LIMIT_S)
        yield {"done": True, "kind": kind.value}

    async def stop(_request: Mapping[str, Any]) -> control.Answers:
        await end(layers)
        yield {"done": True}

    own = {
        "drain": drain,
        "leave": leave,
        "status": status,
        "refresh": refresh,
        "remove": remove,
        "stop": stop,
    }
    return {**own, **locating_orders(layers)}

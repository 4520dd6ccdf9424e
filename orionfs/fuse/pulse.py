"""Whether the kernel's requests are taken: the one sign of life that a turning loop does not give by itself.

Asks the kernel's queue from our side of it: a process must never touch its own mount.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from orionfs.fuse.boundary import Presentation

WORKERS_MAX = 99  # of pyfuse3.main(); when all work, what comes waits for one of them

_DEVICE = "/dev/fuse"
_DESCRIPTORS = Path("/proc/self/fd")


class Pulse:
    """Looks at the queue of this process's mount."""

    def __init__(self, presentation: Presentation) -> None:
        self._presentation = presentation
        self._begun = 0
        self._descriptor: int | None = None

    def beats(self) -> bool:
        """Whether requests were taken since the last look, none waits, or everybody is at work."""
        before, self._begun = self._begun, self._presentation.calls.total()
        is_full = self._presentation.at_work >= WORKERS_MAX
        return self._begun > before or is_full or not self._is_one_waiting()

    def _is_one_waiting(self) -> bool:
        if self._descriptor is None:
            self._descriptor = _descriptor_of(_DEVICE)
        if self._descriptor is None:
            return False
        queue = select.poll()
        queue.register(self._descriptor, select.POLLIN)
        return any(events & select.POLLIN for _, events in queue.poll(0))


def _descriptor_of(device: str) -> int | None:
    """Our descriptor of a device; None if there is none, or no /proc."""
    try:
        for link in _DESCRIPTORS.iterdir():
            try:
                if os.readlink(link) == device:
                    return int(link.name)
            except OSError:  # closed meanwhile, as the one that lists them
                continue
    except OSError:
        return None
    return None

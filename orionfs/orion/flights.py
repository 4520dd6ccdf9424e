"""Questions on their way to Orion, as those see them who want to know the same. Pure but for the event."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from orionfs.errors import OrionFsError
from orionfs.orion.limiter import Priority, Urgency, current_urgency


@dataclass(slots=True)
class Flight:
    """A question on its way, and how it ended for those who wait for it."""

    done: trio.Event = field(default_factory=trio.Event)
    error: OrionFsError | None = None
    urgency: Urgency = field(default_factory=current_urgency)
    is_ahead: bool = field(default_factory=lambda: current_urgency().priority is Priority.PREFETCH)

    def is_tried_enough(self) -> bool:
        """False for what was asked ahead and failed before anybody needed it: it had one attempt."""
        error = self.error
        return not self.is_ahead or error is None or error.is_repeated or not error.is_retryable

"""One removal that was promised, until it is over; what happens to it is done by `removals`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orionfs.durable.journal import Removal
from orionfs.errors import OrionFsError

OnEnd = Callable[[OrionFsError | None], None]
"""Called once when a removal is over: with None when it is done, else with why Orion refused it."""


def nobody(_refused: OrionFsError | None) -> None:
    """Nobody wants to hear of the end."""


@dataclass(eq=False, slots=True)
class Pending:
    """An item that is to go; `on_ends` are those of all who asked for that.

    `is_of_before`: an earlier daemon has promised it.
    """

    removal: Removal
    on_ends: list[OnEnd]
    is_taken: bool = False
    is_of_before: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """Folder and name."""
        folder, _, name = self.removal.path.rpartition("/")
        return folder, name


@dataclass(eq=False, slots=True)
class PendingFolder:
    """A folder that is to go once it is empty."""

    path: str
    on_end: OnEnd
    is_taken: bool = False

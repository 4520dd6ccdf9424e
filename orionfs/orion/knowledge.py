"""What one mount knows of its stack where nothing public says how it behaves.

Begins with what `orionfs probe` and earlier mounts have kept, and learns from the answers of this life:
what any row shows is known for this life, what was proven is stored. Used by `remote`, which acts on it
and lets `assigning` see it; must not know how facts are stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import trio

from orionfs.facts import UNKNOWN, StackFacts
from orionfs.models import Item, Kind
from orionfs.orion.shapes import Found, read_found, read_item

log = logging.getLogger(__name__)


class Knowledge:
    """The facts of one stack; only the trio thread changes them."""

    def __init__(self) -> None:
        self.facts = UNKNOWN
        self._store: Callable[[StackFacts], object] = lambda _facts: None

    def begin(self, facts: StackFacts, store: Callable[[StackFacts], object] | None = None) -> None:
        """Know this from now on. `store` keeps facts for the next mounts; it is called in a thread."""
        self.facts = facts
        self._store = store or self._store

    def learn(self, **found: Any) -> None:
        """Fields of `StackFacts` that an answer has just shown; for this life."""
        self.facts = replace(self.facts, **found)

    async def prove(self, **found: Any) -> None:
        """Fields that were proven: stored for the next mounts too."""
        self.learn(**found)
        try:
            await trio.to_thread.run_sync(self._store, self.facts)
        except OSError as error:
            log.info("what was found out about this stack is not kept: %s", error)

    def see(self, items: Sequence[Item]) -> None:
        """Learn the literals of `resource_type` from rows as received."""
        told = {(item.kind, item.literal) for item in items}
        seen = {kind.value: literal for kind, literal in told if literal and kind is not Kind.OTHER}
        if not seen.items() <= self.facts.kind_literals.items():
            self.learn(kind_literals={**self.facts.kind_literals, **seen})

    def literal_of(self, kind: Kind) -> str:
        """How this stack's rows spell a kind; empty while no row has shown it."""
        return self.facts.kind_literals.get(kind.value, "")

    def resource(self, attributes: Any, kind: Kind) -> Item:
        """A resource's attributes as an item; its type is in its class, and none of its attributes."""
        return replace(read_item(attributes), kind=kind, literal=self.literal_of(kind))

    def found(self, attributes: Any, kind: Kind) -> Found:
        """The same, with what only those who look for it need."""
        found = read_found(attributes)
        return replace(found, item=replace(found.item, kind=kind, literal=self.literal_of(kind)))

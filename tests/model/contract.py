"""What a mount may show of a folder, from all that the mount and somebody else ever did to it.

What the mount did itself is shown at once and for good. What somebody else did is shown at the latest
after `window_s`: until then a mount may answer from before or after it. Nothing else is ever shown.
What the mount has put to a name keeps it alone for so long, whatever somebody else had put there before.
An entry is told apart by its key, a folder by its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from orionfs.models import Item, Key, Kind
from orionfs.orion.shapes import read_item
from orionfs.tables.names import base_name, is_hidden, visible_names
from tests.component.fake_orion import HOME, FakeCalls, Placement

Entity = Key | str
"""The key of an item, or the name of a folder."""


@dataclass(frozen=True, slots=True)
class Span:
    """When an entry was in a folder under a name, and who put it there and took it away."""

    entity: Entity
    base: str  # its visible name as long as it shares it with nobody
    start_s: float
    end_s: float
    is_start_own: bool
    is_end_own: bool

    def may_show(self, from_s: float, until_s: float, window_s: float) -> bool:
        """Whether an answer asked for and given in this time may hold it."""
        last_s = self.end_s if self.is_end_own else self.end_s + window_s
        return self.start_s <= until_s and last_s > from_s

    def must_show(self, from_s: float, until_s: float, window_s: float) -> bool:
        """Whether such an answer has to hold it."""
        first_s = self.start_s if self.is_start_own else self.start_s + window_s
        return first_s <= from_s and self.end_s > until_s

    def is_calm(self, from_s: float, until_s: float, window_s: float) -> bool:
        """Whether nobody else's doing with it may still be unknown to the mount."""
        edges = [(self.start_s, self.is_start_own), (self.end_s, self.is_end_own)]
        return all(is_own or not from_s - window_s < edge_s <= until_s for edge_s, is_own in edges)


class Contract:
    """Judges answers of one mount of `fake`, whose `keeps_history` is on.

    `failed` are spans of time in which calls of the mount failed that may have taken effect: what they
    did counts as somebody else's doing. `unseen`: what the mount shows nobody any more.
    """

    def __init__(self, fake: FakeCalls, window_s: float, unseen: Collection[Key]) -> None:
        self._fake = fake
        self._window_s = window_s
        self._unseen = unseen
        self.failed: list[tuple[float, float]] = []

    def entity(self, item: Item) -> Entity | None:
        """None for what is not on Orion yet."""
        return item.name if item.kind is Kind.FOLDER else item.key

    def check_listing(self, path: str, shown: Mapping[str, Item], from_s: float) -> None:
        """`shown`: visible name -> item that a folder was said to hold."""
        until_s = self._fake.clock()
        entities = [entity for item in shown.values() if (entity := self.entity(item)) is not None]
        assert len(entities) == len(set(entities)), f"{path} shows something twice: {shown}"
        assert not any(is_hidden(item.name) and item.id is not None for item in shown.values())
        folder = self._folder(path, from_s, until_s)
        if folder is None:
            return
        spans = self._spans(folder)
        self._check_spans(path, spans, shown, from_s, until_s)
        is_all_there = len(entities) == len(shown)  # else what is on its way has its name already
        if is_all_there and self._are_names_known(spans, from_s, until_s):
            wanted = self._now(folder)
            told = {name: self.entity(item) for name, item in shown.items()}
            assert told == wanted, f"{path} shows {told}, not {wanted}"

    def _check_spans(
        self, path: str, spans: list[Span], shown: Mapping[str, Item], from_s: float, until_s: float
    ) -> None:
        may = self._that_may(spans, from_s, until_s)
        must = {s.entity for s in spans if s.must_show(from_s, until_s, self._window_s)} - set(self._unseen)
        told = {self.entity(item) for item in shown.values()} - {None}
        assert told <= {s.entity for s in may}, f"{path} shows {told}: too old or never there: {spans}"
        assert must <= told, f"{path} lacks {must - told}: {spans}"
        for span in may if len(told) == len(shown) else ():
            alone = all(other.base != span.base or other.entity == span.entity for other in may)
            if alone and span.entity in must and self._has_one_name(span, may) and len(span.base) < 200:
                assert span.base in shown, f"{path} does not show {span} under its name: {shown}"

    def check_name(self, path: str, item: Item | None, from_s: float) -> None:
        """What a path was said to mean (None: nothing)."""
        above, _, name = path.rpartition("/")
        until_s = self._fake.clock()
        folder = self._folder(above, from_s, until_s)
        if folder is None:
            return
        spans = self._spans(folder)
        may = self._that_may(spans, from_s, until_s)
        if item is not None and (entity := self.entity(item)) is not None:
            assert entity in {s.entity for s in may}, f"{path} is {item}: too old or never there: {spans}"
        if self._are_names_known(spans, from_s, until_s):
            wanted = self._now(folder).get(name)
            is_on_its_way = item is not None and item.key is None and item.kind is Kind.FILE
            assert is_on_its_way or wanted == (item and self.entity(item)), f"{path} is {item}, not {wanted}"

    def that_may_be(self, path: str) -> set[Entity]:
        """All that may be meant by a path now, with a duplicate's suffix or without."""
        above, _, name = path.rpartition("/")
        now_s = self._fake.clock()
        folder = self._fake.folder_id(f"{HOME}/{above}".rstrip("/"))
        spans = self._spans(folder) if folder is not None else []
        stem = name.partition("~")[0].partition(".")[0]
        return {s.entity for s in self._that_may(spans, now_s, now_s) if s.base.startswith(stem)}

    # Inside

    def _are_names_known(self, spans: Sequence[Span], from_s: float, until_s: float) -> bool:
        """Whether it is certain what is there, and which of several has a name alone."""
        may = self._that_may(spans, from_s, until_s)
        new = [span for span in may if span.is_start_own and span.start_s > from_s - self._window_s]
        is_shared = any(
            other.base == span.base and other.entity != span.entity for span in new for other in may
        )
        return not is_shared and all(span.is_calm(from_s, until_s, self._window_s) for span in spans)

    def _that_may(self, spans: Iterable[Span], from_s: float, until_s: float) -> list[Span]:
        return [span for span in spans if span.may_show(from_s, until_s, self._window_s)]

    @staticmethod
    def _has_one_name(span: Span, may: list[Span]) -> bool:
        return all(other.base == span.base for other in may if other.entity == span.entity)

    def _folder(self, path: str, from_s: float, until_s: float) -> int | None:
        """The folder at a path, if the mount has to know that it is that one."""
        folder = self._fake.folder_id(HOME)
        for name in filter(None, path.split("/")):
            assert folder is not None
            if name not in self._now(folder):
                return None
            named = [span for span in self._spans(folder) if span.base == name]
            if not all(span.is_calm(from_s, until_s, self._window_s) for span in named):
                return None
            rows = [read_item(row) for row in self._fake.rows_in(folder)]
            folder = next((i.id for i in rows if i.kind is Kind.FOLDER and base_name(i) == name), None)
            if folder is None:
                return None
        return folder

    def _now(self, folder: int) -> dict[str, Entity | None]:
        items = [read_item(row) for row in self._fake.rows_in(folder)]
        seen = [item for item in items if item.key not in self._unseen]
        return {name: self.entity(item) for name, item in visible_names(seen).items()}

    def _spans(self, folder: int) -> list[Span]:
        """Of folders of one name, only one after the other: they are one entry."""
        placed = [p for p in self._fake.history(folder) if not is_hidden(p.name)]
        spans = [self._span(p) for p in sorted(placed, key=lambda p: p.shown_from)]
        # What was there for one moment only may have been seen in it.
        return [span for span in spans if span.start_s <= span.end_s]

    def _span(self, placed: Placement) -> Span:
        item = read_item(self._fake.row_of(placed))
        entity = self.entity(item)
        assert entity is not None
        return Span(
            entity,
            base_name(item),
            placed.shown_from,
            placed.hidden_from,
            placed.is_placed_by_call and not self._is_failed(placed.shown_from),
            placed.is_hidden_by_call and not self._is_failed(placed.hidden_from),
        )

    def _is_failed(self, moment_s: float) -> bool:
        return moment_s != inf and any(start <= moment_s <= end for start, end in self.failed)

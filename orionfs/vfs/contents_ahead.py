"""Fetches small files ahead of whoever reads a folder file by file, many at a time.

A reader is recognised by two files opened one after the other (`runs`); from then on the next ones are
brought into the content cache, a few at first, twice as many with each one that was foreseen. Who has read
one folder so is recognised by one file in the next, and who goes through a tree is run ahead of into the
folders to come. The foreground
goes first (`limiter`), and joins what is on its way (`fetch`). What was fetched is held until it is opened,
or the reader has gone. Never in collections or views, never datasets, nothing that is large, here already or
being written; none offline, none without room, none once the reader has gone elsewhere. Knows inodes as
places in the tree; must not know FUSE or handles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import inf

import trio

from orionfs.cache.fetch import Fetcher, Source
from orionfs.errors import AccessDenied, NoSpace, NoSuchName, OrionFsError, Stale, Throttled
from orionfs.models import InodeNumber, Item, Kind
from orionfs.orion.limiter import Priority, working_at
from orionfs.orion.remote import SMALL_BYTES, Health, Remote
from orionfs.tables.inodes import Inode
from orionfs.tables.metacache import Entries
from orionfs.tasks import Background
from orionfs.tree.namespace import Namespace
from orionfs.tree.preorder import Order, Preorder, place_of
from orionfs.vfs.runs import File, Run, Visit, recognise

log = logging.getLogger(__name__)

BYTES_MAX = 32 * 2**20
_PATIENCE_S = 10.0  # a reader may think about each file for a while
_READERS_MAX = 32
_STEPS_TELLING = 2  # folders of a tree, each read to its end
_NONE_YET = File("", 0)  # is before all others, in every order
_NO_ROOM_S = 60.0  # after the cache had no room


@dataclass(eq=False, slots=True)
class _Fetch:
    """One file that was asked for ahead of its reader; `source` while it is held."""

    size: int
    source: Source | None = None
    is_done: bool = False
    is_wanted: bool = True


@dataclass(eq=False, slots=True)
class _Reader:
    """Whoever reads the files of a folder, which one it opened last and when.

    `next` is the one who is foretold to go on in the next folder; `steps` counts the folders, one after the
    other in a tree and in this `order`, that it has come through.
    """

    folder: Inode
    last: File
    seen_at_s: float
    run: Run | None = None
    ahead: dict[str, _Fetch] = field(default_factory=dict)
    steps: int = 0
    order: Order = Order.LISTING
    next: _Reader | None = None


class ContentsAhead:
    """All contents that are fetched ahead in one mount."""

    def __init__(
        self,
        namespace: Namespace,
        fetcher: Fetcher,
        remote: Remote,
        on_open: list[Callable[[Inode, bool], None]],
        bytes_max: int = BYTES_MAX,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """`on_open` is told of every file that is opened for reading, and whether all of it is here.

        `bytes_max` bounds what was asked for and not opened.
        """
        self._namespace = namespace
        self._beliefs = namespace.beliefs
        self._tree = Preorder(namespace)
        self._fetcher = fetcher
        self._remote = remote
        self._bytes_max = bytes_max
        self._clock = clock
        self._readers: dict[InodeNumber, _Reader] = {}  # by folder; the one seen last is the last
        self._in_flight = 0
        self._bytes = 0
        self._stopped_until_s = -inf
        self._in_order_at_s = -inf  # when somebody read a file in order
        self._has_ahead = trio.Event()
        self._background = Background()
        on_open.append(self._opened)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Home of the fetches. Ends when cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._background.run)
            task_status.started()
            while True:
                await self._has_ahead.wait()
                await trio.sleep(_PATIENCE_S)
                self._let_go_of_the_gone()

    # What is seen

    def _opened(self, inode: Inode, is_here: bool) -> None:
        """Somebody opens a file to read it; `is_here`: nothing of it has to be asked for."""
        folder = inode.parent
        if (
            folder is None
            or not inode.is_attached
            or folder.is_virtual
            or folder.item.kind is not Kind.FOLDER
        ):
            return
        opened, now_s = File(inode.name, inode.number), self._clock()
        reader = self._see(folder, opened, now_s)
        is_foreseen = opened.name in reader.ahead
        if opened.name != reader.last.name:
            self._follow(reader, opened)
            reader.last = opened
        if is_foreseen or not is_here:
            self._go_on()

    def _see(self, folder: Inode, opened: File, now_s: float) -> _Reader:
        """This folder's reader is seen now; the others get nothing more before they are seen again."""
        reader = self._readers.pop(folder.number, None)
        if reader is None or reader.folder is not folder or self._is_gone(reader):
            if reader is not None:
                self._let_go(reader)
            reader = self._new_reader(folder, opened, now_s)
        reader.seen_at_s = now_s
        following = set(_following(reader))
        for other in self._readers.values():
            if other.run is not None and other not in following:
                other.run.hold_back()
        self._readers[reader.folder.number] = reader
        while len(self._readers) > _READERS_MAX:
            self._let_go(self._readers.pop(next(iter(self._readers))))
        return reader

    def _new_reader(self, folder: Inode, opened: File, now_s: float) -> _Reader:
        """Who has read another folder in order begins here with the first file, if it goes on so."""
        reader = _Reader(folder, opened, now_s)
        before = next(reversed(self._readers.values()), None)
        if before is not None and not self._is_gone(before):
            reader.order, reader.steps = self._steps_to(folder, before)
        if now_s - self._in_order_at_s <= _PATIENCE_S or reader.steps >= _STEPS_TELLING:
            reader.last = _NONE_YET
        self._in_order_at_s = -inf  # it is trusted again when it has kept to the order here
        return reader

    def _steps_to(self, folder: Inode, before: _Reader) -> tuple[Order, int]:
        """In which order, and how far, somebody has come who was seen elsewhere before."""
        for order in [before.order] if before.steps >= _STEPS_TELLING else Order:
            is_read = self._tree.files(before.folder, order)[-1:] == [before.last.name]
            if is_read and self._tree.next_folder(before.folder, order) is folder:
                return order, before.steps + 1 if order is before.order else 1
        return Order.LISTING, 0

    def _is_gone(self, reader: _Reader) -> bool:
        return self._clock() - reader.seen_at_s > _PATIENCE_S

    def _follow(self, reader: _Reader, opened: File) -> None:
        visit, in_vain = (Visit.ELSEWHERE, []) if reader.run is None else reader.run.visit(opened.name)
        for name in (opened.name, *in_vain):
            self._drop(reader, name)
        if visit is Visit.ELSEWHERE:
            self._let_go(reader)
            reader.run = self._recognise(reader, opened)
        if visit in (Visit.AHEAD, Visit.NEXT) or (reader.run is not None and reader.last is not _NONE_YET):
            self._in_order_at_s = self._clock()

    def _recognise(self, reader: _Reader, opened: File) -> Run | None:
        listed = self._beliefs.entries(reader.folder)
        if listed is None:
            return None
        files = partial(_files, Entries(listed), reader.folder.children or {}, reader.last.name)
        run = recognise(files, len(listed), reader.last, opened)
        if run is not None:
            log.debug("the files of %s are read one after the other", reader.folder.local_path())
        return run

    # What is done

    def _go_on(self) -> None:
        """Fetch what may be fetched now; the reader seen last goes first."""
        if self._remote.health is Health.OFFLINE or self._clock() < self._stopped_until_s:
            return
        self._foretell()
        chain = _following(current) if (current := next(reversed(self._readers.values()), None)) else []
        others = [reader for reader in reversed(self._readers.values()) if reader not in chain]
        for reader in (*chain, *others):
            while self._in_flight < self._remote.small_at_once and self._begin_next(reader):
                pass

    def _foretell(self) -> None:
        """Who goes through a tree and has little left in this folder goes on in the next ones."""
        reader = next(reversed(self._readers.values()), None)
        if reader is None or reader.run is None or not reader.steps:
            return
        chain = _following(reader)
        while len(chain) < _READERS_MAX // 2 and _is_used_up(chain, reader.run.lead):
            folder = self._tree.next_folder(chain[-1].folder, reader.order)
            if folder is None or folder.number in self._readers:
                break
            run = Run(self._tree.files(folder, reader.order))
            run.lead = reader.run.lead
            foretold = _Reader(folder, _NONE_YET, self._clock(), run)
            foretold.steps, foretold.order = chain[-1].steps + 1, reader.order
            chain[-1].next = self._readers[folder.number] = foretold
            chain.append(foretold)
        self._readers[reader.folder.number] = self._readers.pop(reader.folder.number)

    def _begin_next(self, reader: _Reader) -> bool:
        """False if this reader must wait, or has nothing left."""
        name = reader.run.next() if reader.run is not None and not self._is_gone(reader) else None
        if reader.run is None or name is None or not self._namespace.inodes.has(reader.folder):
            return False
        item = self._beliefs.known(reader.folder, name)
        if item is None or not self._is_to_be_fetched(reader.folder, name, item):
            reader.run.skip()
            return True
        assert item.size is not None
        if self._bytes + item.size > self._bytes_max:
            return False
        reader.run.add()
        self._begin(reader, name, item, item.size)
        return True

    def _is_to_be_fetched(self, folder: Inode, name: str, item: Item) -> bool:
        if item.kind is not Kind.FILE or item.key is None or not 0 < (item.size or 0) <= SMALL_BYTES:
            return False
        child = (folder.children or {}).get(name)
        return child is None or not (child.opens or child.pins or child.written_size is not None)

    def _begin(self, reader: _Reader, name: str, item: Item, size: int) -> None:
        fetch = reader.ahead[name] = _Fetch(size)
        self._in_flight += 1
        self._bytes += size
        self._has_ahead.set()
        self._background.start("fetching ahead", partial(self._fetch, reader, fetch, item))

    async def _fetch(self, reader: _Reader, fetch: _Fetch, item: Item) -> None:
        assert item.key is not None
        try:
            with working_at(Priority.PREFETCH):
                fetch.source = self._fetcher.open(item.key, fetch.size)
                await self._fetcher.ensure(fetch.source, 0, fetch.size)
        except OrionFsError as error:
            log.debug("not fetched ahead: %s", error)
            self._note_failure(reader, error)
        finally:
            self._in_flight -= 1
            fetch.is_done = True
            if not fetch.is_wanted:
                self._give_back(fetch)
        self._go_on()

    def _note_failure(self, reader: _Reader, error: OrionFsError) -> None:
        """Who needs that file asks again. One that is gone or may not be read stops nothing else."""
        if isinstance(error, NoSpace):
            self._stopped_until_s = self._clock() + _NO_ROOM_S
        elif isinstance(error, Throttled):
            for each in self._readers.values():
                each.run = None
        elif not isinstance(error, NoSuchName | Stale | AccessDenied):
            reader.run = None

    # What is let go of

    def _let_go_of_the_gone(self) -> None:
        for folder, reader in list(self._readers.items()):
            if self._is_gone(reader):
                self._let_go(self._readers.pop(folder))
        if not any(reader.ahead for reader in self._readers.values()):
            self._has_ahead = trio.Event()

    def _let_go(self, reader: _Reader) -> None:
        reader.run = None
        for name in list(reader.ahead):
            self._drop(reader, name)

    def _drop(self, reader: _Reader, name: str) -> None:
        """Hold a file no longer: it was opened, or nobody will."""
        fetch = reader.ahead.pop(name, None)
        if fetch is None:
            return
        fetch.is_wanted = False
        self._bytes -= fetch.size
        if fetch.is_done:
            self._give_back(fetch)

    def _give_back(self, fetch: _Fetch) -> None:
        if fetch.source is not None:
            self._fetcher.close(fetch.source)
            fetch.source = None


def _files(entries: Entries, known: Mapping[str, Inode], first: str) -> Iterator[File]:
    """The files of a listing from `first` on, then those before it."""
    start = place_of(entries, first)
    for place in chain(range(start, len(entries)), range(start)):
        name, item = entries[place]
        if item.kind is Kind.FILE:
            inode = known.get(name)
            yield File(name, inode.number if inode is not None else 0)


def _following(reader: _Reader) -> list[_Reader]:
    """A reader, and those that are foretold to go on after it."""
    chain = [reader]
    while chain[-1].next is not None and chain[-1].next not in chain:
        chain.append(chain[-1].next)
    return chain


def _is_used_up(chain: list[_Reader], lead: int) -> bool:
    """True if all of these folders was asked for, and that is not enough."""
    is_at_end = all(reader.run is not None and reader.run.is_at_end for reader in chain)
    return is_at_end and sum(len(reader.ahead) for reader in chain) < lead

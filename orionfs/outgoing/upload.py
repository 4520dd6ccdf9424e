"""One sealed version on its way to Orion, and where it is; what happens to it is done by others."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from enum import Enum
from math import inf

import trio

from orionfs.cache.content import Staged
from orionfs.durable.journal import UploadRow, UploadStep
from orionfs.errors import ChangedElsewhere, OrionFsError
from orionfs.models import InodeNumber, Item
from orionfs.orion.recent import RecentChanges
from orionfs.outgoing.conflicts import Heard
from orionfs.outgoing.shard_rules import collection_of
from orionfs.reports import Reports

_numbers = itertools.count(1)


class UploadState(Enum):
    """Where a sealed version is; DONE and CANCELLED are final."""

    LOCAL = "local-only"  # it stays here, under a name that Orion is not to see
    HELD = "held"  # on Orion under its mark, and given its name there once it has the right one here
    WAITING = "waiting"
    RUNNING = "uploading"
    FAILED = "failed"
    DONE = "done"
    CANCELLED = "cancelled"


class Upload:
    """One sealed version on its way. `placing` is held while Orion gives it its name.

    `on_placed` is called once, in the trio thread, when the version has its name: with the upload and
    the new item, before anything else can happen to either. With `conflict` set that is another name.
    """

    def __init__(
        self, row: UploadRow, staged: Staged | None, on_placed: Callable[[Upload, Item], None]
    ) -> None:
        self.nth = next(_numbers)  # who holds `placing` of several has waited for them in this order
        self.row = row
        self.staged = staged
        self.on_placed = on_placed
        self.state = UploadState.WAITING
        self.error: OrionFsError | None = None  # why it is not on Orion yet, after an attempt
        self.told: OrionFsError | None = None  # of which the log has heard
        self.about: InodeNumber | None = None  # whose last error is this one's, where that is known
        self.carrying = trio.Lock()
        self.placing = trio.Lock()
        self.is_unclear = False  # an attempt may have left an item under the mark
        self.unclear_at_s = -inf  # when the last such attempt ended
        self.may_be_doubled = False  # it was sent again though a replica may know nothing of that item yet
        self.sent_tags: frozenset[str] | None = frozenset()  # those of what is under the mark, if known
        self.is_in_background = False
        self.hurry = trio.Event()
        self.held_until_s = -inf  # its name is a temporary one until then, or until it gets another
        self.is_kept_back = False  # while it is held it is not even uploaded
        self.is_in_use: Callable[[], bool] = lambda: False  # somebody has the file open
        self.before_placing: Callable[[], Awaitable[None]] | None = None  # to be done before it is shown
        self.heard: Callable[[], Heard | None] = lambda: None  # the last that was heard of its name
        # Of an item that is saved in place: what others have added to its tags and taken away meanwhile.
        self.learn_tags: Callable[[tuple[str, ...], tuple[str, ...]], None] | None = None
        self.tell_tags: Callable[[tuple[str, ...]], None] = lambda _: None  # its tags, which no listing told
        self.conflict: ChangedElsewhere | None = None  # why it went beside its name
        self.theirs: Item | None = None  # what somebody else has put there, if that was told
        self.on_lost: Callable[[], None] = lambda: (
            None
        )  # it is not wanted, as was found out: a rename was later
        self.is_renamed = False  # it got its name by a rename, which replaces whatever is there

    def __repr__(self) -> str:
        return f"<Upload {self.row.path!r} {self.state.value}>"

    def attempted(self, at_s: float) -> None:
        """An attempt has ended at this moment, and what it has left is not known."""
        self.is_unclear, self.unclear_at_s = True, at_s

    def adopted(self, recent: RecentChanges) -> None:
        """An earlier daemon has sealed this, and how far it came is in its row, or in none."""
        if self.state is not UploadState.LOCAL:
            self.attempted(recent.began_at_s)
            self.sent_tags = None
            # A shard is looked for until it is known whether it was made, so it is made once.
            self.may_be_doubled = recent.unheard_s > 0 and collection_of(self.row.mark) is None

    @property
    def is_placing_ours(self) -> bool:
        """True for who holds `placing`."""
        return self.placing.statistics().owner is trio.lowlevel.current_task()

    @property
    def is_over(self) -> bool:
        return self.state in (UploadState.DONE, UploadState.CANCELLED)

    @property
    def is_untouched(self) -> bool:
        """True if nothing of it can be on Orion yet."""
        is_waiting = self.state in (UploadState.LOCAL, UploadState.HELD, UploadState.WAITING)
        return is_waiting and not self.is_unclear and self.row.new_id is None

    @property
    def may_have_place(self) -> bool:
        """True if an attempt, of an earlier daemon as well, may have given it its name, and no more."""
        return self.row.new_id is not None and (self.is_unclear or self.error is not None)

    @property
    def is_unfinished(self) -> bool:
        """False for one that stays as it is: here, or on Orion under its mark."""
        is_there = self.rests and self.row.step is UploadStep.UPLOADED
        return not (is_there or self.state is UploadState.LOCAL)

    @property
    def is_shown(self) -> bool:
        """True for what Orion is to see under its name as soon as it can be."""
        return self.state is not UploadState.LOCAL and not self.is_held

    @property
    def rests(self) -> bool:
        """True for what is not to be attempted again: its name is not for Orion."""
        return self.state is UploadState.LOCAL or (self.state is UploadState.HELD and self.is_held)

    @property
    def is_held(self) -> bool:
        """True while it is not to be shown on Orion."""
        return trio.current_time() < self.held_until_s

    def tell_conflict(self, reports: Reports) -> None:
        """Whoever asks either version what went wrong hears of the other."""
        theirs = self.theirs.key if self.theirs is not None else None
        for about in (theirs, self.about):
            if self.conflict is not None and about is not None:
                reports.note(about, "close", self.conflict)

"""Changes of the tree: folders made and removed, contents put in place, items moved and removed.

What is written goes up under a mark that nobody is shown, and gets its folder and its name in one call
once all of it is there; what had the name goes after that, by its id. A removal that was promised is
written down first, so that the next mount of this account keeps the promise of a process that was
killed. Must not know the names shown to users, listings or fsspec.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from orionfs.durable.promises import Removal, Rename
from orionfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    InvalidCall,
    NameExists,
    NoSuchName,
    OrionFsError,
    RemoteFailure,
)
from orionfs.fs.asking import Asking
from orionfs.marks import new_mark, new_old_mark
from orionfs.models import MARK_PREFIX, Account, Assignment, Item, Key, Kind

log = logging.getLogger(__name__)

_BUSY_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # a 409 can mean "busy" on Orion; how often is a guess
_SEEN_PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)  # a replica may lag behind a change
_ASSIGNED_AT_ONCE = 100


class Replacing(Protocol):
    """Where it is written down that an item is about to get the place of another one, which goes then."""

    def put(self, rename: Rename) -> None: ...
    def drop(self, rename: Rename) -> None: ...
    def happened(self, rename: Rename, removal: Removal | None) -> None: ...


class Promises(Protocol):
    """What a mount carries out if this process can't."""

    @property
    def renames(self) -> Replacing: ...
    def drop_removal(self, key: Key) -> None: ...


class Changes:
    """Changes what one account has. Safe for threads; all raise OrionFsError."""

    def __init__(
        self,
        asking: Asking,
        account: Account,
        promising: Callable[[], contextlib.AbstractContextManager[Promises]],
        prove: Callable[..., None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`promising` opens the book of promises; `prove` keeps what was found out about the stack."""
        self._asking, self._home = asking, account.home
        self._promising, self._prove, self._sleep = promising, prove, sleep

    # Folders

    def make_folder(self, place: str) -> None:
        """Make one folder. Raises NameExists, NoSuchName where there is none to make it in."""
        may_be_ours = False
        for pause_s in (*_BUSY_PAUSES_S, None):
            try:
                self._asking.create_folder(place)
                return
            except Conflict as conflict:
                may_be_ours = may_be_ours or conflict.is_repeated
                there = self._asking.stat(place)
                if there is not None and there.is_folder and may_be_ours:
                    return  # our own first attempt made it, which a replica may show late
                if there is not None:
                    raise NameExists(f"{place} is there already") from conflict
                if pause_s is None:
                    raise Busy(f"{place}: Orion is busy with it") from conflict
            self._sleep(pause_s)

    def remove_folder(self, place: str) -> None:
        """Remove a folder that was just seen empty."""
        for pause_s in (*_BUSY_PAUSES_S, None):
            try:
                self._asking.remove_folder(place)
                return
            except Conflict as conflict:
                if pause_s is None:
                    raise Busy(f"{place}: {conflict}") from conflict
            self._sleep(pause_s)

    def remove(self, item: Item) -> None:
        """Remove one item, softly."""
        self._asking.delete(_key_of(item))

    # Contents

    def put(self, path: Path, size: int, folder: str, name: str, over: Item | None) -> Item:
        """Upload a local file and give it its folder and true name; `over` had it, and goes then."""
        mark = new_mark()
        try:
            made = self._asking.upload(mark, path, size)
        except OrionFsError as error:
            if error.is_unclear:
                self._clean_up(mark)
            raise
        try:
            made = self._ready_to_assign(replace(made, name=mark))
            made = replace(made, tags=made.tags or ())
            self._place(Assignment(made, folder, name), over, Assignment(made, self._home, new_mark()))
        except OrionFsError as error:
            if not error.is_unclear:  # else it may be in its place
                self._remove_quietly(made)
            raise
        return replace(made, name=name)

    def _clean_up(self, mark: str) -> None:
        """Take away what an upload without an answer may have left."""
        with contextlib.suppress(OrionFsError):
            left = self._asking.stat(f"{self._home}/{mark}")
            if left is not None:
                self._remove_quietly(left)

    def _remove_quietly(self, item: Item) -> None:
        try:
            self._asking.delete(_key_of(item))
        except OrionFsError as error:
            log.info("%s of an upload that failed is left in %s: %s", item.name, self._home, error)

    # Moving

    def move(self, item: Item, origin: str, folder: str, name: str, over: Item | None) -> None:
        """Give an item of the folder `origin` another folder and name; `over` had it, and goes then."""
        self._ready_to_assign(item)
        self._place(Assignment(item, folder, name), over, Assignment(item, origin, item.name))

    def move_all(self, items: Sequence[Item], folder: str) -> None:
        """Put items into another folder, under the names that they have."""
        for start in range(0, len(items), _ASSIGNED_AT_ONCE):
            some = [self._ready_to_assign(item) for item in items[start : start + _ASSIGNED_AT_ONCE]]
            self._assign(*(Assignment(item, folder, item.name) for item in some))

    # Placing

    def _place(self, place: Assignment, over: Item | None, origin: Assignment) -> None:
        """`origin` is where the item goes again where `over` may not be removed."""
        if over is None:
            self._give(place, None, is_swap=False)
            return
        old = Removal(_key_of(over), place.path)
        rename = Rename(_key_of(place.item), origin.path, place.path, old.key)
        self._take_tags(over, place.item)
        with self._promising() as promises:
            promises.renames.put(rename)
            try:
                is_aside = self._give(place, over, is_swap=self._asking.facts.duplicate_names == "refused")
            except OrionFsError as error:
                if not error.is_unclear:
                    promises.renames.drop(rename)
                raise
            # From now on it is to go whatever has the name by then.
            promises.renames.happened(rename, old)
            try:
                self._asking.delete(old.key)
            except AccessDenied:
                back = [Assignment(over, place.folder, place.name)] if is_aside else []
                with contextlib.suppress(OrionFsError):  # what had the name keeps it, or gets it back
                    self._assign(origin, *back)
                promises.drop_removal(old.key)
                raise
            except OrionFsError as error:
                log.info("%s: what it replaced is removed by the next mount: %s", place.path, error)
                return
            promises.drop_removal(old.key)

    def _give(self, place: Assignment, over: Item | None, *, is_swap: bool) -> bool:
        """Give an item its place; whether `over` got a mark for its name in the same call.

        Raises NameExists for a name that something else has.
        """
        pauses = iter((*_BUSY_PAUSES_S, None))
        while True:
            away = [Assignment(over, place.folder, new_old_mark())] if over is not None and is_swap else []
            try:
                self._asking.assign(*away, place)
                return bool(away)
            except Conflict as conflict:
                if over is not None and not is_swap:
                    is_swap = True
                    continue
                pause_s = next(pauses)
                self._check_not_taken(place, over, conflict, is_last=pause_s is None)
            except NoSuchName:
                if over is None or not away or not self._asking.is_gone(_key_of(over)):
                    raise
                over, is_swap = None, False  # somebody else has removed what was to give way
                continue
            except OrionFsError as error:
                if error.is_unclear and self._is_in(place):
                    return bool(away)
                raise
            self._sleep(pause_s or 0.0)

    def _is_in(self, place: Assignment) -> bool:
        """Whether an item is seen in its place; an assignment without an answer has done it then."""
        with contextlib.suppress(OrionFsError):
            there = self._asking.stat(place.path)
            return there is not None and there.key == place.item.key
        return False

    def _check_not_taken(
        self, place: Assignment, over: Item | None, conflict: Conflict, *, is_last: bool
    ) -> None:
        there = self._asking.stat(place.path)
        own = {place.item.key, over.key if over is not None else None}
        if there is not None and there.key not in own:
            raise NameExists(f"{place.path}: something else has the name on Orion") from conflict
        if is_last:
            raise Busy(f"{place.path}: Orion is busy with it") from conflict

    def _take_tags(self, old: Item, new: Item) -> None:
        """Tags stay with the name, where what comes has none of its own."""
        if old.tags == () or new.tags:
            return
        tags = self._asking.tags(_key_of(old))
        if tags and not (new.tags is None and self._asking.tags(_key_of(new))):
            self._asking.tag(_key_of(new), tags)

    def _assign(self, *assignments: Assignment) -> None:
        for pause_s in (*_BUSY_PAUSES_S, None):
            try:
                self._asking.assign(*assignments)
                return
            except Conflict as conflict:
                if pause_s is None:
                    raise Busy(f"{assignments[0].path}: {conflict}") from conflict
            self._sleep(pause_s)

    # The form of an assignment

    def _ready_to_assign(self, item: Item) -> Item:
        """The item, with the literal and the form that this stack's assignments need found out before."""
        if item.kind is Kind.FOLDER or (
            self._asking.facts.assign_path is not None and self._literal_of(item)
        ):
            return item
        if not item.name.startswith(MARK_PREFIX):
            self._find_form()
            return item
        there = self._seen(f"{self._home}/{item.name}", item)
        if self._asking.facts.assign_path is not None:
            return there
        return self._form_found_with(there)

    def _literal_of(self, item: Item) -> str:
        return item.literal or self._asking.literal_of(item.kind)

    def _find_form(self) -> None:
        """Find out how this stack assigns paths with a small file that nobody is shown."""
        if self._asking.facts.assign_path is not None:
            return
        with _sample() as (path, size):
            mark = new_mark()
            sample = replace(self._asking.upload(mark, path, size), name=mark)
            try:
                self._ready_to_assign(sample)
            finally:
                self._remove_quietly(sample)

    def _form_found_with(self, item: Item) -> Item:
        """The item, under another mark: the form of assignments was found out with it.

        A whole path first: no folder has it, so it does nothing where a folder is due, while a folder
        would lead out of its own where a whole path is.
        """
        for form in ("full", "folder", "full", "folder"):  # each twice: a 404 can be transient
            place = Assignment(item, self._home, new_mark())
            try:
                self._asking.assign(place, form=form)
                seen = self._seen(place.path, item)
            except (Conflict, NoSuchName, InvalidCall, AccessDenied, RemoteFailure) as refused:
                log.debug("form %r: %s", form, refused)
                continue
            self._prove(assign_path=form)
            return seen
        raise RemoteFailure("assign_paths did not put a file to its place in any form; try again")

    def _seen(self, path: str, item: Item) -> Item:
        """The item as a row tells it, once it is seen at a path."""
        for pause_s in (*_SEEN_PAUSES_S, None):
            there = self._asking.stat(path)
            if there is not None and there.key == item.key:
                return replace(there, size=item.size)
            if pause_s is not None:
                self._sleep(pause_s)
        raise RemoteFailure(f"{path}: an item that was put there is not seen")


def _key_of(item: Item) -> Key:
    if item.key is None:
        raise InvalidCall(f"{item.name}: Orion tells no id of it, so it can't be changed")
    return item.key


@contextlib.contextmanager
def _sample() -> Iterator[tuple[Path, int]]:
    text = b"orionfs finds out how this stack assigns paths\n"
    with tempfile.TemporaryDirectory(prefix="orionfs-") as folder:
        path = Path(folder, "sample")
        path.write_bytes(text)
        yield path, len(text)

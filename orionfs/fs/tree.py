"""What a path means: names as a mount shows them, listings kept for a while, places on Orion.

A path is asked for by itself; a folder is listed only where names alone can't tell (duplicates, datasets,
names that had to be escaped), and what was listed answers for all that is in it. Must not know contents,
changes or fsspec.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from orionfs.config import SHARED_SPACES, TOP_NAMES
from orionfs.errors import AccessDenied, InvalidCall, NoSuchName, NotADirectory
from orionfs.fs.asking import Asking
from orionfs.fs.paths import ROOT, child_of, is_below, parent_of
from orionfs.models import Account, Item, Kind
from orionfs.orion.workspaces import workspace_names
from orionfs.tables.names import base_name, decode_name, is_plain, visible_names

_FOLDERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Node:
    """Something that is there: its path here, its absolute path on Orion, and what Orion says of it."""

    path: str
    place: str
    item: Item

    @property
    def is_folder(self) -> bool:
        return self.item.is_folder


@dataclass(frozen=True, slots=True)
class _Listing:
    names: Mapping[str, Item]
    asked_at_s: float


class Tree:
    """The items of one account by path. Safe for threads; all raise OrionFsError."""

    def __init__(
        self,
        asking: Asking,
        account: Account,
        workspaces: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`workspaces` are names of workspaces by id, for stacks that tell ids only."""
        self._asking, self._workspaces, self._clock = asking, workspaces, clock
        project = f"/project/{account.project_id}"
        places = (account.home, f"{project}/team", f"{project}/workspace", "/organization")
        self._tops = dict(zip(TOP_NAMES, places, strict=True))
        self._listings: dict[str, _Listing] = {}
        self._folders: dict[str, tuple[Node, float]] = {}  # those that were seen, and when
        self._forgotten = 0  # how often; what was asked before the last time is not kept
        self._lock = threading.Lock()

    # Resolving

    def resolve(self, path: str, max_age_s: float) -> Node:
        """What is at a stripped path. Raises NoSuchName, NotADirectory.

        Listings that are older than `max_age_s` seconds are not believed.
        """
        above, place, names = self._anchored(path)
        known = self._known_folder(path, max_age_s)
        if known is not None:
            return known
        if not names:
            return Node(path, place, _folder(path.rpartition("/")[2]))
        certain: Node | None = Node(above, place, _folder(""))
        for name in names[:-1]:
            step = self._step(certain, above, place, name, max_age_s)
            certain, above = step, child_of(above, name)
            place = step.place if step is not None else f"{place.rstrip('/')}/{decode_name(name)}"
        return self._found(certain, above, place, names[-1], max_age_s)

    def _anchored(self, path: str) -> tuple[str, str, list[str]]:
        """The folder a path begins in, as it is called here and on Orion, and the names below it."""
        if path == ROOT:
            return ROOT, "", []
        names = path.split("/")
        if not names[0]:
            return "/" + names[1], "/" + names[1], names[2:]
        if names[0] not in self._tops:
            raise NoSuchName(f"{path}: there are {', '.join(TOP_NAMES)}, and paths such as /project/1/team")
        return names[0], self._tops[names[0]], names[1:]

    def _step(self, folder: Node | None, above: str, place: str, name: str, max_age_s: float) -> Node | None:
        """The folder of a name on the way; None if nothing but its name is known of it."""
        if folder is None or folder.item.kind is Kind.FOLDER:
            names = self._kept(_key(above, place), max_age_s)
            if names is None and is_plain(name) and above != SHARED_SPACES:
                return None
        found = self._child(folder or self._folder_at(above, place, max_age_s), name, max_age_s)
        if not found.is_folder:
            raise NotADirectory(f"{found.path} is a {found.item.kind.value}")
        return found

    def _found(self, folder: Node | None, above: str, place: str, name: str, max_age_s: float) -> Node:
        """What has the last name of a path."""
        is_collection = folder is not None and folder.item.kind is Kind.COLLECTION
        is_kept = is_collection or self._kept(_key(above, place), max_age_s) is not None
        if is_kept or not is_plain(name) or above == SHARED_SPACES:
            return self._child(folder or self._folder_at(above, place, max_age_s), name, max_age_s)
        true_place = f"{place.rstrip('/')}/{decode_name(name)}"
        item = self._asking.stat(true_place)
        if item is not None and base_name(item) == name:
            return self._noted(Node(child_of(above, name), true_place, item))
        folder = folder or self._folder_at(above, place, max_age_s)
        if item is None and folder.item.kind is Kind.FOLDER:
            raise _nothing(child_of(above, name))
        return self._child(folder, name, max_age_s)

    def _folder_at(self, path: str, place: str, max_age_s: float) -> Node:
        """A folder of whose being there only the names in the path told so far."""
        known = self._known_folder(path, max_age_s)
        if known is not None:
            return known
        there = self._asking.stat(place)
        name = path.rpartition("/")[2]
        if there is None and is_plain(name):
            parent = self.resolve(parent_of(path), max_age_s)
            if parent.item.kind is Kind.FOLDER:
                raise _nothing(path)
            return self._child(parent, name, max_age_s)
        if there is None or base_name(there) != name:
            return self.resolve(path, max_age_s)  # not to be told by its name alone
        if not there.is_folder:
            raise NotADirectory(f"{path} is a {there.kind.value}")
        return self._noted(Node(path, place, there))

    def _known_folder(self, path: str, max_age_s: float) -> Node | None:
        with self._lock:
            node, seen_at_s = self._folders.get(path, (None, 0.0))
        return node if node is not None and self._clock() - seen_at_s < max_age_s else None

    def _noted(self, node: Node) -> Node:
        """Remember a folder that was just seen."""
        if node.is_folder and len(self._folders) < _FOLDERS_MAX:
            with self._lock:
                self._folders[node.path] = (node, self._clock())
        return node

    def _child(self, folder: Node, name: str, max_age_s: float) -> Node:
        path = child_of(folder.path, name)
        item = self._names(folder, max_age_s).get(name)
        if item is None:
            raise _nothing(path)
        return self._node(folder, name, item)

    @staticmethod
    def _node(folder: Node, name: str, item: Item) -> Node:
        return Node(child_of(folder.path, name), f"{folder.place.rstrip('/')}/{item.name}", item)

    # Listing

    def children(self, folder: Node, max_age_s: float) -> list[Node]:
        """What is in a folder, by name. Raises NotADirectory."""
        if folder.path == ROOT:
            return self._visible_tops()
        names = self._names(folder, max_age_s)
        return [self._node(folder, name, names[name]) for name in sorted(names)]

    def fresh_names(self, folder: Node) -> dict[str, Item]:
        """Visible name -> item, asked for now; the length of the answer is all there is."""
        self.forget(folder.place)
        return dict(self._names(folder, 0.0))

    def place_of(self, path: str) -> str:
        """Where a path is on Orion, by its names alone; of the root, what is above everything."""
        try:
            _, place, names = self._anchored(path)
        except NoSuchName:
            return path
        return "/".join([place, *map(decode_name, names)])

    def forget(self, place: str) -> None:
        """Believe nothing of a folder any more, nor of what is below it."""
        with self._lock:
            self._forgotten += 1
            self._listings = {at: kept for at, kept in self._listings.items() if not is_below(at, place)}
            self._folders = {
                path: seen for path, seen in self._folders.items() if not is_below(seen[0].place, place)
            }

    def changed(self, place: str) -> None:
        """Something was put to a place on Orion, or taken from there."""
        self.forget(place)
        with self._lock:
            self._listings.pop(place.rpartition("/")[0], None)

    def forget_all(self) -> None:
        with self._lock:
            self._forgotten += 1
            self._listings, self._folders = {}, {}

    def _visible_tops(self) -> list[Node]:
        """The folders that this account can list."""
        nodes = [Node(name, place, _folder(name)) for name, place in self._tops.items()]
        is_visible = self._asking.together([partial(self._is_visible, node) for node in nodes])
        return sorted(
            (node for node, visible in zip(nodes, is_visible, strict=True) if visible),
            key=lambda node: node.path,
        )

    def _is_visible(self, top: Node) -> bool:
        try:
            count = self._asking.count(top.place)
        except (NoSuchName, AccessDenied):
            return False
        return count > 0 or top.path != SHARED_SPACES

    def _names(self, folder: Node, max_age_s: float) -> Mapping[str, Item]:
        """Visible name -> item of a folder. Raises NotADirectory."""
        if not folder.is_folder:
            raise NotADirectory(f"{folder.path} is a {folder.item.kind.value}")
        key = _key(folder.path, folder.place)
        kept = self._kept(key, max_age_s)
        if kept is not None:
            return kept
        asked_at_s, forgotten = self._clock(), self._forgotten
        names = self._asked(folder)
        with self._lock:
            if forgotten == self._forgotten and len(self._listings) < _FOLDERS_MAX:
                self._listings[key] = _Listing(names, asked_at_s)
        return names

    def _asked(self, folder: Node) -> Mapping[str, Item]:
        if folder.item.kind is Kind.COLLECTION:
            if folder.item.id is None:
                raise InvalidCall(f"{folder.path}: Orion tells no id of the collection")
            return visible_names(self._asking.list_shards(folder.item.id).items)
        rows = self._asking.list_folder(folder.place).items
        if folder.path == SHARED_SPACES:
            return workspace_names(self._workspaces, rows)
        return visible_names(rows)

    def _kept(self, key: str, max_age_s: float) -> Mapping[str, Item] | None:
        with self._lock:
            kept = self._listings.get(key)
        is_good = kept is not None and self._clock() - kept.asked_at_s < max_age_s
        return kept.names if kept is not None and is_good else None


def _folder(name: str) -> Item:
    return Item(Kind.FOLDER, None, name)


def _nothing(path: str) -> NoSuchName:
    return NoSuchName(f"{path}: there is nothing of this name")


def _key(path: str, place: str) -> str:
    """What a listing is kept under: workspaces have two, one by names and one by ids."""
    return path if path == SHARED_SPACES else place

"""Inode numbers for versions, and what the kernel still knows of them; a pure table.

A file's number is a hash of (kind, id), a folder's of its path at first sight: the same at every
mount, except for what this mount has itself written since (`rebind` keeps the number while the id
changes). Only `namespace` changes it. Must not know caches, sessions or what a name means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Generic, TypeVar

from orionfs.errors import Stale
from orionfs.models import InodeNumber, Item, Key, Kind, LocalAttributes
from orionfs.tables.numbers import NumberTable

ROOT_NUMBER = InodeNumber(1)
_NO_ATTRIBUTES = LocalAttributes()
_FOLDER, _SHARD = Kind.FOLDER, Kind.SHARD
_T = TypeVar("_T")

Naming = Callable[[Sequence[Item]], dict[str, Item]]
"""Visible name -> item for one whole folder."""


def number_of(seed: str) -> InodeNumber:
    """A 63-bit number above the root's, from a text that is the same at every mount."""
    digest = hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return InodeNumber(max(2, int.from_bytes(digest, "big") >> 1))


_WORDS = {kind: kind.value for kind in Kind}  # an enum's own attributes are slow to get


class Standing(Enum):
    """Whether an inode has its name. REMOVED: this mount took it, and the kernel knows; OUTDATED: others."""

    ATTACHED = auto()
    REMOVED = auto()
    OUTDATED = auto()


class _Seldom:
    """What differs from the other inodes in few of them: see `Inode`."""

    __slots__ = (
        "anchor",
        "children",
        "holds",
        "local",
        "mtime_ns",
        "name",
        "opens",
        "pins",
        "standing",
        "written_size",
    )

    def __init__(self) -> None:
        self.anchor: str | None = None
        self.children: dict[str, Inode] | None = None
        self.holds = 0
        self.local = _NO_ATTRIBUTES
        self.mtime_ns: int | None = None
        self.name: str | None = None
        self.opens = 0
        self.pins = 0
        self.standing = Standing.ATTACHED
        self.written_size: int | None = None


_COMMON = _Seldom()


class _Own(Generic[_T]):
    """An attribute of an inode that costs memory only where it differs: a folder may list a million files."""

    __slots__ = ("_name",)

    def __set_name__(self, owner: type[object], name: str) -> None:
        self._name = name

    def __get__(self, inode: Inode, owner: type[Inode] | None = None) -> _T:
        value: _T = getattr(inode._seldom, self._name)
        return value

    def __set__(self, inode: Inode, value: _T) -> None:
        if inode._seldom is not _COMMON or getattr(_COMMON, self._name) != value:
            setattr(inode._differing(), self._name, value)


class Inode:
    """One version of a thing at its place in the tree.

    `name` is the visible name below `parent`; a detached inode (unlinked, or replaced elsewhere) keeps
    both but is no child any more. `anchor` is the Orion path of a top of the tree. `lookups` are the
    kernel's, `opens` the handles', `pins` those of changes under way, `holds` those of what is believed of
    a folder or changed in it, which is kept by its number. `written_size` is the size in bytes while the
    contents here are newer than Orion's. `naming` says how the items of a folder are called where that is
    not by their names. Most inodes are files of which nothing but the item is to be said, so the rest of it
    is kept apart and shared by all that have nothing of their own.
    """

    naming: Naming | None = None
    is_view = False
    """True for folders that show what lies elsewhere."""
    given: bytes | None = None
    """The contents of a file that the mount itself has written."""

    __slots__ = ("_item", "_seldom", "lookups", "number", "parent")

    anchor = _Own[str | None]()
    children = _Own["dict[str, Inode] | None"]()  # visible name -> inode
    holds = _Own[int]()
    local = _Own[LocalAttributes]()
    opens = _Own[int]()
    pins = _Own[int]()
    standing = _Own[Standing]()
    written_size = _Own[int | None]()

    def __init__(self, number: InodeNumber, parent: Inode | None, name: str, item: Item) -> None:
        self.number = number
        self.parent = parent
        self.lookups = 0
        self._item = item
        self._seldom = _COMMON
        if name != item.name:
            self._differing().name = name
        if item.is_folder:
            self.children = {}
            self.mtime_ns = item.created_ns

    @property
    def item(self) -> Item:
        """What Orion, or this mount, says of it."""
        return self._item

    @item.setter
    def item(self, item: Item) -> None:
        if self._seldom.name is None and item.name != self._item.name:
            self._differing().name = self._item.name
        self._item = item

    @property
    def name(self) -> str:
        """What it is called below `parent`."""
        name = self._seldom.name
        return self._item.name if name is None else name

    @name.setter
    def name(self, name: str) -> None:
        if self._seldom is not _COMMON or name != self._item.name:
            self._differing().name = name

    @property
    def is_attached(self) -> bool:
        """True while it is a child of its parent."""
        return self._seldom.standing is Standing.ATTACHED

    @property
    def is_ordinary(self) -> bool:
        """True for a file of which there is nothing to be said but its item."""
        return self._seldom is _COMMON

    @property
    def mtime_ns(self) -> int:
        """When its contents or names changed, where `local` does not know better."""
        mtime_ns = self._seldom.mtime_ns
        return self._item.created_ns if mtime_ns is None else mtime_ns

    @mtime_ns.setter
    def mtime_ns(self, mtime_ns: int) -> None:
        self._differing().mtime_ns = mtime_ns

    def _differing(self) -> _Seldom:
        """What is its own, and no longer that of all the others."""
        if self._seldom is _COMMON:
            self._seldom = _Seldom()
        return self._seldom

    def __repr__(self) -> str:
        state = "" if self.is_attached else " detached"
        return f"<Inode {self.number} {self.name!r} {self.item.kind.value}:{self.item.id}{state}>"

    @property
    def is_virtual(self) -> bool:
        """True for folders that exist only in this mount's tree."""
        return self.anchor is None and self.parent is None

    @property
    def is_in_use(self) -> bool:
        return bool(self.lookups or self.opens or self.pins or self.holds or self.children)

    def orion_path(self) -> str:
        """Absolute path on Orion, from true names; Stale for what hangs below no anchor."""
        names: list[str] = []
        inode: Inode = self
        while inode.anchor is None:
            if inode.parent is None:
                raise Stale(f"{self.name!r} has no place on Orion")
            names.append(inode.item.name)
            inode = inode.parent
        top = inode.anchor.rstrip("/")
        return "/".join([top, *reversed(names)]) or "/"

    def path_below(self, true_name: str) -> str:
        """Absolute Orion path of what is called so in this folder."""
        return f"{self.orion_path().rstrip('/')}/{true_name}"

    def local_path(self) -> str:
        """Path below the mount point, for messages."""
        names: list[str] = []
        inode: Inode | None = self
        while inode is not None and inode.parent is not None:
            names.append(inode.name)
            inode = inode.parent
        return "/" + "/".join(reversed(names))


class Top(Inode):
    """A folder of the virtual root that stands for an Orion path; it stays."""

    __slots__ = ("naming",)

    def __init__(self, parent: Inode, name: str, item: Item, orion_path: str, naming: Naming | None) -> None:
        super().__init__(number_of(f"folder:{orion_path}"), parent, name, item)
        self.anchor, self.pins, self.naming = orion_path, 1, naming


class InodeTable:
    """All inodes that the kernel, a handle or a change still needs, by number."""

    def __init__(self, root_item: Item) -> None:
        self.root = Inode(ROOT_NUMBER, None, "", root_item)
        self.root.pins = 1
        self._inodes = NumberTable[Inode]()
        self._inodes.put(ROOT_NUMBER, self.root)
        self._rebound: dict[Key, InodeNumber] = {}  # id written through this mount -> number it keeps

    def __len__(self) -> int:
        return len(self._inodes)

    def __iter__(self) -> Iterator[Inode]:
        return iter(self._inodes)

    def get(self, number: int) -> Inode:
        """The inode of a number the kernel gave. Raises Stale if it is gone."""
        inode = self._inodes.get(number)
        if inode is None:
            raise Stale(f"inode {number} is not known any more")
        return inode

    def find(self, number: InodeNumber) -> Inode | None:
        """The inode of a number, if it is still known."""
        return self._inodes.get(number)

    def has(self, inode: Inode) -> bool:
        """True while an inode is needed and is in its place."""
        return inode.is_attached and self._inodes.get(inode.number) is inode

    def add_top(self, name: str, item: Item, orion_path: str, naming: Naming | None = None) -> Inode:
        """A folder of the virtual root that stands for an Orion path; it stays."""
        assert self.root.children is not None
        inode = Top(self.root, name, item, orion_path, naming)
        self._inodes.put(inode.number, inode)
        self.root.children[name] = inode
        return inode

    def tops(self) -> list[Inode]:
        """The folders that stand for an Orion path of their own."""
        return [self.root] if self.root.anchor is not None else list((self.root.children or {}).values())

    def bind(self, parent: Inode, name: str, item: Item) -> Inode:
        """The inode of `item` under `name`: the one that is there if it is this version, else a new one."""
        children = parent.children
        assert children is not None
        child = children.get(name)
        if child is not None:
            if child.item.is_same_version(item):
                child.item = item if item.size is not None else replace(item, size=child.item.size)
                return child
            self.detach(child)
        inode = Inode(self._preferred(parent, item), parent, name, item)
        elsewhere = self._inodes.claim(inode.number, inode)
        if elsewhere is not inode:
            if not elsewhere.item.is_folder and elsewhere.item.is_same_version(item):
                self.attach(elsewhere, parent, name)
                elsewhere.item = item
                return elsewhere
            self.add(inode)
        children[name] = inode
        return inode

    def bind_seen(self, view: Inode, name: str, item: Item, number: InodeNumber | None = None) -> Inode:
        """The inode of `item` seen under a view; what the tree has stays at its place there.

        `number` is what it would get, where that is not the tree's.
        """
        assert view.children is not None
        child = view.children.get(name)
        if child is not None:
            if child.item.is_same_version(item):
                child.item = item if item.size is not None else replace(item, size=child.item.size)
                return child
            self.detach(child)
        number = number or self._preferred(view, item)
        elsewhere = self._inodes.get(number)
        if elsewhere is not None and elsewhere.is_attached and elsewhere.item.is_same_version(item):
            return elsewhere
        inode = Inode(number, view, name, item)
        self.add(inode)
        view.children[name] = inode
        return inode

    def add(self, inode: Inode) -> None:
        """Know an inode that was made elsewhere; with another number if its own is taken."""
        while self._inodes.claim(inode.number, inode) is not inode:
            inode.number = InodeNumber(inode.number % (2**63 - 1) + 1)

    def attach(self, inode: Inode, parent: Inode, name: str, before: Standing = Standing.OUTDATED) -> None:
        """Make `inode` the child `name` of `parent`, wherever it was; what had the name is detached.

        `before` is how that stands then.
        """
        assert parent.children is not None
        occupant = parent.children.get(name)
        if occupant is not None and occupant is not inode:
            self.detach(occupant, before)
        old_parent = inode.parent
        self._unlink(inode)
        inode.parent, inode.name, inode.standing = parent, name, Standing.ATTACHED
        parent.children[name] = inode
        if old_parent is not None and old_parent is not parent:
            self.collect(old_parent)

    def detach(self, inode: Inode, standing: Standing = Standing.OUTDATED) -> None:
        """Take `inode` out of its parent; it lives on while it is in use."""
        self._unlink(inode)
        inode.standing = standing
        self.collect(inode)

    def rebind(self, inode: Inode, item: Item) -> None:
        """Content written through this mount: another id, the same number."""
        inode.item = item
        if item.key is not None:
            self._rebound[item.key] = inode.number

    def folders_below(self, top: Inode) -> Iterator[Inode]:
        """A folder, and those below it that are known."""
        yield top
        for child in (top.children or {}).values():
            if child.item.kind is Kind.FOLDER:
                yield from self.folders_below(child)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel drops `lookups` references; unknown numbers are ignored."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.lookups = max(0, inode.lookups - lookups)
            self.collect(inode)

    def hold(self, number: InodeNumber) -> None:
        """Something is kept under a folder's number: nobody else gets it until `release`."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.holds += 1

    def release(self, number: InodeNumber) -> None:
        """What was kept under a folder's number is gone."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.holds = max(0, inode.holds - 1)
            self.collect(inode)

    def collect(self, inode: Inode | None) -> None:
        """Drop `inode`, and then its parents, as far as nobody needs them."""
        while inode is not None and not inode.is_in_use:
            number = inode.number
            known = self._inodes.get(number)
            if known is None:
                return
            if known is inode:
                self._inodes.remove(number)
            self._unlink(inode)
            inode = inode.parent

    def usual_number(self, parent: Inode, item: Item) -> InodeNumber:
        """The number that an item gets when it is seen in a folder, unless somebody has it."""
        return self._preferred(parent, item)

    def _preferred(self, parent: Inode, item: Item) -> InodeNumber:
        kind, id = item.kind_and_id
        if kind is _FOLDER:
            return number_of(f"folder:{parent.orion_path().rstrip('/')}/{item.name}")
        if id is None:
            return number_of(f"mark:{item.mark}")
        part = item.collection if kind is _SHARD else None
        kept = self._rebound.get(Key(kind, id, part)) if self._rebound else None
        word = _WORDS[kind] if part is None else f"{_WORDS[kind]}:{part}"
        return kept or number_of(f"{word}:{id}")

    @staticmethod
    def _unlink(inode: Inode) -> None:
        siblings = inode.parent.children if inode.parent is not None else None
        if siblings is not None and siblings.get(inode.name) is inode:
            del siblings[inode.name]

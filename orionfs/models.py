"""Frozen records and identities that all layers share; a leaf.

An `Item` is what Orion (or this mount, before the upload) says of one thing in a folder. Times are
integer nanoseconds since the epoch, sizes are bytes. Nothing here does I/O or knows a library.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple, NewType, Protocol, cast

InodeNumber = NewType("InodeNumber", int)
HandleId = NewType("HandleId", int)

MARK_PREFIX = ".orionfs-"
"""Names of uploads that are not in place yet; never shown to users."""

NAME_MAX_BYTES = 255
"""The kernel's NAME_MAX for a FUSE mount."""


class Holder(Protocol):
    """Whoever keeps the numbers of folders valid while something is kept under them."""

    def hold(self, number: InodeNumber) -> None:
        """Something is kept under a number from now on."""
        ...

    def release(self, number: InodeNumber) -> None:
        """It is not any more; once for each `hold`."""
        ...


class Kind(Enum):
    """What a thing on Orion is; the values are the words of Orion's typed references."""

    FOLDER = "folder"
    FILE = "file"
    DATASET = "dataset"
    COLLECTION = "collection"
    SHARD = "shard"
    OTHER = "other"


_FOLDER, _COLLECTION = Kind.FOLDER, Kind.COLLECTION  # an enum's own attributes are slow to get


class Key(NamedTuple):
    """Identity of one version on Orion: a File and a Dataset of one number are two things.

    `part` tells apart what may share both: of a shard it is the id of its collection, of bytes of a
    dataset, which can change, a number of our own.
    """

    kind: Kind
    id: int
    part: int | None = None

    @property
    def reference(self) -> int | list[int]:
        """What the session's verbs call it: its id, of a shard those of its collection and its own."""
        return [self.part, self.id] if self.kind is Kind.SHARD and self.part is not None else self.id


_Common = tuple[
    Kind, str, str, int | None, int | None, tuple[str, ...] | None, str | None, str, int | None, int | None
]
_COMMONS_MAX = 4096
_commons: dict[_Common, _Common] = {}  # each combination once, however many items have it


@dataclass(frozen=True, init=False)
class Item:
    """One thing in a folder, as a listing row or a `stat` tells it.

    `id` is None for a folder of a stack that gives folders no id, and for a file that is not on Orion
    yet; the latter has a `mark`, the name its upload carries. `size` is None where nobody has told it.
    `literal` is the `resource_type` as received: it is what `assign_paths` gets back. `title` is what
    people call it where a row tells that beside its name: of workspaces. `collection` is the id of the
    collection that a shard is in. `count` is how many records a dataset is told to hold.
    """

    # A mount may hold a million: what many of them have in common is kept once for all, and what differs in
    # one object instead of three.
    __slots__ = ("_common", "_numbers", "name")

    kind: Kind
    id: int | None
    name: str
    size: int | None
    created_ns: int
    literal: str
    state: str
    owner: int | None
    project: int | None
    tags: tuple[str, ...] | None
    mark: str | None
    title: str
    collection: int | None
    count: int | None

    def __init__(
        self,
        kind: Kind,
        id: int | None,
        name: str,
        size: int | None = None,
        created_ns: int = 0,
        literal: str = "",
        state: str = "",
        owner: int | None = None,
        project: int | None = None,
        tags: tuple[str, ...] | None = None,
        mark: str | None = None,
        title: str = "",
        collection: int | None = None,
        count: int | None = None,
    ) -> None:
        common = (kind, literal, state, owner, project, tags, mark, title, collection, count)
        if mark is None and not title:
            common = _commons.get(common) or _shared(common)
        _set_common(self, common)
        _set_numbers(self, _packed(id, size, created_ns))
        _set_name(self, name)

    @property
    def key(self) -> Key | None:
        """Identity on Orion, or None while there is none."""
        numbers, common = _numbers_of(self), _common_of(self)
        id: int | None = numbers[0] if type(numbers) is not bytes else _NUMBERS.unpack(numbers)[0]
        return None if id is None or id == _NONE else Key(common[0], id, common[8])

    @property
    def kind_and_id(self) -> tuple[Kind, int | None]:
        """Both at the price of one."""
        numbers = _numbers_of(self)
        id: int | None = numbers[0] if type(numbers) is not bytes else _NUMBERS.unpack(numbers)[0]
        return _common_of(self)[0], None if id == _NONE else id

    @property
    def size_and_created_ns(self) -> tuple[int | None, int]:
        """Both at the price of one."""
        numbers = _numbers_of(self)
        if type(numbers) is not bytes:
            return self.size, self.created_ns
        _, size, created_ns = _NUMBERS.unpack(numbers)
        return (None if size == _NONE else size), created_ns

    @property
    def is_folder(self) -> bool:
        kind = _common_of(self)[0]
        return kind is _FOLDER or kind is _COLLECTION

    def is_same_version(self, other: Item) -> bool:
        """True if both are one version: equal identity, or the same upload under way."""
        if self.kind is not other.kind:
            return False
        if self.kind is Kind.FOLDER and (self.id is None or other.id is None):
            return self.name == other.name  # this mount made it, or the stack gives folders no id
        if self.id is None or other.id is None:
            return self.id is None and other.id is None and self.mark == other.mark
        return self.id == other.id and self.collection == other.collection

    def renamed(self, name: str) -> Item:
        return replace(self, name=name)


_common_of = Item.__dict__["_common"].__get__
_numbers_of = Item.__dict__["_numbers"].__get__
_set_common = Item.__dict__["_common"].__set__
_set_numbers = Item.__dict__["_numbers"].__set__
_set_name = Item.__dict__["name"].__set__

_NUMBERS = struct.Struct("=qqq")
_NONE = -(2**63)


def _packed(id: int | None, size: int | None, created_ns: int) -> bytes | tuple[int | None, int | None, int]:
    try:
        return _NUMBERS.pack(_NONE if id is None else id, _NONE if size is None else size, created_ns)
    except struct.error:
        return id, size, created_ns  # larger than any stack will tell, and right all the same


def _number(at: int) -> property:
    def get(item: Item) -> int | None:
        numbers = _numbers_of(item)
        if type(numbers) is not bytes:
            return cast("int | None", numbers[at])
        number: int = _NUMBERS.unpack(numbers)[at]
        return None if number == _NONE else number

    return property(get)


def _part(at: int) -> property:
    def get(item: Item) -> Any:
        return _common_of(item)[at]

    return property(get)


for _at, _field in enumerate(("id", "size", "created_ns")):
    setattr(Item, _field, _number(_at))
for _at, _field in enumerate(
    ("kind", "literal", "state", "owner", "project", "tags", "mark", "title", "collection", "count")
):
    setattr(Item, _field, _part(_at))


def _shared(common: _Common) -> _Common:
    if len(_commons) >= _COMMONS_MAX:
        _commons.clear()
    return _commons.setdefault(common, common)


class Attributes(NamedTuple):
    """What `stat` says of an inode, and how long the kernel may believe it (seconds)."""

    number: InodeNumber
    is_directory: bool
    permissions: int
    size: int
    mtime_ns: int
    ctime_ns: int
    entry_valid_s: float
    attributes_valid_s: float


@dataclass(frozen=True, slots=True)
class LocalAttributes:
    """What only this machine knows of an item: the time of its last write here, a chmod."""

    mtime_ns: int | None = None
    permissions: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Who the mount works as: the stack's stable name, user and project."""

    stack: str
    username: str
    user_id: int | None
    project_id: int | None
    project_name: str

    @property
    def home(self) -> str:
        """Orion path of My Data, where an upload lands first."""
        return f"/project/{self.project_id}/user/{self.username}"


class KernelView(Protocol):
    """What the kernel believes of the mount, as far as it must hear of a change made elsewhere.

    Both return at once; what the kernel does not know is ignored.
    """

    def entry_changed(self, parent: InodeNumber, name: str) -> None:
        """A name means something else, or nothing any more. Never for a folder that still exists."""

    def attributes_changed(self, number: InodeNumber) -> None:
        """`stat` says something else of the same version."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """`item` goes to the folder `folder` (absolute Orion path) under the true name `name`."""

    item: Item
    folder: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.folder.rstrip('/')}/{self.name}"

"""What may be done in a collection: when it is open, what its shards are called, how large they may be; pure.

Contents of a shard are final once it is ready: it can't be renamed or written then, and who writes over it
makes another shard, in whose favour the old one goes. Used by whoever changes names or contents; must not
know sessions or requests.
"""

from __future__ import annotations

from orionfs.errors import CrossDevice, FileTooLarge, NotPermitted, ReadOnly
from orionfs.models import MARK_PREFIX, Item, Kind
from orionfs.orion.shapes import READY
from orionfs.orion.shard_calls import SHARD_MAX_BYTES
from orionfs.tables.inodes import Inode

STATES = ("open", "close")
"""States that a collection is set to."""

_CLOSED = frozenset({"close", "closed", READY})
_MARK = f"{MARK_PREFIX}shard-"


def is_open(collection: Item) -> bool:
    """False if it is known that no shards may be added or removed."""
    return collection.state.lower() not in _CLOSED


def is_ready(shard: Item) -> bool:
    """True if the contents of a shard are final."""
    return shard.state.lower() in ("", READY)


def check_open(folder: Inode) -> None:
    """Names in a folder are to change. Raises ReadOnly for a collection that is closed."""
    if folder.item.kind is Kind.COLLECTION and not is_open(folder.item):
        path = folder.local_path()
        raise ReadOnly(f"{path} is closed; to add shards: setfattr -n user.orion.state -v open PATH")


def check_may_hold(folder: Inode, kind: Kind) -> None:
    """Something new is to come into a folder. Raises NotPermitted for a folder in a collection."""
    if folder.item.kind is Kind.COLLECTION and kind in (Kind.FOLDER, Kind.COLLECTION):
        raise NotPermitted(f"{folder.local_path()} is a collection: it holds shards, and no folders")


def check_crossing(source: Inode, parent: Inode, *, is_on_its_way: bool) -> None:
    """A rename that a collection takes part in.

    Raises CrossDevice for what programs then do by copying and removing, NotPermitted for folders. What
    was written here and is not on its way to Orion yet only gets another name.
    """
    check_may_hold(parent, source.item.kind)
    is_shard = source.item.kind is Kind.SHARD
    if not is_shard and parent.item.kind is not Kind.COLLECTION:
        return
    if source.parent is not parent:
        raise CrossDevice(f"{source.local_path()}: shards and files are two kinds of things: copy it")
    if source.item.key is not None or is_on_its_way:
        raise CrossDevice(f"{source.local_path()}: Orion gives a shard no other name: copy it")


def check_size(inode: Inode, size: int) -> None:
    """A file is to get so many bytes. Raises FileTooLarge for a shard."""
    if inode.item.kind is Kind.SHARD and size > SHARD_MAX_BYTES:
        raise FileTooLarge(f"{inode.local_path()}: a shard has at most {SHARD_MAX_BYTES} bytes")


def mark_for(folder: Item, mark: str) -> str:
    """The mark of an upload into a folder; into a collection it names that, by its id."""
    if folder.kind is not Kind.COLLECTION:
        return mark
    return f"{_MARK}{folder.id}-{mark.removeprefix(MARK_PREFIX)}"


def collection_of(mark: str) -> int | None:
    """The id of the collection that an upload of this mark goes to; None: it goes to a folder."""
    number = mark.removeprefix(_MARK).partition("-")[0] if mark.startswith(_MARK) else ""
    return int(number) if number.isdecimal() else None


def new_item(name: str, size: int, created_ns: int, mark: str) -> Item:
    """What was written here for a folder or a collection, and is not on Orion yet."""
    collection = collection_of(mark)
    kind = Kind.FILE if collection is None else Kind.SHARD
    return Item(kind, None, name, size, created_ns, kind.value, tags=(), mark=mark, collection=collection)

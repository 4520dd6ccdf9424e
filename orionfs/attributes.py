"""The `user.orion.*` extended attributes of the tree.

Only names are decided here; what they read and write is the namespace's, and of `sync` and `error` what
`progress` and `reports` tell of the inode. Foreign namespaces and unknown
names are answered without a request: ENOTSUP outside `user.` (the kernel then stops asking for the
whole mount), ENODATA inside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from orionfs.collecting import Collecting
from orionfs.errors import (
    CrossDevice,
    InvalidCall,
    NoSuchAttribute,
    NotPermitted,
    NotSupported,
    NotUnicode,
    TooLong,
)
from orionfs.inodes import Inode
from orionfs.models import Kind
from orionfs.namespace import Namespace
from orionfs.places import place_of
from orionfs.progress import Progress
from orionfs.reports import Reports

_PREFIX = "user.orion."
_TAGS = "tags"
_TAG = "tag."
_SYNC = "sync"
_RETRY = b"retry"
_ERROR = "error"
_STATE = "state"
_VALUE_MAX_BYTES = 65536  # XATTR_SIZE_MAX of the kernel


class ExtendedAttributes:
    """Reads and changes the attributes of inodes."""

    def __init__(
        self, namespace: Namespace, collecting: Collecting, progress: Progress, reports: Reports
    ) -> None:
        self._namespace = namespace
        self._collecting = collecting
        self._progress = progress
        self._reports = reports
        self._readers: dict[str, Callable[[Inode], Awaitable[str | None]]] = {
            "id": self._id,
            "type": self._type,
            "path": self._path,
            "name": self._name,
            _STATE: self._state,
            _TAGS: self._tags,
            _SYNC: self._sync,
            _ERROR: self._error,
        }

    async def get(self, inode: Inode, raw_name: bytes) -> bytes:
        """The value of an attribute. Raises NoSuchAttribute, NotSupported, TooLong."""
        name = _own_name(raw_name)
        if name is None:
            raise NoSuchAttribute(raw_name.decode("utf-8", "replace"))
        if name.startswith(_TAG):
            if name.removeprefix(_TAG) in await self._namespace.tags(inode):
                return b""
            raise NoSuchAttribute(_PREFIX + name)
        reader = self._readers.get(name)
        value = await reader(inode) if reader is not None else None
        if value is None:
            raise NoSuchAttribute(_PREFIX + name)
        encoded = value.encode()
        if len(encoded) > _VALUE_MAX_BYTES:
            raise TooLong(f"{_PREFIX}{name} of {inode.local_path()} has {len(encoded)} bytes")
        return encoded

    async def list(self, inode: Inode) -> list[bytes]:
        """The names that may travel with a copy: the tags of an item that has some."""
        is_tagged = inode.parent is not None and inode.anchor is None and await self._namespace.tags(inode)
        return [f"{_PREFIX}{_TAGS}".encode()] if is_tagged else []

    async def set(self, inode: Inode, raw_name: bytes, value: bytes) -> None:
        """Tag, replace all tags, or ask for another attempt to upload.

        Raises NotPermitted for what is read-only, NotSupported, InvalidCall.
        """
        name = _own_name(raw_name)
        if name is None:
            raise NotSupported(f"{raw_name.decode('utf-8', 'replace')}: Orion keeps no such attribute")
        if name.startswith(_TAG):
            await self._namespace.change_tags(_taggable(inode), (_tag(name.removeprefix(_TAG)),), ())
        elif name == _TAGS:
            await self._replace_tags(_taggable(inode), parse_tags(value))
        elif name == _SYNC:
            self._retry(inode, value)
        elif name == _STATE and inode.item.kind is Kind.COLLECTION:
            await self._collecting.set_state(inode, _text(value))
        elif name in self._readers:
            raise NotPermitted(f"{_PREFIX}{name} is read-only")
        else:
            raise NotSupported(f"{_PREFIX}{name}: no such attribute")

    async def remove(self, inode: Inode, raw_name: bytes) -> None:
        """Untag, or forget the last error. Raises NoSuchAttribute, NotPermitted."""
        name = _own_name(raw_name)
        if name == _TAGS:
            await self._replace_tags(_taggable(inode), ())
        elif name is not None and name.startswith(_TAG):
            await self.get(inode, raw_name)
            await self._namespace.change_tags(_taggable(inode), (), (name.removeprefix(_TAG),))
        elif name == _ERROR:
            await self.get(inode, raw_name)
            self._reports.clear(inode.number, inode.item.key)
        elif name in self._readers:
            raise NotPermitted(f"{_PREFIX}{name} is read-only")
        else:
            raise NoSuchAttribute(raw_name.decode("utf-8", "replace"))

    async def _replace_tags(self, inode: Inode, tags: tuple[str, ...]) -> None:
        before = await self._namespace.tags(inode)
        add = tuple(tag for tag in tags if tag not in before)
        remove = tuple(tag for tag in before if tag not in tags)
        await self._namespace.change_tags(inode, add, remove)

    async def _id(self, inode: Inode) -> str | None:
        if inode.item.id is None and inode.item.is_folder and inode.anchor is None and not inode.is_virtual:
            return await self._folder_id(inode)
        return None if inode.item.id is None else str(inode.item.id)

    async def _folder_id(self, inode: Inode) -> str | None:
        try:
            return str((await self._namespace.folder_with_id(inode)).id)
        except CrossDevice:
            return None  # this stack gives folders none

    async def _type(self, inode: Inode) -> str:
        kind = inode.item.kind  # a stack's own word for what we know would be another one on each stack
        return inode.item.literal if kind is Kind.OTHER and inode.item.literal else kind.value

    async def _path(self, inode: Inode) -> str | None:
        is_place_known = not inode.is_virtual and (inode.parent is None or not inode.parent.is_view)
        return inode.orion_path() if is_place_known else None

    async def _name(self, inode: Inode) -> str | None:
        return inode.item.name or None

    async def _sync(self, inode: Inode) -> str:
        return self._progress.of(inode)

    def _retry(self, inode: Inode, value: bytes) -> None:
        if value.strip() != _RETRY:
            raise InvalidCall(f"{_PREFIX}{_SYNC} of {inode.local_path()}: it takes the word 'retry' alone")
        self._progress.retry(inode)

    async def _error(self, inode: Inode) -> str | None:
        report = self._reports.last(inode.number, inode.item.key)
        return report.text() if report is not None else None

    async def _state(self, inode: Inode) -> str | None:
        return inode.item.state or None

    async def _tags(self, inode: Inode) -> str | None:
        if inode.anchor is not None or inode.parent is None:
            return None
        return format_tags(await self._namespace.tags(inode))


def format_tags(tags: tuple[str, ...]) -> str:
    """Tags one a line; a newline or backslash inside a tag is escaped with a backslash."""
    return "\n".join(tag.replace("\\", "\\\\").replace("\n", "\\n") for tag in tags)


def parse_tags(value: bytes) -> tuple[str, ...]:
    """Inverse of `format_tags`; empty lines are no tags. Raises NotUnicode."""
    return tuple(_unescape(line) for line in _text(value).split("\n") if line)


def _unescape(line: str) -> str:
    return line.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")


def _own_name(raw_name: bytes) -> str | None:
    """The part after `user.orion.`; None for other `user.` names. Raises NotSupported for foreign ones."""
    name = _text(raw_name)
    if not name.startswith("user."):
        raise NotSupported(f"{name}: only user.orion.* is kept")
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None


def _tag(tag: str) -> str:
    if not tag:
        raise InvalidCall("a tag needs a text: user.orion.tag.TEXT")
    return tag


def _taggable(inode: Inode) -> Inode:
    place_of(inode)
    if inode.item.kind is Kind.SHARD:
        raise NotSupported(f"{inode.local_path()}: Orion keeps no tags of shards")
    return inode


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise NotUnicode("names and values of attributes are UTF-8") from None

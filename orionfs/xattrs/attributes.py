"""The `user.orion.*` extended attributes of the tree.

Only names are decided here: what they read and change is that of `item_attributes`, `sharing`, the
namespace, and of `sync` and `error` of `progress` and `reports`. Foreign namespaces and unknown names are
answered without a request: ENOTSUP outside `user.` (the kernel then stops asking for the whole mount),
ENODATA inside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orionfs.errors import InvalidCall, NoSuchAttribute, NotPermitted, NotSupported
from orionfs.models import Kind
from orionfs.reports import Reports
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import place_of
from orionfs.vfs.collecting import Collecting
from orionfs.vfs.progress import Progress
from orionfs.xattrs import attribute_text as text
from orionfs.xattrs.attribute_text import PREFIX, SHARE, SHARES, TAG, TAGS
from orionfs.xattrs.item_attributes import ItemAttributes
from orionfs.xattrs.sharing import Sharing

_SYNC, _ERROR, _STATE, _LINK = "sync", "error", "state", "link"
_RETRY = b"retry"

Reader = Callable[[Inode], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Whoever knows what attributes say, and changes it."""

    namespace: Namespace
    items: ItemAttributes
    sharing: Sharing
    collecting: Collecting
    progress: Progress
    reports: Reports


class ExtendedAttributes:
    """Reads and changes the attributes of inodes."""

    def __init__(self, sources: Sources, *, lists_all: bool = False) -> None:
        """`lists_all`: every attribute that has a value is listed, not only what may travel with a copy."""
        self._namespace, self._sharing = sources.namespace, sources.sharing
        self._collecting = sources.collecting
        self._progress, self._reports = sources.progress, sources.reports
        self._lists_all = lists_all
        items = sources.items
        self._readers: dict[str, Reader] = {
            "id": items.id,
            "type": items.type,
            "uri": items.uri,
            "path": items.path,
            "name": items.name,
            "owner": items.owner,
            "project": items.project,
            "created": items.created,
            _STATE: items.state,
            "count": items.count,
            "audience": items.audience,
            TAGS: self._tags,
            SHARES: self._shares,
            "metadata": items.metadata,
            _LINK: items.link,
            _SYNC: self._sync,
            _ERROR: self._error,
        }

    async def get(self, inode: Inode, raw_name: bytes) -> bytes:
        """The value of an attribute. Raises NoSuchAttribute, NotSupported, TooLong."""
        name = text.own_name(raw_name)
        value = await self._read(inode, name) if name is not None else None
        if name is None or value is None:
            raise NoSuchAttribute(text.text_of(raw_name))
        return text.bytes_of(name, value, inode.local_path())

    async def _read(self, inode: Inode, name: str) -> str | None:
        if name.startswith(TAG):
            return "" if name.removeprefix(TAG) in await self._tags_of(inode) else None
        named = text.named_in(name)
        if named is not None:
            permissions = await self._sharing.permissions(inode, named)
            return text.format_permissions(permissions) if permissions is not None else None
        reader = self._readers.get(name)
        return await reader(inode) if reader is not None else None

    async def list(self, inode: Inode) -> list[bytes]:
        """The names that may travel with a copy: the tags of an item that has some; or all, if so asked."""
        tags = await self._tags_of(inode)
        found = [TAGS] if tags and text.fits(text.format_tags(tags)) else []
        if not self._lists_all:
            return text.listed(found)
        for name, reader in self._readers.items():
            value = await reader(inode) if name not in (TAGS, _LINK) else None
            if value is not None and text.fits(value):
                found.append(name)
        known = await self._sharing.of(inode)
        for share in known.shares if known is not None else ():
            who = share.name if share.partner == "user" and share.name else str(share.id)
            found.append(f"{SHARE}{share.partner}.{who}")
        return text.listed([*found, *(f"{TAG}{tag}" for tag in tags)])

    async def set(self, inode: Inode, raw_name: bytes, value: bytes) -> None:
        """Tag, replace all tags, share, open or close, or ask for another attempt to upload.

        Raises NotPermitted for what is read-only, NotSupported, InvalidCall.
        """
        name = text.own_name(raw_name)
        if name is None:
            raise NotSupported(f"{text.text_of(raw_name)}: Orion keeps no such attribute")
        named = text.named_in(name)
        if name.startswith(TAG):
            await self._namespace.change_tags(_taggable(inode), (text.tag_of(name),), ())
        elif named is not None:
            await self._sharing.share(inode, named, text.parse_permissions(value))
        elif name == TAGS:
            await self._replace_tags(_taggable(inode), text.parse_tags(value))
        elif name == _SYNC:
            self._retry(inode, value)
        elif name == _STATE and inode.item.kind is Kind.COLLECTION:
            await self._collecting.set_state(inode, text.text_of(value))
        elif name in self._readers:
            raise NotPermitted(f"{PREFIX}{name} is read-only")
        else:
            raise NotSupported(f"{PREFIX}{name}: no such attribute")

    async def remove(self, inode: Inode, raw_name: bytes) -> None:
        """Untag, unshare, or forget the last error. Raises NoSuchAttribute, NotPermitted."""
        name = text.own_name(raw_name)
        named = text.named_in(name) if name is not None else None
        if name == TAGS:
            await self._replace_tags(_taggable(inode), ())
        elif name is not None and name.startswith(TAG):
            await self._untag(inode, text.tag_of(name))
        elif named is not None:
            await self._unshare(inode, named)
        elif name == _ERROR:
            await self.get(inode, raw_name)
            self._reports.clear(inode.number, inode.item.key)
        elif name in self._readers:
            raise NotPermitted(f"{PREFIX}{name} is read-only")
        else:
            raise NoSuchAttribute(text.text_of(raw_name))

    async def _unshare(self, inode: Inode, named: text.Named) -> None:
        if not await self._sharing.unshare(inode, named):
            raise NoSuchAttribute(f"{inode.local_path()} is not shared with {named}")

    async def _untag(self, inode: Inode, tag: str) -> None:
        """Orion hears of it whatever is believed here: somebody else may have added the tag meanwhile."""
        was_there = tag in await self._tags_of(inode)
        if _may_have_tags(inode):
            await self._namespace.change_tags(_taggable(inode), (), (tag,))
        if not was_there:
            raise NoSuchAttribute(f"{inode.local_path()} had no tag {tag}")

    async def _replace_tags(self, inode: Inode, tags: tuple[str, ...]) -> None:
        before = await self._namespace.tags(inode)
        remove = tuple(tag for tag in before if tag not in tags)
        # With nothing new among them they are set all the same: others may have taken them away.
        is_to_be_sent = not remove or not set(tags) <= set(before)
        await self._namespace.change_tags(inode, tags if is_to_be_sent else (), remove)

    async def _tags(self, inode: Inode) -> str | None:
        return text.format_tags(await self._tags_of(inode)) if _may_have_tags(inode) else None

    async def _tags_of(self, inode: Inode) -> tuple[str, ...]:
        return await self._namespace.tags(inode) if _may_have_tags(inode) else ()

    async def _shares(self, inode: Inode) -> str | None:
        known = await self._sharing.of(inode)
        return None if known is None else text.format_shares(known.shares, is_all=known.is_all)

    async def _sync(self, inode: Inode) -> str:
        return self._progress.of(inode)

    def _retry(self, inode: Inode, value: bytes) -> None:
        if value.strip() != _RETRY:
            raise InvalidCall(f"{PREFIX}{_SYNC} of {inode.local_path()}: it takes the word 'retry' alone")
        self._progress.retry(inode)

    async def _error(self, inode: Inode) -> str | None:
        report = self._reports.last(inode.number, inode.item.key)
        return report.text() if report is not None else None


def _may_have_tags(inode: Inode) -> bool:
    """True for what is no part of the mount itself, and of a kind that Orion tags."""
    is_of_mount = inode.parent is None or inode.anchor is not None or inode.is_view or inode.given is not None
    return not is_of_mount and inode.item.kind is not Kind.SHARD


def _taggable(inode: Inode) -> Inode:
    place_of(inode)
    if inode.item.kind is Kind.SHARD:
        raise NotSupported(f"{inode.local_path()}: Orion keeps no tags of shards")
    return inode

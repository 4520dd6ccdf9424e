"""`orion://` for everything that reads through fsspec. One door for fsspec, together with `files`.

Turns paths into nodes, nodes into what fsspec calls info, and errors into Python's; what is done is
`filing`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem

from orionfs.errors import InvalidCall, IsADirectory, NameExists
from orionfs.fs import paths
from orionfs.fs.access import Access, access_of
from orionfs.fs.bulk import Bulk
from orionfs.fs.errors import in_python
from orionfs.fs.files import OrionReader, OrionWriter
from orionfs.fs.filing import Filing
from orionfs.fs.tree import Node
from orionfs.models import Kind

_LISTINGS_AGE_S = 30.0  # what a mount believes as well


class _Maker(type(AbstractFileSystem)):  # type: ignore[misc]  # fsspec has no types
    """Filesystems of a session object are not shared: two sessions may look the same in print."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if options.get("session") is not None:
            options["skip_instance_cache"] = True
        return super().__call__(*args, **options)


class OrionFileSystem(AbstractFileSystem, metaclass=_Maker):  # type: ignore[misc]  # fsspec has no types
    """Files, datasets and collections on Orion, by the names that a mount shows.

    `profile` is a profile of orionfs or of OpenEye's client (None: ORIONFS_URL with ORIONFS_TOKEN, else
    ORION_PROFILE, else "default"); `session` is a session object to work with instead, of our client or of
    any other one that has the documented methods. `auto_mkdir`: folders that a new file lacks are made.
    Listings are believed for `listings_expiry_time` seconds (0 or `use_listings_cache=False`: never).
    """

    protocol = paths.PROTOCOL
    root_marker = paths.ROOT
    blocksize = 2**22

    def __init__(
        self,
        profile: str | None = None,
        *,
        session: Any = None,
        auto_mkdir: bool = False,
        use_listings_cache: bool = True,
        listings_expiry_time: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.profile, self.auto_mkdir = profile, auto_mkdir
        self._session, self._pid, self._bulk = session, os.getpid(), Bulk()
        age_s = _LISTINGS_AGE_S if listings_expiry_time is None else listings_expiry_time
        self._max_age_s = age_s if use_listings_cache else 0.0

    @property
    def access(self) -> Access:
        """The account, opened when it is first needed. Raises StartupError."""
        if self._session is not None and self._pid != os.getpid():
            raise InvalidCall("a session object can't be used in a forked process: give a profile instead")
        return access_of(self.profile, self._session)

    @property
    def _filing(self) -> Filing:
        return Filing(self.access, self._max_age_s, self.auto_mkdir)

    @property
    def fsid(self) -> str:
        """Which Orion this is, and whose."""
        with in_python(""):
            account = self.access.account
        return f"{paths.PROTOCOL}_{account.stack}_{account.username}_{account.project_id}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return paths.stripped(os.fspath(path))

    @classmethod
    def _parent(cls, path: str) -> str:
        return paths.parent_of(paths.stripped(path))

    def __reduce__(self) -> Any:
        if self._session is not None:
            raise TypeError("a filesystem on a session object can't be pickled: give a profile instead")
        return super().__reduce__()

    # Looking

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """What is at a path: name, size, type, created, and Orion's kind, id, uri, state, tags."""
        path = self._strip_protocol(path)
        with in_python(path):
            return info_of(self._filing.node(path))

    def exists(self, path: str, **_options: Any) -> bool:
        """Whether there is something at a path; what can't be found out is an error, not an absence."""
        try:
            self.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def ls(self, path: str, detail: bool = True, refresh: bool = False, **_options: Any) -> list[Any]:
        """What is in a folder or a collection; of a file, itself. `refresh`: as it is now."""
        path = self._strip_protocol(path)
        with in_python(path):
            if refresh:
                self.invalidate_cache(path)
            filing = self._filing
            node = filing.node(path)
            nodes = filing.children(node) if node.is_folder else [node]
            return [info_of(each) if detail else each.path for each in nodes]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **options: Any,
    ) -> Any:
        """All files below a path; the folders of one depth are listed at the same time."""
        path = self._strip_protocol(path)
        if self._max_age_s > 0:
            with in_python(path):
                self._filing.list_ahead(path, maxdepth)
        return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **options)

    def du(self, path: str, total: bool = True, maxdepth: int | None = None, **options: Any) -> Any:
        """Bytes of the files below a path; of datasets, which tell no size, none."""
        found = self.find(path, maxdepth=maxdepth, detail=True, **options)
        sizes = {name: info["size"] or 0 for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def created(self, path: str) -> datetime | None:
        """When it was made; contents on Orion never change, so `modified` is the same."""
        moment: datetime | None = self.info(path)["created"]
        return moment

    modified = created

    def ukey(self, path: str) -> str:
        """Stands for the contents: other contents have another id."""
        info = self.info(path)
        return f"{info.get('uri', info['name'])}-{info['created']}-{info['size']}"

    checksum = ukey

    def invalidate_cache(self, path: str | None = None) -> None:
        """Believe nothing of a folder and of what is below it, or of anything."""
        super().invalidate_cache(path)
        with in_python(path or ""):
            tree = self.access.tree
            if path is None:
                tree.forget_all()
            else:
                tree.forget(tree.place_of(self._strip_protocol(path)))

    # Files

    def _open(self, path: str, mode: str = "rb", **options: Any) -> OrionReader | OrionWriter:
        kept = {key: options[key] for key in ("block_size", "autocommit") if key in options}
        with in_python(path):
            filing = self._filing
            if mode == "rb":
                node = filing.node(path)
                _check_file(node)
                return OrionReader(self, path, node, info_of(node), **kept)
            if mode not in ("wb", "ab", "xb"):
                raise ValueError(f"{path}: mode {mode!r}: files are read (r), written (w, x), continued (a)")
            if mode == "xb":
                filing.place_for(path, is_new=True)
            elif not self.auto_mkdir:
                filing.folder_for(path)
        return OrionWriter(self, path, mode, **kept)

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | list[int],
        ends: int | list[int],
        on_error: str = "return",
        **_options: Any,
    ) -> list[Any]:
        """The ranges of files, several at a time; an error stands in its place, or is raised ("raise").

        Options such as `max_gap` change nothing: what is fetched is fetched in parts anyhow.
        """
        firsts = starts if isinstance(starts, list) else [starts] * len(paths)
        lasts = ends if isinstance(ends, list) else [ends] * len(paths)

        def read(path: str, start: int, end: int) -> bytes | OSError:
            try:
                data: bytes = self.cat_file(path, start, end)
            except OSError as error:
                if on_error == "raise":
                    raise
                return error
            return data

        with in_python(""):
            together = self.access.asking.together
        return together([partial(read, *each) for each in zip(paths, firsts, lasts, strict=True)])

    def put_in_place(self, local: Path, path: str, *, is_new: bool) -> None:
        """What was written becomes a version on Orion, and what is cached of it."""
        with in_python(path):
            self._filing.put(local, path, is_new=is_new, keeps_local=False)

    def get(self, rpath: Any, lpath: Any, *args: Any, **options: Any) -> None:
        """Copy to local files, several at a time unless a `callback` wants to see each."""
        self._together(partial(super().get, rpath, lpath, *args, **options), options)

    def put(self, lpath: Any, rpath: Any, *args: Any, **options: Any) -> None:
        """Copy local files to Orion, several at a time unless a `callback` wants to see each."""
        self._together(partial(super().put, lpath, rpath, *args, **options), options)

    def _together(self, ask: Callable[[], Any], options: dict[str, Any]) -> None:
        if "callback" in options:
            ask()
            return
        with in_python(""):
            access = self.access
        self._bulk.run(access, ask)

    def get_file(self, rpath: str, lpath: Any = None, **options: Any) -> None:
        """Copy one file to a local one; of a folder, make one."""
        get = partial(super().get_file, rpath, lpath, **options)
        if self.isdir(rpath) or not self._bulk.take(get):
            get()

    def put_file(
        self,
        lpath: str,
        rpath: str,
        callback: Any = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **_options: Any,
    ) -> None:
        """Upload a local file, without a copy of it; a local folder is made."""
        path = self._strip_protocol(rpath)
        put = partial(self._put_file, Path(lpath), path, callback, is_new=mode == "create")
        if not os.path.isdir(lpath):
            if not self._bulk.take(put):
                put()
            return
        with in_python(path):
            self._filing.make_folders(path)

    def _put_file(self, local: Path, path: str, callback: Any, *, is_new: bool) -> None:
        with in_python(path):
            filing, size = self._filing, local.stat().st_size
            callback.set_size(size)
            filing.make_folders(paths.parent_of(path))
            filing.put(local, path, is_new=is_new, keeps_local=True)
            callback.relative_update(size)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Set the contents of a file; `mode` "create": it must be new."""
        with self.open(path, "xb" if mode == "create" else "wb", **options) as file:
            file.write(value)

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        """Copy a file, whose bytes come and go for that; of a folder, make one."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with in_python(source):
            filing = self._filing
            node = filing.node(source)
            if node.is_folder:
                filing.make_folders(target)
            else:
                filing.copy(node, target)

    # Folders

    def mkdir(self, path: str, create_parents: bool = True, **_options: Any) -> None:
        """Make a folder, with those above it that are missing. Raises FileExistsError."""
        path = self._strip_protocol(path)
        with in_python(path):
            filing = self._filing
            if filing.try_node(path) is not None:
                raise NameExists(f"{path} is there already")
            if create_parents:
                filing.make_folders(paths.parent_of(path))
            filing.make_folder(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder, with those above it that are missing. Raises FileExistsError unless `exist_ok`."""
        path = self._strip_protocol(path)
        with in_python(path):
            if not self._filing.make_folders(path) and not exist_ok:
                raise NameExists(f"{path} is there already")

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        path = self._strip_protocol(path)
        with in_python(path):
            filing = self._filing
            filing.remove_folder(filing.node(path))

    # Removing and moving

    def _rm(self, path: str) -> None:
        path = self._strip_protocol(path)
        with in_python(path):
            filing = self._filing
            node = filing.node(path)
            if node.item.kind is Kind.FOLDER:
                filing.remove_folder(node)
            else:
                filing.remove_item(node)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files; with `recursive` folders with all that is in them. A collection goes as a whole."""
        if maxdepth is not None:
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for found in self.expand_path(path):
            with in_python(found):
                filing = self._filing
                node = filing.node(found)
                if node.is_folder and not recursive:
                    raise IsADirectory(f"{found} is a folder: recursive=True removes it with all in it")
                filing.remove_all(node)

    def mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **options: Any
    ) -> None:
        """Move by name, without touching contents: one call, for a folder as well where Orion can.

        A folder at `path2` takes what is moved. Lists and patterns are copied and removed.
        """
        if maxdepth is not None or not _is_one(path1) or isinstance(path2, list):
            super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)
            return
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with in_python(source):
            filing = self._filing
            node, there = filing.node(source), filing.try_node(target)
            if os.fspath(path2).endswith("/") or (there is not None and there.is_folder and there != node):
                target = paths.child_of(target, paths.name_of(source))
            if target != source:
                filing.move(node, target)


def info_of(node: Node) -> dict[str, Any]:
    """What fsspec calls info; `size` is None where Orion tells none."""
    item = node.item
    info: dict[str, Any] = {
        "name": node.path,
        "size": 0 if node.is_folder else item.size,
        "type": "directory" if node.is_folder else "file",
        "kind": item.kind.value,
        "created": datetime.fromtimestamp(item.created_ns / 1e9, UTC) if item.created_ns else None,
    }
    if item.key is not None:
        info |= {"id": item.id, "uri": f"{item.kind.value}://{item.id}"}
    more = {"state": item.state or None, "owner": item.owner, "project": item.project, "tags": item.tags}
    return info | {name: value for name, value in more.items() if value is not None}


def _is_one(path: Any) -> bool:
    return not isinstance(path, list) and not any(char in os.fspath(path) for char in "*?[")


def _check_file(node: Node) -> None:
    if node.is_folder:
        raise IsADirectory(f"{node.path} is a {node.item.kind.value}")

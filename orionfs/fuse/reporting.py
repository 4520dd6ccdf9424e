"""What a handler of the kernel's requests was about: its error is logged so, and can be asked for there.

Each error has one line of the log, with operation, path and inode; a mistake of ours has its traceback.
What a program expects to hear now and then, such as that a name is not there, is no error to be kept;
nor is the ESTALE that the kernel answers itself by looking the name up again. Must not know errno.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orionfs.errors import LocalDiskError, OrionFsError, Stale, Unexpected
from orionfs.printable import printable
from orionfs.reports import Reports
from orionfs.tables.inodes import Inode, InodeTable

# Under its name the boundary is known to those who read logs.
log = logging.getLogger("orionfs.fuse.boundary")

_SUBJECTS = {"fh", "inode", "parent_inode", "name", "parent_inode_old", "name_old"}
_DIRECTORY_CALLS = frozenset({"readdir", "releasedir", "fsyncdir"})


def arguments_of(handler: Callable[..., Any]) -> Mapping[str, int]:
    """Where the arguments of a handler are that tell what it is about, by name."""
    return {name: at for at, name in enumerate(inspect.signature(handler).parameters) if name in _SUBJECTS}


class Reporter:
    """Notes the errors of handlers where their subjects are asked for them."""

    def __init__(
        self,
        reports: Reports,
        inodes: InodeTable,
        inode_of_file: Callable[[int], Inode | None],
        inode_of_directory: Callable[[int], Inode | None],
    ) -> None:
        """The last two tell what an open handle is for: files and directories have numbers of their own."""
        self._reports = reports
        self._inodes = inodes
        self._inode_of_file = inode_of_file
        self._inode_of_directory = inode_of_directory

    def failed(
        self,
        call: str,
        arguments: Mapping[str, int],
        args: Sequence[Any],
        error: OrionFsError,
        raised: Exception,
    ) -> None:
        """The handler `call` failed; `arguments` says where among `args` its subject is.

        `raised` is what it raised, of which `error` was made.
        """
        given = {name: args[at] for name, at in arguments.items()}
        if log.isEnabledFor(error.log_level):
            self._log(call, given, error, raised)
        self._note(call, given, error)

    def _log(self, call: str, given: Mapping[str, Any], error: OrionFsError, raised: Exception) -> None:
        subject, path = self._where(call, given)
        about = {"operation": call, "path": path, "inode": subject.number if subject is not None else None}
        is_ours = isinstance(error, Unexpected | LocalDiskError) and raised is not error
        stack = raised if is_ours else None
        where = path if path is not None else f"inode {given.get('inode', given.get('fh'))}"
        log.log(
            error.log_level,
            "%s %s: %s",
            call,
            printable(where),
            error,
            exc_info=stack,
            extra={"about": about},
        )

    def _where(self, call: str, given: Mapping[str, Any]) -> tuple[Inode | None, str | None]:
        """The inode and the path below the mount point; a name that means nothing is in its folder."""
        subject = self._subject(call, given)
        if subject is None:
            return None, None
        name = given.get("name", given.get("name_old"))
        folder = given.get("parent_inode", given.get("parent_inode_old"))
        path = subject.local_path()
        if subject.number == folder and name is not None:
            path = f"{path.rstrip('/')}/{name.decode('utf-8', 'replace')}"
        return subject, path

    def _note(self, call: str, given: Mapping[str, Any], error: OrionFsError) -> None:
        is_told_nobody = isinstance(error, Stale) and given.get("fh") is None
        subject = self._subject(call, given) if error.log_level > logging.DEBUG else None
        if subject is not None and not is_told_nobody:
            self._reports.note(subject.number, call, error)

    def _subject(self, call: str, given: Mapping[str, Any]) -> Inode | None:
        """What a handler was about: for a name that means nothing, the folder."""
        handle = given.get("fh")
        if handle is not None:
            of_handle = self._inode_of_directory if call in _DIRECTORY_CALLS else self._inode_of_file
            return of_handle(handle)
        if "inode" in given:
            return self._inodes.find(given["inode"])
        folder = self._inodes.find(given.get("parent_inode", given.get("parent_inode_old", 0)))
        name: bytes = given.get("name", given.get("name_old", b""))
        children = folder.children if folder is not None else None
        return children.get(name.decode("utf-8", "replace"), folder) if children else folder

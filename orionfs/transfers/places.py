"""What people mean by the words that name a place on Orion: a path, a typed reference, a top folder.

Pure. What lies below a mount is found out by the command line, which asks the mount. Knows no session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from orionfs.errors import ExitStatus, StartupError
from orionfs.models import Account, Key, Kind

_REFERENCE = re.compile(r"(file|dataset|collection)://(\d+)")
_ROOTS = ("/project/", "/organization")
_TOPS = ("my-data", "team-data", "organization")


@dataclass(frozen=True, slots=True)
class OrionPath:
    """An absolute path on Orion, or one below a folder at the top of a mount ("my-data/hits")."""

    text: str

    def of(self, account: Account) -> str:
        """The absolute path that it is for an account."""
        top, _, rest = self.text.partition("/")
        tops = {"my-data": account.home, "team-data": f"/project/{account.project_id}/team"}
        folder = tops.get(top, f"/{top}" if top else "")
        return f"{folder}/{rest}" if rest else folder


Place: TypeAlias = OrionPath | Key
"""Where something is on Orion, or what it is."""


def read_place(text: str) -> Place:
    """What somebody means who names a place on Orion. Raises StartupError with status USAGE."""
    reference = _REFERENCE.fullmatch(text)
    if reference is not None:
        return Key(Kind(reference[1]), int(reference[2]))
    path = text.rstrip("/")
    names = path.split("/")
    is_whole = path.startswith(_ROOTS) and not any(name in ("", ".", "..") for name in names[1:])
    is_below_top = names[0] in _TOPS and not any(name in ("", ".", "..") for name in names)
    if not (is_whole or is_below_top) or "\0" in text:
        raise StartupError(
            f"{text!r} is no place on Orion: give a path such as /project/1/team/results or my-data/results,"
            " a reference such as dataset://12, or a path in a mount",
            ExitStatus.USAGE,
        )
    return OrionPath(path)

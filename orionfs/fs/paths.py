"""How places on Orion are written in `orion://`: pure text.

Below the four folders that a mount shows (`my-data/hits.csv`), or absolute as on Orion
(`/project/1/team/hits.csv`). Names are those that a mount shows. Must not know items or sessions.
"""

from __future__ import annotations

PROTOCOL = "orion"
ROOT = ""
_ABSOLUTE = ("project", "organization")
"""What an absolute path on Orion begins with; a slash before anything else says nothing."""


def stripped(path: str) -> str:
    """The path without its protocol, and without slashes that say nothing."""
    for prefix in (f"{PROTOCOL}://", f"{PROTOCOL}::"):
        path = path.removeprefix(prefix)
    names = [name for name in path.split("/") if name]
    is_absolute = path.startswith("/") and bool(names) and names[0] in _ABSOLUTE
    return ("/" if is_absolute else "") + "/".join(names)


def parent_of(path: str) -> str:
    """The folder of a stripped path; that of a top folder is the root."""
    above = path.rpartition("/")[0]
    return above if above else ROOT


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


def child_of(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def is_below(path: str, folder: str) -> bool:
    """Whether a path is that of a folder, or of something in it; either both stripped or both absolute."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")

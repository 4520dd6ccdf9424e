"""Which names stay on this machine, and which are on their way to another name; pure, a leaf.

Programs leave traces beside what they save: swap files, backups, lock files ("litter": never on Orion),
and files that get their true name by a rename once they are whole ("temporary": uploaded, but given a
name on Orion only then, or when they have kept theirs for long). Knows names alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import translate

LITTER = (
    *(".*.sw?", "*~", ".#*", "#*#", ".~*", ".DS_Store", "._*", ".nfs*", "~$*"),
    *(".*.kate-swp", "*___jb_old___"),
)
"""vim; emacs, nano and many others; emacs; emacs; LibreOffice and Jupyter; macOS; macOS; NFS; Office; Kate;
PyCharm and its siblings."""
_RSYNC = ".*." + "[0-9A-Za-z]" * 6
_SED = "sed" + "[0-9A-Za-z]" * 6
TEMPORARY = (".goutputstream-*", _RSYNC, _SED, "*.part", "*.crdownload", "*___jb_tmp___")
"""GNOME; rsync; `sed -i`; browsers and other programs that download, Chrome; PyCharm and its siblings."""

DEFAULT, NONE, SEPARATOR = "default", "none", ":"

HOLD_S = 3600.0
_RSYNC_HOLD_S = 60.0  # the pattern is a wide one: `.config.backup` must not wait for an hour
_RSYNC_SUFFIX = len(".XXXXXX")
# vim finds out by a file of one of these names, empty and gone at once, whether it may make files here.
_PROBES = frozenset(str(4913 + 123 * step) for step in range(10))
_PROBE_HOLD_S = 10.0


class NameClass(Enum):
    """Where a file of a name belongs."""

    ORDINARY = "ordinary"
    LITTER = "litter"
    TEMPORARY = "temporary"
    PROBE = "probe"  # held back only while it is empty


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


@dataclass(frozen=True)
class LocalNames:
    """The patterns of one mount, in the form of `fnmatch`, of visible names."""

    litter: tuple[str, ...] = LITTER
    temporary: tuple[str, ...] = TEMPORARY
    _litter: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _temporary: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_litter", _matcher(self.litter))
        object.__setattr__(self, "_temporary", _matcher(self.temporary))

    def class_of(self, name: str) -> NameClass:
        """The class of a visible name. What rsync brings over under way to litter is litter as well."""
        if self._litter.match(name):
            return NameClass.LITTER
        if self._temporary.match(name):
            is_for_litter = _is_rsyncs(name) and self._litter.match(name[1:-_RSYNC_SUFFIX])
            return NameClass.LITTER if is_for_litter else NameClass.TEMPORARY
        return NameClass.PROBE if name in _PROBES else NameClass.ORDINARY

    def is_litter(self, name: str) -> bool:
        return self.class_of(name) is NameClass.LITTER

    def hold_s(self, name: str, size_bytes: int) -> float:
        """For how many seconds a version with this name is held back before it is shown on Orion."""
        kind = self.class_of(name)
        if kind is NameClass.TEMPORARY:
            return _RSYNC_HOLD_S if _is_rsyncs(name) else HOLD_S
        return _PROBE_HOLD_S if kind is NameClass.PROBE and not size_bytes else 0.0


_RSYNC_MATCHER = _matcher([_RSYNC])


def _is_rsyncs(name: str) -> bool:
    is_temporary_otherwise = name.startswith(".goutputstream-")
    return not is_temporary_otherwise and _RSYNC_MATCHER.match(name) is not None


def parse_patterns(text: str, defaults: tuple[str, ...]) -> tuple[str, ...]:
    """Patterns from a list with colons between them, `default` standing for ours. Raises ValueError.

    `none` alone: no patterns. One that would match every name is refused, and so is a `/`.
    """
    if text == NONE:
        return ()
    patterns: list[str] = []
    for part in text.split(SEPARATOR):
        if not part or "/" in part or not part.strip("*"):
            raise ValueError(f"{part!r} is no pattern of names")
        patterns += defaults if part == DEFAULT else [part]
    return tuple(dict.fromkeys(patterns))

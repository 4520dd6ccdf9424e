"""Names and values of `user.orion.*`: bytes of the kernel and what they mean; pure.

Foreign namespaces and names that are no text are refused here, before anybody is asked anything. Must not
know inodes or who has a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orionfs.durable.share_rows import Share
from orionfs.errors import InvalidCall, NotSupported, NotUnicode, TooLong
from orionfs.models import Kind

PREFIX = "user.orion."
TAGS, TAG = "tags", "tag."
SHARES, SHARE = "shares", "share."
VALUE_MAX_BYTES = 65536
"""XATTR_SIZE_MAX of the kernel, and XATTR_LIST_MAX."""
NAME_MAX_BYTES = 255
"""XATTR_NAME_MAX of the kernel."""
PERMISSIONS = ("read", "write", "delete", "share")
PARTNERS = ("user", "project")

_NS_PER_S = 10**9
_SEPARATORS = re.compile(r"[,\s]+")
_REFERENCES = {Kind.FILE: "file", Kind.DATASET: "dataset", Kind.COLLECTION: "collection"}


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a name `share.user.NAME` or `share.project.ID` means: what stands there, not yet looked up."""

    partner: str
    name: str

    def __str__(self) -> str:
        return f"{self.partner} {self.name}"


def own_name(raw_name: bytes) -> str | None:
    """The part after `user.orion.`; None for other `user.` names.

    Raises NotSupported for foreign namespaces, NotUnicode.
    """
    name = text_of(raw_name)
    if not name.startswith("user."):
        raise NotSupported(f"{name}: only user.orion.* is kept")
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def text_of(value: bytes) -> str:
    """A name or value as text. Raises NotUnicode."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise NotUnicode("names and values of attributes are UTF-8") from None


def fits(value: str) -> bool:
    """True for what the kernel takes as a value."""
    return len(value.encode()) <= VALUE_MAX_BYTES


def bytes_of(name: str, value: str, path: str) -> bytes:
    """A value for the kernel. Raises TooLong."""
    encoded = value.encode()
    if len(encoded) > VALUE_MAX_BYTES:
        raise TooLong(f"{PREFIX}{name} of {path} has {len(encoded)} bytes")
    return encoded


def listed(names: Iterable[str]) -> list[bytes]:
    """Names as the kernel lists them, all that fit into its limits; the first ones win."""
    found, size = [], 0
    for name in names:
        raw = f"{PREFIX}{name}".encode()
        size += len(raw) + 1
        if len(raw) <= NAME_MAX_BYTES and size <= VALUE_MAX_BYTES:
            found.append(raw)
    return found


# -- tags ------------------------------------------------------------------------------------------


def format_tags(tags: Iterable[str]) -> str:
    """Tags one a line; a newline or backslash inside a tag is escaped with a backslash."""
    return "\n".join(tag.replace("\\", "\\\\").replace("\n", "\\n") for tag in tags)


def parse_tags(value: bytes) -> tuple[str, ...]:
    """Inverse of `format_tags`; empty lines are no tags. Raises NotUnicode."""
    return tuple(_unescape(line) for line in text_of(value).split("\n") if line)


def _unescape(line: str) -> str:
    return re.sub(r"\\(\\|n)", lambda found: "\n" if found[1] == "n" else "\\", line)


def tag_of(name: str) -> str:
    """The tag in a name `tag.TEXT`. Raises InvalidCall for an empty one."""
    tag = name.removeprefix(TAG)
    if not tag:
        raise InvalidCall(f"a tag needs a text: {PREFIX}{TAG}TEXT")
    return tag


# -- shares ----------------------------------------------------------------------------------------


def named_in(name: str) -> Named | None:
    """Whom a name `share.user.NAME` or `share.project.ID` means; None for anything else."""
    partner, _, who = name.removeprefix(SHARE).partition(".")
    is_share = name.startswith(SHARE) and partner in PARTNERS and bool(who)
    return Named(partner, who) if is_share else None


def parse_permissions(value: bytes) -> tuple[str, ...]:
    """Permissions with commas or blanks between them, in their usual order; without any: read.

    Whoever may do anything may read. Raises InvalidCall, NotUnicode.
    """
    words = [word.lower() for word in _SEPARATORS.split(text_of(value)) if word]
    unknown = [word for word in words if word not in PERMISSIONS]
    if unknown:
        raise InvalidCall(f"{', '.join(unknown)}: permissions are {', '.join(PERMISSIONS)}")
    return tuple(word for word in PERMISSIONS if word in ("read", *words))


def format_permissions(permissions: Iterable[str]) -> str:
    """Inverse of `parse_permissions`."""
    return ",".join(permissions)


def format_shares(shares: Sequence[Share], *, is_all: bool) -> str:
    """Shares as a JSON list, each with who knows of it: "orion", or "this mount" alone (not `is_all`)."""
    return json.dumps(
        [
            {
                "with": share.partner,
                "id": share.id,
                "name": share.name,
                "permissions": list(share.permissions),
                "told_by": "orion" if is_all else "this mount",
            }
            for share in shares
        ],
        ensure_ascii=False,
    )


# -- what an item is -------------------------------------------------------------------------------


def format_uri(kind: Kind, id: int | None) -> str | None:
    """How parameters of jobs name an item; None for what has no such reference."""
    word = _REFERENCES.get(kind)
    return None if word is None or id is None else f"{word}://{id}"


def format_time(at_ns: int) -> str:
    """A time in nanoseconds since the epoch as Orion writes it: ISO 8601 in UTC, with microseconds."""
    at = datetime.fromtimestamp(at_ns // _NS_PER_S, UTC).replace(microsecond=at_ns % _NS_PER_S // 1000)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


def format_json(value: Mapping[str, object] | object) -> str:
    """Any JSON value in one line."""
    return json.dumps(value, ensure_ascii=False)


def workspace_of(path: str) -> str | None:
    """The id of the workspace that a path on Orion is in."""
    parts = path.split("/")
    return parts[4] if len(parts) > 4 and parts[1] == "project" and parts[3] == "workspace" else None


def audience_of(path: str, workspace_name: str | None) -> str | None:
    """Who reads what lies at a path: private, team, "workspace: NAME", organization; None above those."""
    parts = path.split("/")
    if len(parts) > 1 and parts[1] == "organization":
        return "organization"
    place = parts[3] if len(parts) > 3 and parts[1] == "project" else ""
    if place == "workspace":
        return f"workspace: {workspace_name}" if workspace_name else None
    return {"user": "private" if len(parts) > 4 else None, "team": "team"}.get(place)

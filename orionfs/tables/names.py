"""Visible names: a bijection between the names of a folder's items and names the kernel can hold.

Pure. `/`, NUL and the names `.` and `..` are escaped as `%2F %00 %2E %2E%2E`; text that looks like
such an escape gets `%25` for its `%`; nothing else is touched. Items that would share a name all stay
reachable: see `visible_names`. Must not know inodes, caches or sessions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from orionfs.errors import InvalidCall, NameTooLong, NotPermitted, NotUnicode
from orionfs.models import MARK_PREFIX, NAME_MAX_BYTES, Item, Kind

_DATASET_SUFFIX = ".oedb"
_CUT_FROM_BYTES = NAME_MAX_BYTES - 4  # a cut name may lose the rest of one character
_SHORT = NAME_MAX_BYTES // 4  # whatever its characters, it is not too long
_LOOKS_ESCAPED = re.compile(r"%(?=(?:25)*(?:2F|00))")
_ESCAPE = re.compile(r"%(25(?=(?:25)*(?:2F|00))|2F|00)")
_DECODED = {"25": "%", "2F": "/", "00": "\0"}
_DOTS = {".": "%2E", "..": "%2E%2E"}
_UNDOTS = {escaped: dots for dots, escaped in _DOTS.items()}
_LOOKS_LIKE_DOTS = re.compile(r"%(?=(?:25)*2E(?:%2E)?\Z)")
_ESCAPED_LIKE_DOTS = re.compile(r"%25(?=(?:25)*2E(?:%2E)?\Z)")


def encode_name(true_name: str) -> str:
    """The visible form of a name on Orion, before duplicates are told apart.

    Half a surrogate pair, which JSON can carry and UTF-8 can't, becomes `?`: it hides nobody else.
    """
    if not true_name.isascii():
        true_name = true_name.encode("utf-8", "replace").decode()
    if true_name in _DOTS:
        return _DOTS[true_name]
    if "%" not in true_name and "/" not in true_name and "\0" not in true_name:
        return true_name
    if _LOOKS_LIKE_DOTS.match(true_name):
        return "%25" + true_name[1:]
    return _LOOKS_ESCAPED.sub("%25", true_name).replace("/", "%2F").replace("\0", "%00")


def decode_name(visible: str) -> str:
    """The name on Orion that a user means by `visible`; inverse of `encode_name`."""
    if visible in _UNDOTS:
        return _UNDOTS[visible]
    if "%" not in visible:
        return visible
    if _ESCAPED_LIKE_DOTS.match(visible):
        return "%" + visible[3:]
    return _ESCAPE.sub(lambda match: _DECODED[match[1]], visible)


def true_name(kind: Kind, visible: str) -> str:
    """The name on Orion that an item gets when a user calls it `visible`.

    Raises NotPermitted for names of unfinished uploads, InvalidCall for a NUL and for a dataset's name
    without its suffix.
    """
    name = decode_name(visible)
    if is_hidden(name):
        raise NotPermitted(f"{visible}: names that begin with {MARK_PREFIX} are those of unfinished uploads")
    if "\0" in name:
        raise InvalidCall(f"{visible}: Orion can't keep a name with a NUL")
    if kind is not Kind.DATASET:
        return name
    if not name.endswith(_DATASET_SUFFIX) or name == _DATASET_SUFFIX:
        raise InvalidCall(f"{visible}: a dataset is shown with the suffix {_DATASET_SUFFIX}, so give it one")
    return name.removesuffix(_DATASET_SUFFIX)


def from_kernel(raw: bytes) -> str:
    """The visible name in the kernel's bytes. Raises NameTooLong, NotUnicode (Orion keeps Unicode)."""
    if len(raw) > NAME_MAX_BYTES:
        raise NameTooLong(f"name of {len(raw)} bytes: {NAME_MAX_BYTES} at most")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NotUnicode(f"{raw!r} is not UTF-8, and Orion keeps names as Unicode") from None


def is_hidden(true_name: str) -> bool:
    """True for the names of unfinished uploads, which nobody is shown."""
    return true_name.startswith(MARK_PREFIX)


def is_plain(visible: str) -> bool:
    """False for names that may mean an item of another name: only a listing can tell."""
    is_derived = "~" in visible or "?" in visible or visible.endswith(_DATASET_SUFFIX)
    is_cut = len(visible.encode()) > _CUT_FROM_BYTES
    return not is_derived and not is_cut and "/" not in decode_name(visible)


def base_name(item: Item) -> str:
    """The visible name of an item that shares it with nobody."""
    encoded = encode_name(item.name)
    return encoded + _DATASET_SUFFIX if item.kind is Kind.DATASET else encoded


def visible_names(items: Iterable[Item]) -> dict[str, Item]:
    """Visible name -> item for one whole folder; the same answer in any order of `items`.

    Of several items with one name a folder keeps it, else the newest item does (so that a save wins);
    the others get `~TYPE-ID` before the extension, and a further `~` where that is a true name. A name
    over 255 bytes is cut and gets the suffix.
    """
    names: dict[str, Item] = {}
    suffixed: list[tuple[str, Item]] = []
    for item in items:
        base = base_name(item)
        if is_hidden(item.name):
            continue
        if len(base) > _SHORT and len(base.encode()) > NAME_MAX_BYTES:
            suffixed.append((base, item))
            continue
        other = names.setdefault(base, item)
        if other is not item:
            kept, passed = (item, other) if _precedence(item) >= _precedence(other) else (other, item)
            names[base] = kept
            suffixed.append((base, passed))
    true_names = {base for base, _ in suffixed}  # the others' are in `names`
    for base, item in sorted(suffixed, key=lambda pair: (pair[1].kind.value, pair[1].id or 0)):
        names[_free_name(base, item, names, true_names)] = item
    return names


def duplicate_name(item: Item) -> str:
    """The name of an item that shares its own with another one that keeps it."""
    return marked_name(base_name(item), f"~{item.kind.value}-{item.id}")


def _precedence(item: Item) -> tuple[bool, int, int]:
    return (item.kind is Kind.FOLDER, item.created_ns, item.id or 0)


def _free_name(base: str, item: Item, taken: Collection[str], true_names: Collection[str]) -> str:
    marker = f"~{item.kind.value}-{item.id}"
    while True:
        candidate = marked_name(base, marker)
        if candidate not in taken and candidate not in true_names:
            return candidate
        marker += "~"


def marked_name(base: str, marker: str) -> str:
    """A name with a marker before its extension, cut so that the kernel can hold it."""
    dot = base.rfind(".", 1)
    stem, extension = (base[:dot], base[dot:]) if dot > 0 and len(base) - dot <= 32 else (base, "")
    room = NAME_MAX_BYTES - len((marker + extension).encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + marker + extension

"""What the switches mean where a few words say it: small decisions that the routes and the tree ask for.

Used by `web`, the routes and the modules of the tree; each function takes the switches and what is to
be decided, none touches HTTP or metadata. Switches that need more than that are decided where their
matter is: names and folders in `tree` and `removing`, the form of answers in `dialect`, the names of
everything in `renaming`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from orionfs.server import dialect
from orionfs.server.filters import Selection
from orionfs.server.paths import Kind
from orionfs.server.problems import Refusal, conflict, invalid, not_found
from orionfs.server.rows import PROCESSING, READY, Json
from orionfs.server.switches import Switches

ALL_ROWS = 2**62
PROCESSING_S = 1.0

_BUSY_KEPT_S = 60.0
_BUSY_MAX = 10_000
_PAGING = frozenset({"limit", "offset"})
_NO_FILTERS = _PAGING | {"path"}
_LISTED_IF = {"size": "list_sizes", "created": "list_times", "tags": "list_tags", "systemtags": "list_tags"}
_STAT_KEYS = ("resource_type", "id", "path")
_LISTED_KINDS = frozenset(
    kind.value for kind in (Kind.FILE, Kind.DATASET, Kind.COLLECTION, Kind.SHARD, Kind.FOLDER)
)


class BusyTries:
    """Which changing calls were tried a short while ago: the others are too early, Orion is busy.

    Safe for threads. Keeps nothing longer than a minute, and at most some thousand calls.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tried: OrderedDict[bytes, float] = OrderedDict()

    def refuse_first(self, user_id: int, verb: str, subjects: Sequence[object]) -> None:
        """Refusal 409 "busy" unless the same user made the same call within the last minute."""
        words = json.dumps([user_id, verb, subjects], sort_keys=True)
        call = hashlib.blake2b(words.encode(), digest_size=16).digest()
        with self._lock:
            now = self._clock()
            while self._tried and next(iter(self._tried.values())) <= now - _BUSY_KEPT_S:
                self._tried.popitem(last=False)
            if call in self._tried:
                return
            self._tried[call] = now
            if len(self._tried) > _BUSY_MAX:
                self._tried.popitem(last=False)
        raise conflict(f"something else works there, {verb} again", "busy")


def heeded(query: Iterable[tuple[str, str]], switches: Switches) -> list[tuple[str, str]]:
    """The parameters of a listing that count, with resource types in the server's own words."""
    pairs = list(query)
    if not switches.is_on("filters"):
        pairs = [pair for pair in pairs if pair[0] in _NO_FILTERS]
    if switches.paging == "all":
        pairs = [pair for pair in pairs if pair[0] not in _PAGING]
    return [
        (name, ",".join(dialect.own_type(word, switches) or word for word in value.split(",")))
        if name == "types"
        else (name, value)
        for name, value in pairs
    ]


def paged(selection: Selection, switches: Switches) -> Selection:
    """The page that is answered: the one that was asked for, or everything."""
    return replace(selection, limit=ALL_ROWS, offset=0) if switches.paging == "all" else selection


def told(row: Json, switches: Switches) -> Json:
    """A row as any answer tells it: folders may have no id."""
    if switches.is_on("folder_ids") or row.get("resource_type") != Kind.FOLDER.value:
        return row
    return {key: value for key, value in row.items() if key != "id"}


def listed(row: Json, switches: Switches) -> Json:
    """A row as listings tell it: without what they don't carry."""
    if row.get("resource_type") not in _LISTED_KINDS:
        return row
    left_out = {key for key, switch in _LISTED_IF.items() if not switches.is_on(switch)}
    return {key: value for key, value in told(row, switches).items() if key not in left_out}


def stat_told(row: Json, switches: Switches) -> Json:
    """A row as stat tells it: in full, or the three keys that are documented."""
    row = told(row, switches)
    return row if switches.is_on("stat_details") else {key: row[key] for key in _STAT_KEYS if key in row}


def refuse_folder_id(kind: object, switches: Switches) -> None:
    """Refusal 404 for a folder by its id where folders have none."""
    if kind == Kind.FOLDER.value and not switches.is_on("folder_ids"):
        raise not_found("folders have no ids here")


def refuse_empty(size_bytes: int, switches: Switches) -> None:
    """Refusal 422 "empty_file" for a file of no bytes where there can be none."""
    if not size_bytes and not switches.is_on("empty_files"):
        raise invalid("a file has at least one byte", "empty_file")


def completed_state(switches: Switches) -> str:
    """The stored state of a file that is complete now: ready, or processing until a certain time."""
    if switches.upload_ready == "at_once":
        return READY
    return f"{PROCESSING} {time.time() + PROCESSING_S:.6f}"


def as_unauthenticated(refusal: Refusal, switches: Switches) -> Refusal:
    """The refusal of a request without a valid token, with the status that this Orion gives it."""
    if refusal.status == int(switches.auth_status):
        return refusal
    return Refusal(int(switches.auth_status), refusal.code, refusal.detail)

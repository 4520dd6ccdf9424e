"""One session behind plain calls: plain data in, plain data out, one attempt each.

`Calls` is used in the daemon over our own session, and in worker processes (`program`) over any other
one, under the session's own interpreter. So: standard library only, syntax of Python 3.8, nothing of
orionfs imported, only documented members of the session touched (extensions are looked for first).
Must not know the mount.
"""

from __future__ import annotations

import datetime
import decimal
import inspect
import json
import os
import re
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

__all__ = ["CallFailed", "Calls", "describe", "read_message", "write_message"]

CLASSES = {
    "file": "File",
    "dataset": "Dataset",
    "collection": "ShardCollection",
    "shard": "Shard",
    "folder": "Folder",
    "project": "Project",
    "user": "OrionUser",
    "workfloe": "WorkFloeSpec",
}
"""Words for kinds of resources, and the classes of a session's `types` (Folder: our extension)."""

# fmt: off
DOCUMENTED_METHODS = frozenset({
    "assign_paths", "create_link", "create_paths", "create_resource", "delete_resource",
    "get_current_balance", "get_current_project", "get_link", "get_paths", "get_resource",
    "get_user_profile", "is_authenticated", "list_resources", "list_tags", "ls_path", "refresh_resource",
    "refresh_resource_until", "remove_paths", "retrieve_token", "share_resource", "stat_path",
    "tag_resource", "unshare_resource", "untag_resource", "update_resource",
})

DOCUMENTED_ERRORS = frozenset({
    "OrionError", "InvalidCredentials", "AuthorizationRequired", "BadResponse", "NotFoundResponse",
    "RateLimitedResponse", "InvalidAPIVersion", "ValidationError", "OrionConnectionError",
    "OrionServiceError", "OrionTimeout", "OrionLinkError", "NotEnoughDiskError",
    "DatasetDimensionsTooLargeError",
})
# fmt: on
MESSAGE_MAX_BYTES = 1 << 28
_FOUND_MAX = 100
_HELD_MAX = 256
_DETAIL_MAX = 500
_CHAIN_MAX = 20
# What is read where an object does not show its attributes by itself.
_USUAL_ATTRIBUTES = ("id", "name", "path", "size", "count", "created", "owner", "project", "state")
_SECRETS = re.compile(
    r"(?i)((?:token|signature|password|authorization|credential)['\"]?\s*[:=]\s*['\"]?|\btoken (?=\S{16}))"
    r"[^\s'\"&,;]+"
)


class CallFailed(Exception):
    """A call of the session failed; `info` is what `describe` made of it."""

    def __init__(self, info: dict[str, Any]) -> None:
        super().__init__(info)
        self.info = info

    def __str__(self) -> str:
        status = self.info.get("status")
        return "{}{}: {}".format(
            self.info.get("error"), f" ({status})" if status else "", self.info.get("detail")
        )


def describe(exc: BaseException) -> dict[str, Any]:
    """An exception as plain data, for people and for tables; without anything secret.

    Keys: `error` (documented class name, else the type's), `status`, `detail`, `request_id`,
    `retry_after` (as received), `code` (the server's word), `errno`, `refused` (no connection was
    made), `nothing_sent` (the request certainly never arrived).
    """
    if isinstance(exc, CallFailed):
        return exc.info
    response = getattr(exc, "response", None)
    headers = getattr(response, "headers", None) or {}
    answer = _json_of(response)
    names = [cls.__name__ for cls in type(exc).__mro__]
    is_refused = any(isinstance(each, ConnectionRefusedError) for each in _chain(exc))
    return {
        "error": next((name for name in names if name in DOCUMENTED_ERRORS), names[0]),
        "status": getattr(response, "status_code", None),
        "detail": _detail(exc, answer),
        "request_id": headers.get("X-Request-Id"),
        "retry_after": headers.get("Retry-After"),
        "code": _text_or_none(answer.get("code")),
        "errno": exc.errno if isinstance(exc, OSError) else None,
        "refused": is_refused,
        "nothing_sent": is_refused or bool(getattr(exc, "nothing_sent", False)),
    }


def _json_of(response: Any) -> dict[str, Any]:
    if response is None:
        return {}
    try:
        answer = response.json()
    except Exception:  # whatever a foreign response does: no more than a text is lost
        return {}
    return answer if isinstance(answer, dict) else {}


def _detail(exc: BaseException, answer: dict[str, Any]) -> str:
    text = _text_or_none(answer.get("detail")) or str(exc) or type(exc).__name__
    text = _SECRETS.sub(r"\1***", text)
    return "".join(char if char.isprintable() else " " for char in text)[:_DETAIL_MAX]


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and what it came from, however it was wrapped."""
    waiting: list[Any] = [exc]
    seen: list[int] = []
    while waiting and len(seen) < _CHAIN_MAX:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.append(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None)]
        waiting += list(each.args)


class Calls:
    """The verbs of a session on plain data. As safe for threads as the session is.

    `session` and `types` are used by their documented members. `ranged` says whether Files and shards can be
    read in ranges, `paged_shards` whether collections tell their shards by the page, `lists_shares` whether
    anybody tells shares, `direct` whether resources can be made from an id (all our extensions). The `id` of
    a shard is a pair: that of its collection, and its own.
    """

    def __init__(self, session: Any, types: Any) -> None:
        self._session = session
        self._types = types
        self.ranged = hasattr(getattr(types, "File", None), "read_into")
        self.paged_shards = hasattr(getattr(types, "ShardCollection", None), "shard_page")
        self.lists_shares = hasattr(session, "list_shares")
        self.direct = bool(getattr(session, "direct_resources", False))
        self._held: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def whoami(self) -> dict[str, Any]:
        """`profile` and `project` of the session, and the server's `instance` where it is known."""
        return {
            "profile": _attributes(self._session.get_user_profile()),
            "project": _attributes(self._session.get_current_project()),
            "instance": getattr(self._session, "instance", None),
        }

    def ls_path(self, path: str, query_params: dict[str, Any] | None = None) -> dict[str, Any]:
        """One page of a folder, as received."""
        answer: dict[str, Any] = self._session.ls_path(path, query_params=query_params)
        return answer

    def stat_path(self, path: str) -> dict[str, Any]:
        """What is at a path, as received."""
        answer: dict[str, Any] = self._session.stat_path(path)
        return answer

    def create_paths(self, paths: list[str]) -> None:
        """Make folders."""
        self._session.create_paths(*paths)

    def remove_paths(self, paths: list[str]) -> None:
        """Remove what is at these paths."""
        self._session.remove_paths(*paths)

    def assign_paths(self, assignments: list[dict[str, Any]]) -> None:
        """Put items into folders: resource_type, id, path and perhaps name each."""
        self._session.assign_paths(*assignments)

    def get_paths(self, items: list[Any]) -> dict[str, Any]:
        """Paths of items, a pair of kind and id each, as received."""
        answer: dict[str, Any] = self._session.get_paths(*(self._resource(kind, id) for kind, id in items))
        return answer

    def get(self, kind: str, id: Any) -> dict[str, Any]:
        """Attributes of one resource, asked for anew."""
        return _attributes(self._asked(kind, id))

    def find(self, kind: str, filters: dict[str, Any], count_max: int = _FOUND_MAX) -> list[dict[str, Any]]:
        """Attributes of the resources that a listing with these filters gives, `count_max` at most."""
        listed = self._session.list_resources(self._class(kind), filters=filters)
        found: Iterator[Any] = islice(listed, count_max)
        if kind in ("user", "project"):  # who may be shared with soon need not be asked for again then
            found = (self._hold(kind, getattr(each, "id", None), each) for each in found)
        return [_attributes(each) for each in found]

    def delete(self, kind: str, id: Any) -> None:
        """Delete one resource, the soft way."""
        is_deleted = self._session.delete_resource(self._resource(kind, id))
        with self._lock:
            self._held.pop((kind, str(id)), None)
        if is_deleted is False:
            raise CallFailed(_own_failure("BadResponse", f"{kind} {id} was not deleted"))

    def upload(self, name: str, path: str) -> dict[str, Any]:
        """Upload a local file as a new item; its attributes."""
        return _attributes(self._types.File.upload(self._session, name, path))

    @staticmethod
    def _shown(resource: Any) -> dict[str, Any]:
        return _attributes(resource)

    def upload_dataset(self, name: str, path: str) -> dict[str, Any]:
        """Upload a local file of records as a new dataset; its attributes."""
        return _attributes(self._class("dataset").upload(self._session, name, path))

    def download(self, kind: str, id: Any, path: str) -> None:
        """Download a resource to a local file, always a new one: an earlier call may be dying in the old."""
        if os.path.lexists(path):
            os.unlink(path)
        self._resource(kind, id).download_to_file(path)

    def download_as(self, id: int, path: str, form: str) -> None:
        """Download a dataset in a format to a local file, always a new one."""
        if os.path.lexists(path):
            os.unlink(path)
        dataset = self._resource("dataset", id)
        if "format" in inspect.signature(dataset.download_to_file).parameters:
            dataset.download_to_file(path, format=form)
            return
        contents = dataset.download(format=form)  # what is documented: all of it at once
        with open(path, "wb") as file:
            file.write(contents.encode() if isinstance(contents, str) else contents)

    def list_tags(self, kind: str, id: int) -> list[dict[str, Any]]:
        """Tags of a resource, as received."""
        return list(self._session.list_tags(self._resource(kind, id)))

    def tag(self, kind: str, id: int, tags: list[str]) -> None:
        """Add tags."""
        self._session.tag_resource(self._resource(kind, id), *tags)

    def untag(self, kind: str, id: int, tags: list[str]) -> None:
        """Remove tags; those that are not there are ignored."""
        self._session.untag_resource(self._resource(kind, id), *tags)

    def list_shares(self, kind: str, id: int) -> list[dict[str, Any]]:
        """With whom a resource is shared, as received. Only if `lists_shares`."""
        return list(self._session.list_shares(self._resource(kind, id)))

    def link(self, kind: str, id: Any) -> dict[str, Any]:
        """A link to a resource, as received."""
        return dict(self._session.create_link(self._resource(kind, id)))

    def read_into(
        self, kind: str, id: Any, offset: int, length: int, fd: int, fd_offset: int, progress: Any = None
    ) -> int:
        """A range into an open file at `fd_offset`; `length`, or it raises; `progress` hears each piece."""
        count: int = self._resource(kind, id).read_into(fd, fd_offset, offset, length, progress)
        if count != length:
            raise CallFailed(_own_failure("OrionServiceError", f"{count} of {length} bytes of {kind} {id}"))
        return count

    def shards_page(self, collection: int, query: dict[str, Any]) -> dict[str, Any]:
        """One page of a collection's shards, as received. Only if `paged_shards`."""
        return dict(self._resource("collection", collection).shard_page(query))

    def list_shards(self, collection: int, path: str) -> int:
        """Write the attributes of all shards to a local file, a line of JSON each; how many there are."""
        shards = self._resource("collection", collection).list_shards()
        lines = (json.dumps({**_attributes(shard), "metadata": None}) for shard in shards)
        with open(path, "w", encoding="ascii") as rows:
            return sum(rows.write(line + "\n") > 0 for line in lines)

    def create_collection(self, name: str, metadata: dict[str, Any] | None) -> dict[str, Any]:
        """Make an open collection without shards; its attributes."""
        more = {} if metadata is None else {"metadata": metadata}
        return _attributes(self._class("collection").create(self._session, name, **more))

    def create_shard(self, collection: int, name: str, metadata: dict[str, Any]) -> dict[str, Any]:
        """Make a shard without contents; its attributes."""
        made = self._class("shard").create(self._resource("collection", collection), name, metadata=metadata)
        return _attributes(made)

    def fill_shard(self, id: Any, path: str) -> dict[str, Any]:
        """Upload a local file as the contents of a shard, for good; its attributes."""
        shard = self._resource("shard", id)
        shard.upload_file(path)
        shard.close()
        return _attributes(shard)

    def set_state(self, collection: int, state: str) -> None:
        """Let shards be added to a collection ("open"), or no more ("close")."""
        getattr(self._resource("collection", collection), {"open": "open", "close": "close"}[state])()

    def documented(self, method: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Any documented method by its name; `answer`, and the first resource's attributes as `resource`.

        In arguments `{"kind": "file", "id": 5}` under the key `resource` stands for a resource,
        `{"type": "file"}` for a class of `types`. A resource in the answer is its attributes; of an
        iterator the first 100 are told.
        """
        if method not in DOCUMENTED_METHODS:
            raise CallFailed(_own_failure("ValidationError", f"{method} is not documented"))
        given = [self._meant(arg) for arg in args]
        named = {name: self._meant(value) for name, value in kwargs.items()}
        answer = getattr(self._session, method)(*given, **named)
        is_about_one = bool(args) and isinstance(args[0], dict) and set(args[0]) == {"resource"}
        subject = given[0] if is_about_one else None
        return {"answer": _told(answer), "resource": None if subject is None else _attributes(subject)}

    def _meant(self, argument: Any) -> Any:
        if isinstance(argument, dict) and set(argument) == {"type"}:
            return self._class(argument["type"])
        if isinstance(argument, dict) and set(argument) == {"resource"}:
            return self._resource(argument["resource"]["kind"], argument["resource"]["id"])
        return argument

    def close(self) -> None:
        """Free what the session holds, where it offers that (our extension)."""
        getattr(self._session, "close", lambda: None)()

    def _class(self, kind: str) -> Any:
        found = getattr(self._types, CLASSES.get(kind, ""), None)
        if found is None:
            raise CallFailed(_own_failure("ValidationError", f"this session has no type for {kind}"))
        return found

    def _resource(self, kind: str, id: Any) -> Any:
        """An object for calls that need one; of what it says of itself nothing is believed."""
        if self.direct:
            return self._made(kind, id)
        with self._lock:
            held = self._held.get((kind, str(id)))
            if held is not None:
                self._held.move_to_end((kind, str(id)))
                return held
        return self._asked(kind, id)

    def _asked(self, kind: str, id: Any) -> Any:
        """A resource as it is now."""
        asked, number = self._class(kind), id
        if kind == "shard":
            asked, number = asked(collection=self._resource("collection", id[0])), id[1]
        return self._hold(kind, id, self._session.get_resource(asked, number))

    def _hold(self, kind: str, id: Any, resource: Any) -> Any:
        """Have an object for later calls that need one."""
        if not self.direct:
            with self._lock:
                self._held.pop((kind, str(id)), None)
                self._held[(kind, str(id))] = resource
                if len(self._held) > _HELD_MAX:
                    self._held.popitem(last=False)
        return resource

    def _made(self, kind: str, id: Any) -> Any:
        """A resource of which only the id is known."""
        if kind != "shard":
            return self._class(kind)(id=id, session=self._session)
        return self._class(kind)(collection=self._made("collection", id[0]), id=id[1])


def _told(answer: Any) -> Any:
    """What a method answered, as plain data."""
    is_simple, value = _simple(answer)
    if is_simple:
        return value
    if hasattr(answer, "__next__"):
        return [_told(each) for each in islice(answer, _FOUND_MAX)]
    return {**_attributes(answer), "type": type(answer).__name__}


def _own_failure(error: str, detail: str) -> dict[str, Any]:
    return {**describe(Exception(detail)), "error": error}


def _attributes(resource: Any) -> dict[str, Any]:
    """Public attributes with simple values. Nothing is read that the object does not show."""
    names = set(getattr(resource, "__dict__", {}))
    for cls in type(resource).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names.update([slots] if isinstance(slots, str) else slots)
    if all(name.startswith("_") or name == "session" for name in names):
        names.update(_USUAL_ATTRIBUTES)
    found = {}
    for name in sorted(names):
        if not name.startswith("_"):
            is_simple, value = _simple(getattr(resource, name, None))
            if is_simple:
                found[name] = value
    return found


def _simple(value: Any) -> tuple[bool, Any]:
    """Whether a value can be said in JSON, and the value for it."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return True, value
    if isinstance(value, (list, tuple)):
        pairs = [_simple(each) for each in value]
        return all(is_simple for is_simple, _ in pairs), [each for _, each in pairs]
    if isinstance(value, dict):
        pairs = [_simple(each) for each in value.values()]
        is_simple = all(is_simple for is_simple, _ in pairs) and all(isinstance(key, str) for key in value)
        return is_simple, {key: pair[1] for key, pair in zip(value, pairs)}  # noqa: B905 (since 3.10)
    if isinstance(value, datetime.date):  # a datetime is one as well
        return True, value.isoformat()
    if isinstance(value, decimal.Decimal):
        return True, str(value)
    return False, None


def write_message(connection: socket.socket, message: Any) -> None:
    """Send one message: four bytes of length, big-endian, then JSON."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    connection.sendall(struct.pack(">I", len(body)) + body)


def read_message(receive: Callable[[int], bytes]) -> Any:
    """The next message; None at the end. `receive(n)` gives at most n bytes, none at the end."""
    head = _exactly(receive, 4)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    if length > MESSAGE_MAX_BYTES:
        raise ValueError(f"a message of {length} bytes")
    body = _exactly(receive, length)
    return None if body is None else json.loads(body.decode("utf-8"))


def _exactly(receive: Callable[[int], bytes], count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = receive(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)

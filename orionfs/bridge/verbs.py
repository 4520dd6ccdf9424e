"""The verbs of a session, whoever carries them out.

Base of `InProcess` and `BridgePool`; what they mean stands at `worker.Calls` and `GrowingCalls`. Must not
know how a call is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Verbs"]


class Verbs(ABC):
    """The verbs of `Calls`, each handed to `call`; their meaning stands there."""

    ranged: bool
    paged_shards = False
    lists_shares = False
    open_ended = False
    metadata_at_once: int | None = None
    contents_at_once: int | None = None
    client_version: str | None = None
    """Of the client behind it, where its maker knows."""

    @abstractmethod
    def call(self, verb: str, *args: object, timeout_s: float | None = None) -> Any:
        """Carry out one verb. Raises CallFailed."""

    @abstractmethod
    def forget_connections(self) -> None:
        """Make none of the calls that follow on what is open now, and idle: it may lead nowhere."""

    def whoami(self) -> dict[str, Any]:
        """See `Calls.whoami`."""
        answer: dict[str, Any] = self.call("whoami")
        return answer

    def ls_path(self, path: str, query_params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """See `Calls.ls_path`."""
        answer: dict[str, Any] = self.call("ls_path", path, query_params)
        return answer

    def stat_path(self, path: str) -> dict[str, Any]:
        """See `Calls.stat_path`."""
        answer: dict[str, Any] = self.call("stat_path", path)
        return answer

    def create_paths(self, paths: list[str]) -> None:
        """See `Calls.create_paths`."""
        self.call("create_paths", paths)

    def remove_paths(self, paths: list[str]) -> None:
        """See `Calls.remove_paths`."""
        self.call("remove_paths", paths)

    def assign_paths(self, assignments: list[dict[str, Any]]) -> None:
        """See `Calls.assign_paths`."""
        self.call("assign_paths", assignments)

    def get_paths(self, items: list[list[Any]]) -> dict[str, Any]:
        """See `Calls.get_paths`."""
        answer: dict[str, Any] = self.call("get_paths", items)
        return answer

    def get(self, kind: str, id: int | list[int]) -> dict[str, Any]:
        """See `Calls.get`."""
        answer: dict[str, Any] = self.call("get", kind, id)
        return answer

    def find(self, kind: str, filters: Mapping[str, Any], count_max: int = 100) -> list[dict[str, Any]]:
        """See `Calls.find`."""
        answer: list[dict[str, Any]] = self.call("find", kind, filters, count_max)
        return answer

    def delete(self, kind: str, id: int | list[int]) -> None:
        """See `Calls.delete`."""
        self.call("delete", kind, id)

    def upload(self, name: str, path: str, timeout_s: float | None = None) -> dict[str, Any]:
        """See `Calls.upload`; `timeout_s` is how long a worker may take."""
        answer: dict[str, Any] = self.call("upload", name, path, timeout_s=timeout_s)
        return answer

    def begin_upload(self, name: str) -> dict[str, Any]:
        """See `GrowingCalls.begin_upload`; only if `open_ended`."""
        answer: dict[str, Any] = self.call("begin_upload", name)
        return answer

    def send_part(self, id: int, part_bytes: int, number: int, path: str, length: int) -> None:
        """See `GrowingCalls.send_part`; only if `open_ended`."""
        self.call("send_part", id, part_bytes, number, path, length)

    def finish_upload(self, id: int, part_bytes: int, size: int) -> dict[str, Any]:
        """See `GrowingCalls.finish_upload`; only if `open_ended`."""
        answer: dict[str, Any] = self.call("finish_upload", id, part_bytes, size)
        return answer

    def upload_dataset(self, name: str, path: str, timeout_s: float | None = None) -> dict[str, Any]:
        """See `Calls.upload_dataset`; `timeout_s` is how long a worker may take."""
        answer: dict[str, Any] = self.call("upload_dataset", name, path, timeout_s=timeout_s)
        return answer

    def download(self, kind: str, id: int | list[int], path: str, timeout_s: float | None = None) -> None:
        """See `Calls.download`; `timeout_s` is how long a worker may take."""
        self.call("download", kind, id, path, timeout_s=timeout_s)

    def download_as(self, id: int, path: str, form: str, timeout_s: float | None = None) -> None:
        """See `Calls.download_as`; `timeout_s` is how long a worker may take."""
        self.call("download_as", id, path, form, timeout_s=timeout_s)

    def list_tags(self, kind: str, id: int) -> list[dict[str, Any]]:
        """See `Calls.list_tags`."""
        answer: list[dict[str, Any]] = self.call("list_tags", kind, id)
        return answer

    def tag(self, kind: str, id: int, tags: list[str]) -> None:
        """See `Calls.tag`."""
        self.call("tag", kind, id, tags)

    def untag(self, kind: str, id: int, tags: list[str]) -> None:
        """See `Calls.untag`."""
        self.call("untag", kind, id, tags)

    def list_shares(self, kind: str, id: int) -> list[dict[str, Any]]:
        """See `Calls.list_shares`; only if `lists_shares`."""
        answer: list[dict[str, Any]] = self.call("list_shares", kind, id)
        return answer

    def link(self, kind: str, id: int | list[int]) -> dict[str, Any]:
        """See `Calls.link`."""
        answer: dict[str, Any] = self.call("link", kind, id)
        return answer

    def read_into(
        self,
        kind: str,
        id: int | list[int],
        offset: int,
        length: int,
        fd: int,
        fd_offset: int,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """See `Calls.read_into`; only if `ranged`."""
        answer: int = self.call("read_into", kind, id, offset, length, fd, fd_offset, progress)
        return answer

    def shards_page(self, collection: int, query: Mapping[str, Any]) -> dict[str, Any]:
        """See `Calls.shards_page`; only if `paged_shards`."""
        answer: dict[str, Any] = self.call("shards_page", collection, query)
        return answer

    def list_shards(self, collection: int, path: str, timeout_s: float | None = None) -> int:
        """See `Calls.list_shards`; `timeout_s` is how long a worker may take."""
        answer: int = self.call("list_shards", collection, path, timeout_s=timeout_s)
        return answer

    def create_collection(self, name: str, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
        """See `Calls.create_collection`."""
        answer: dict[str, Any] = self.call("create_collection", name, metadata)
        return answer

    def create_shard(self, collection: int, name: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """See `Calls.create_shard`."""
        answer: dict[str, Any] = self.call("create_shard", collection, name, metadata)
        return answer

    def fill_shard(self, id: list[int], path: str, timeout_s: float | None = None) -> dict[str, Any]:
        """See `Calls.fill_shard`; `timeout_s` is how long a worker may take."""
        answer: dict[str, Any] = self.call("fill_shard", id, path, timeout_s=timeout_s)
        return answer

    def set_state(self, collection: int, state: str) -> None:
        """See `Calls.set_state`."""
        self.call("set_state", collection, state)

    def documented(self, method: str, args: list[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """See `Calls.documented`."""
        answer: dict[str, Any] = self.call("documented", method, args, kwargs)
        return answer

"""The seam between the mount and any session: `SessionCalls`.

`remote` knows this package's verbs and nothing of a session. Behind them stands our own session in this
process (`InProcess`), or any other one in worker processes under its own interpreter (`BridgePool`);
`find_client` says which interpreter has the vendor's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .discovery import Candidate, Discovery, find_client
from .handle import CallHandle
from .inprocess import InProcess
from .pool import BridgePool
from .process import CallTimeout
from .reading import only_reading
from .worker import CallFailed, Calls, describe

__all__ = [
    "BridgePool",
    "CallFailed",
    "CallHandle",
    "CallTimeout",
    "Calls",
    "Candidate",
    "Discovery",
    "InProcess",
    "SessionCalls",
    "describe",
    "find_client",
    "only_reading",
]


class SessionCalls(Protocol):
    """The verbs; blocking, safe for threads, one attempt each. Raise CallFailed and nothing else.

    What they mean and give stands at `Calls`. `metadata_at_once` and `contents_at_once`: further calls
    of the kind would wait for these to end (None: there is no such number).
    """

    ranged: bool
    paged_shards: bool
    lists_shares: bool
    metadata_at_once: int | None
    contents_at_once: int | None
    client_version: str | None

    def whoami(self) -> dict[str, Any]: ...
    def ls_path(self, path: str, query_params: Mapping[str, Any] | None = None) -> dict[str, Any]: ...
    def stat_path(self, path: str) -> dict[str, Any]: ...
    def create_paths(self, paths: list[str]) -> None: ...
    def remove_paths(self, paths: list[str]) -> None: ...
    def assign_paths(self, assignments: list[dict[str, Any]]) -> None: ...
    def get(self, kind: str, id: int | list[int]) -> dict[str, Any]: ...
    def find(self, kind: str, filters: Mapping[str, Any], count_max: int = 100) -> list[dict[str, Any]]: ...
    def delete(self, kind: str, id: int | list[int]) -> None: ...
    def upload(self, name: str, path: str, timeout_s: float | None = None) -> dict[str, Any]: ...
    def download(self, kind: str, id: int | list[int], path: str, timeout_s: float | None = None) -> None: ...
    def list_tags(self, kind: str, id: int) -> list[dict[str, Any]]: ...
    def tag(self, kind: str, id: int, tags: list[str]) -> None: ...
    def untag(self, kind: str, id: int, tags: list[str]) -> None: ...
    def list_shares(self, kind: str, id: int) -> list[dict[str, Any]]: ...
    def link(self, kind: str, id: int | list[int]) -> dict[str, Any]: ...
    def documented(self, method: str, args: list[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]: ...
    def read_into(
        self,
        kind: str,
        id: int | list[int],
        offset: int,
        length: int,
        fd: int,
        fd_offset: int,
        progress: Callable[[int], None] | None = None,
    ) -> int: ...
    def shards_page(self, collection: int, query: Mapping[str, Any]) -> dict[str, Any]: ...
    def list_shards(self, collection: int, path: str, timeout_s: float | None = None) -> int: ...
    def create_shard(self, collection: int, name: str, metadata: Mapping[str, Any]) -> dict[str, Any]: ...
    def fill_shard(self, id: list[int], path: str, timeout_s: float | None = None) -> dict[str, Any]: ...
    def set_state(self, collection: int, state: str) -> None: ...
    def close(self) -> None: ...

"""Sessions behind one set of verbs: in this process, or in a pool of worker processes.

Used by `remote` from its worker threads; blocking, safe for many threads. `InProcess` serves a session
that is itself safe for threads. `BridgePool` gives each call a process to itself: metadata and contents
apart, started when needed, ended when idle; a call that takes too long ends with its process. Every
failure is a `CallFailed`. Must not know trio or the mount.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from .process import CallTimeout, Worker, failed
from .worker import CallFailed, Calls, describe

__all__ = ["BridgePool", "CallTimeout", "InProcess"]

log = logging.getLogger(__name__)

_IDLE_S = 60.0
_END_S = 2.0
_CONTENTS = frozenset({"upload", "download", "read_into"})


class _Verbs(ABC):
    """The verbs of `Calls`, each handed to `call`; their meaning stands there."""

    ranged: bool

    @abstractmethod
    def call(self, verb: str, *args: object, timeout_s: float | None = None) -> Any:
        """Carry out one verb. Raises CallFailed."""

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

    def get(self, kind: str, id: int) -> dict[str, Any]:
        """See `Calls.get`."""
        answer: dict[str, Any] = self.call("get", kind, id)
        return answer

    def find(self, kind: str, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """See `Calls.find`."""
        answer: list[dict[str, Any]] = self.call("find", kind, filters)
        return answer

    def delete(self, kind: str, id: int) -> None:
        """See `Calls.delete`."""
        self.call("delete", kind, id)

    def upload(self, name: str, path: str, timeout_s: float | None = None) -> dict[str, Any]:
        """See `Calls.upload`; `timeout_s` is how long a worker may take."""
        answer: dict[str, Any] = self.call("upload", name, path, timeout_s=timeout_s)
        return answer

    def download(self, kind: str, id: int, path: str, timeout_s: float | None = None) -> None:
        """See `Calls.download`; `timeout_s` is how long a worker may take."""
        self.call("download", kind, id, path, timeout_s=timeout_s)

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

    def read_into(self, kind: str, id: int, offset: int, length: int, fd: int, fd_offset: int) -> int:
        """See `Calls.read_into`; only if `ranged`."""
        answer: int = self.call("read_into", kind, id, offset, length, fd, fd_offset)
        return answer


class InProcess(_Verbs):
    """A session of this process, which must be safe for threads."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.ranged = calls.ranged

    def call(self, verb: str, *args: object, timeout_s: float | None = None) -> Any:  # noqa: ARG002
        """Carry out one verb; a limit in time is the session's own matter."""
        try:
            return getattr(self._calls, verb)(*args)
        except Exception as exc:  # a session may raise anything: that is what CallFailed is for
            raise CallFailed(describe(exc)) from exc

    def close(self) -> None:
        """Nothing to end."""


class BridgePool(_Verbs):
    """Worker processes under the interpreter `python`, each with the session that `factory` names.

    `call_timeout_s` limits metadata calls, `contents_timeout_s` uploads and downloads (None: not at
    all); becoming ready has a limit of its own. `env` replaces the environment of the workers, who
    find `factory` by their own PYTHONPATH and installed packages.
    """

    ranged = False  # a descriptor is good in its own process only

    def __init__(
        self,
        python: str,
        factory: str,
        *,
        metadata_workers: int = 8,
        content_workers: int = 4,
        call_timeout_s: float | None = 75.0,
        contents_timeout_s: float | None = None,
        start_timeout_s: float = 60.0,
        idle_s: float = _IDLE_S,
        env: Mapping[str, str] | None = None,
    ) -> None:
        start = partial(Worker, python, factory, env)
        self._call_timeout_s, self._contents_timeout_s = call_timeout_s, contents_timeout_s
        self._metadata = _Group(start, start_timeout_s, metadata_workers, idle_s)
        self._contents = _Group(start, start_timeout_s, content_workers, idle_s)

    def call(self, verb: str, *args: object, timeout_s: float | None = None) -> Any:
        """Carry out one verb in a worker; `timeout_s` replaces the pool's limit for it."""
        is_contents = verb in _CONTENTS
        group = self._contents if is_contents else self._metadata
        limit_s = timeout_s
        if limit_s is None:
            limit_s = self._contents_timeout_s if is_contents else self._call_timeout_s
        with group.worker(limit_s) as worker:
            return worker.call(verb, args, limit_s)

    def worker_pids(self) -> list[int]:
        """Process ids of all workers that run."""
        return sorted(self._metadata.pids() + self._contents.pids())

    def close(self) -> None:
        """End all workers; calls under way fail, later ones too. May be called again."""
        groups = (self._metadata, self._contents)
        workers = [worker for group in groups for worker in group.shut()]
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + _END_S
        for worker in workers:
            worker.close(max(0.0, deadline - time.monotonic()))
        for group in groups:
            group.join()


class _Group:
    """Workers of one purpose: some in a call, some idle, `limit` at most."""

    def __init__(
        self, start: Callable[[], Worker], start_timeout_s: float, limit: int, idle_s: float
    ) -> None:
        self._start, self._start_timeout_s, self._idle_s = start, start_timeout_s, idle_s
        self._changed = threading.Condition()
        self._free = limit
        self._idle: list[tuple[float, Worker]] = []  # since when; the last one used is the last
        self._busy: set[Worker] = set()
        self._is_shut = False
        self._reaper: threading.Thread | None = None

    @contextlib.contextmanager
    def worker(self, timeout_s: float | None) -> Iterator[Worker]:
        """A worker for one call. Raises CallTimeout when none becomes free in time."""
        worker = self._take(timeout_s)
        try:
            yield worker
        finally:
            self._give_back(worker)

    def pids(self) -> list[int]:
        """Process ids of the workers."""
        with self._changed:
            return [worker.pid for worker in [*self._busy, *(idle for _, idle in self._idle)]]

    def shut(self) -> list[Worker]:
        """Take no more calls; the idle workers. Those in a call end with it: they are told to."""
        with self._changed:
            self._is_shut = True
            idle, self._idle = [worker for _, worker in self._idle], []
            for worker in self._busy:
                worker.terminate()
            self._changed.notify_all()
        return idle

    def join(self) -> None:
        """Wait until no call is under way, killing what does not end."""
        deadline = time.monotonic() + _END_S
        with self._changed:
            while self._busy:
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            for worker in self._busy:
                worker.kill_process()
            while self._busy:
                self._changed.wait()
        if self._reaper is not None:
            self._reaper.join()

    def _take(self, timeout_s: float | None) -> Worker:
        with self._changed:
            has_slot = self._changed.wait_for(lambda: self._free > 0 or self._is_shut, timeout_s)
            if self._is_shut:
                raise CallFailed(failed("WorkerDied", "the pool is closed", nothing_sent=True))
            if not has_slot:
                raise CallTimeout(failed("CallTimeout", "all workers were busy", nothing_sent=True))
            self._free -= 1
            worker = self._idle.pop()[1] if self._idle else None
            if worker is not None and worker.is_alive():
                self._busy.add(worker)
                return worker
        return self._replace(worker)

    def _replace(self, dead: Worker | None) -> Worker:
        """A new worker for a slot that is taken already."""
        try:
            if dead is not None:
                dead.kill()
            worker = self._start()
        except BaseException:
            self._free_slot()
            raise
        with self._changed:
            self._busy.add(worker)
            is_shut = self._is_shut
        try:
            if is_shut:
                raise CallFailed(failed("WorkerDied", "the pool is closed", nothing_sent=True))
            worker.await_ready(self._start_timeout_s)
        except BaseException:
            self._drop(worker)
            raise
        return worker

    def _give_back(self, worker: Worker) -> None:
        is_alive = worker.is_alive()
        with self._changed:
            if is_alive and not self._is_shut:
                self._idle.append((time.monotonic(), worker))
                self._busy.discard(worker)
                self._reap_from_now_on()
                self._free_slot()
                return
        self._drop(worker)

    def _drop(self, worker: Worker) -> None:
        worker.kill()
        with self._changed:
            self._busy.discard(worker)
            self._free_slot()

    def _free_slot(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def _reap_from_now_on(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Thread(target=self._reap, name="orion-idle-workers", daemon=True)
            self._reaper.start()

    def _reap(self) -> None:
        """End workers that were idle for too long."""
        while True:
            with self._changed:
                if self._is_shut:
                    return
                now = time.monotonic()
                old = [worker for since, worker in self._idle if since + self._idle_s <= now]
                self._idle = [pair for pair in self._idle if pair[1] not in old]
                if not old:
                    next_s = min((since + self._idle_s - now for since, _ in self._idle), default=None)
                    self._changed.wait(next_s)
                    continue
            for worker in old:
                log.debug("worker %d was idle", worker.pid)
                worker.close(_END_S)

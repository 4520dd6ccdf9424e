"""A pool of worker processes behind the verbs of a session.

Used by `remote` from its worker threads; blocking, safe for many threads. Each call has a process to
itself: metadata and contents apart, started when needed, ended when idle; a call that takes too long,
or is given up, ends with its process. Credentials that are refused are read again by workers started
anew. Every failure is a `CallFailed`. Must not know trio or the mount.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from .handle import CallHandle, current
from .process import CallTimeout, Worker, failed
from .renewal import Renewal
from .verbs import Verbs
from .worker import CallFailed

__all__ = ["BridgePool"]

log = logging.getLogger(__name__)

_IDLE_S = 60.0
_END_S = 2.0
_RENEWAL_PAUSE_S = 3.0  # a start costs seconds: an account that is locked must not cost one a call
_CONTENTS = frozenset(
    {"upload", "upload_dataset", "download", "download_as", "read_into", "list_shards", "fill_shard"}
)


class BridgePool(Verbs):
    """Worker processes under the interpreter `python`, each with the session that `factory` names.

    Without a factory it is the vendor's own, made of its profile `vendor_profile` (None: its default).
    `call_timeout_s` limits metadata calls, `contents_timeout_s` uploads and downloads (None: not at
    all); becoming ready has a limit of its own. `env` replaces the environment of the workers, who
    find `factory` by their own PYTHONPATH and installed packages.
    """

    ranged = False  # a descriptor is good in its own process only

    def __init__(
        self,
        python: str,
        factory: str | None,
        *,
        vendor_profile: str | None = None,
        metadata_workers: int = 8,
        content_workers: int = 4,
        call_timeout_s: float | None = 75.0,
        contents_timeout_s: float | None = None,
        start_timeout_s: float = 60.0,
        idle_s: float = _IDLE_S,
        env: Mapping[str, str] | None = None,
    ) -> None:
        source = ["--vendor", vendor_profile or ""] if factory is None else ["--factory", factory]
        self.metadata_at_once, self.contents_at_once = metadata_workers, content_workers
        start = partial(Worker, python, source, env)
        self._call_timeout_s, self._contents_timeout_s = call_timeout_s, contents_timeout_s
        self._metadata = _Group(start, start_timeout_s, metadata_workers, idle_s)
        self._contents = _Group(start, start_timeout_s, content_workers, idle_s)
        whoami = partial(self._metadata.call, "whoami", (), call_timeout_s)
        self._renewal = Renewal(self._start_anew, _RENEWAL_PAUSE_S, whoami=whoami)

    def call(self, verb: str, *args: object, timeout_s: float | None = None) -> Any:
        """Carry out one verb in a worker; `timeout_s` replaces the pool's limit for it."""
        is_contents = verb in _CONTENTS
        group = self._contents if is_contents else self._metadata
        limit_s = timeout_s
        if limit_s is None:
            limit_s = self._contents_timeout_s if is_contents else self._call_timeout_s
        return self._renewal.call(partial(group.call, verb, args, limit_s))

    def worker_pids(self) -> list[int]:
        """Process ids of all workers that run."""
        return sorted(self._metadata.pids() + self._contents.pids())

    def _start_anew(self) -> bool:
        log.info("Orion refused the credentials: they are read again, by sessions made anew")
        self._metadata.retire()
        self._contents.retire()
        return True

    def forget_connections(self) -> None:
        """By sessions made anew, as far as they are idle."""
        self._metadata.retire_idle()
        self._contents.retire_idle()

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
        self, start: Callable[[int], Worker], start_timeout_s: float, limit: int, idle_s: float
    ) -> None:
        self._start, self._start_timeout_s, self._idle_s = start, start_timeout_s, idle_s
        self._changed = threading.Condition()
        self._free = limit
        self._idle: list[tuple[float, Worker]] = []  # since when; the last one used is the last
        self._busy: set[Worker] = set()
        self._generation = 0  # of the sessions; workers of an earlier one serve no further call
        self._is_shut = False
        self._reaper: threading.Thread | None = None

    def call(self, verb: str, args: tuple[object, ...], limit_s: float | None) -> Any:
        """One call by one worker; the time to find it a worker comes on top of `limit_s`."""
        handle = current()
        with self._worker(limit_s, handle) as worker, handle.ended_by(worker.kill_process) as may_begin:
            if not may_begin:
                raise CallFailed(_given_up())
            return worker.call(verb, args, limit_s)

    @contextlib.contextmanager
    def _worker(self, timeout_s: float | None, handle: CallHandle) -> Iterator[Worker]:
        """A worker for one call. Raises CallTimeout when none becomes free in time."""
        with handle.ended_by(self._look_again):
            worker, generation = self._take(timeout_s, handle)
        worker = worker or self._start_one(generation)
        try:
            yield worker
        finally:
            self._give_back(worker)

    def retire(self) -> None:
        """No worker that was started before this serves another call."""
        with self._changed:
            self._generation += 1
        self.retire_idle()

    def retire_idle(self) -> None:
        """No worker that is idle now serves another call."""
        with self._changed:
            old, self._idle = [worker for _, worker in self._idle], []
        for worker in old:
            worker.kill()

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

    def _look_again(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _take(self, timeout_s: float | None, handle: CallHandle) -> tuple[Worker | None, int]:
        """A slot with an idle worker, or without one (None): that is to be started, of this generation."""
        with self._changed:
            has_slot = self._changed.wait_for(
                lambda: self._free > 0 or self._is_shut or handle.is_given_up, timeout_s
            )
            if self._is_shut:
                raise CallFailed(failed("WorkerDied", "the pool is closed", nothing_sent=True))
            if handle.is_given_up:
                raise CallFailed(_given_up())
            if not has_slot:
                raise CallTimeout(failed("CallTimeout", "all workers were busy", nothing_sent=True))
            self._free -= 1
            worker = self._idle.pop()[1] if self._idle else None
            if worker is None or worker.is_alive():
                self._busy.update([worker] if worker else [])
                return worker, self._generation
        worker.kill()
        return None, self._generation

    def _start_one(self, generation: int) -> Worker:
        """A new worker for a slot that is taken already."""
        try:
            worker = self._start(generation)
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
            if is_alive and not self._is_shut and worker.generation == self._generation:
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


def _given_up() -> dict[str, Any]:
    return failed("CallTimeout", "nobody waits for it any longer", nothing_sent=True)

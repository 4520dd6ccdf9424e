"""Programs at work on a mount, several at a time: each saves and reads, and remembers what it was told."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.saver import body, save
from tests.mount.stand import Stand

_SIZE_DIGITS = 6


@dataclass
class Failure:
    """A call that failed: how, and after how many seconds."""

    what: str
    errno: int | None
    took_s: float


@dataclass
class Worker:
    """Saves one file again and again, and makes, renames and removes another one beside it."""

    folder: Path
    acknowledged: int = 0  # the last version whose save succeeded
    begun: int = 0
    failures: list[Failure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "saved"

    def work(self) -> None:
        """One round."""
        self.begun += 1
        if self._try("save", lambda: self.save(self.begun)):
            self.acknowledged = self.begun
        other = self.folder / "other"
        if self._try("mkdir", other.mkdir):
            moved = self.folder / "moved"
            self._try("rename", lambda: other.rename(moved))
            for path in (other, moved):
                with contextlib.suppress(FileNotFoundError):
                    self._try("rmdir", path.rmdir)

    def save(self, version: int) -> None:
        """As an editor does: what is read is one version or another, and whole."""
        save("beside", str(self.path), body(version))

    def look(self) -> None:
        """What is read is a whole version, and none before the last that was acknowledged."""
        known, content = self.acknowledged, b""

        def read() -> None:
            nonlocal content
            content = self.path.read_bytes()

        if known and self._try("read", read):
            version = int(content.rpartition(b"end ")[2][:_SIZE_DIGITS])
            if content != body(version) or version < known:
                self.wrong.append(f"{self.path}: version {version} of {len(content)} bytes after {known}")

    def _try(self, what, call) -> bool:
        started = time.monotonic()
        try:
            call()
        except FileExistsError:
            return True  # left by a round that was cut short
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ESTALE and what == "read":
                return False  # it was replaced, and replaced once more, while it was opened
            self.failures.append(Failure(what, error.errno, time.monotonic() - started))
            return False
        return True


@contextlib.contextmanager
def at_work(stand: Stand, workers: int) -> Iterator[list[Worker]]:
    """So many workers, and a reader for each, at work within the block."""
    is_over = threading.Event()
    made = [Worker(stand.mine / f"work-{number}") for number in range(workers)]
    for worker in made:
        worker.folder.mkdir()
    errors: list[BaseException] = []

    def repeat(step, worker: Worker) -> None:
        try:
            while not is_over.is_set():
                failed = len(worker.failures)
                step()
                # As people do: what fails is not tried again a hundred times a second.
                is_over.wait(0.02 if len(worker.failures) == failed else 0.3)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=repeat, args=(step, each)) for each in made for step in (each.work, each.look)
    ]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]

"""How far each upload of a mount is, in bytes.

No session tells that, ours or the vendor's. What reads a staged file to send it moves a descriptor along,
in this process or in a worker of ours, and the kernel shows where each one stands. A look costs a
`readlink` for each open descriptor, so it is only taken while something large is on its way. Blocking, but
short.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from orionfs.daemon.layers import Layers
from orionfs.durable.journal import UploadStep
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.vfs.progress import word_of

_WORTH_A_LOOK_BYTES = 2**20
_NS_PER_S = 10**9
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Sending:
    """The uploads that are pending; `sent`: bytes by the mark of those that have begun to leave."""

    uploads: Sequence[Upload]
    sent: Mapping[str, int]

    @property
    def bytes_left(self) -> int:
        """How many bytes are still to leave."""
        return sum(each.row.size_bytes for each in self.uploads) - sum(self.sent.values())

    def told(self, count_max: int) -> list[Mapping[str, Any]]:
        """Where each goes, how much of it, how far, since when, why not yet; those that leave now first."""
        running = [upload for upload in self.uploads if upload.state is UploadState.RUNNING]
        others = (upload for upload in self.uploads if upload.state is not UploadState.RUNNING)
        chosen = [*running, *islice(others, max(0, count_max - len(running)))][:count_max]
        return [
            {
                "path": upload.row.path,
                "state": word_of(upload).partition(":")[0],
                "bytes": upload.row.size_bytes,
                "sent_bytes": self.sent.get(upload.row.mark, 0),
                "since": upload.row.sealed_ns / _NS_PER_S,
                "error": None if upload.error is None else str(upload.error),
            }
            for upload in chosen
        ]


def look(layers: Layers) -> Sending:
    """What is pending now, in the order in which it was closed, and how far it is."""
    uploads = layers.sync.pending
    begun = [each for each in uploads if each.row.new_id is not None or each.state is UploadState.RUNNING]
    sent = {upload.row.mark: upload.row.size_bytes for upload in begun if _is_there(upload)}
    leaving = [upload for upload in begun if _is_leaving(upload)]
    if leaving:
        positions = read_positions(layers.staging, [os.getpid(), *layers.remote.worker_pids()])
        for upload in leaving:
            at = max((at for name, at in positions if name.startswith(upload.row.staged)), default=0)
            at = max(at, layers.sync.early.sent_bytes(upload.row.mark))
            # A part that was sent twice counts twice, and the last bytes may still be refused.
            sent[upload.row.mark] = min(at, upload.row.size_bytes)
    return Sending(uploads, sent)


def _is_there(upload: Upload) -> bool:
    return upload.row.step is UploadStep.UPLOADED


def _is_leaving(upload: Upload) -> bool:
    is_large = upload.row.size_bytes >= _WORTH_A_LOOK_BYTES
    return is_large and upload.state is UploadState.RUNNING and not _is_there(upload)


def read_positions(folder: Path, pids: Iterable[int], proc: Path = _PROC) -> list[tuple[str, int]]:
    """Name and position (bytes) of each descriptor that these processes have of a file in a folder."""
    found = []
    for pid in pids:
        try:
            descriptors = os.listdir(proc / str(pid) / "fd")
        except OSError:  # it has ended
            continue
        for descriptor in descriptors:
            try:
                target = Path(os.readlink(proc / str(pid) / "fd" / descriptor))
                if target.parent == folder:
                    position = (proc / str(pid) / "fdinfo" / descriptor).read_text()
                    found.append((target.name, int(position.split("pos:", 1)[1].split(None, 1)[0])))
            except (OSError, ValueError, IndexError):
                continue
    return found

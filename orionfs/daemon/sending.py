"""How far each upload of a mount is, in bytes.

No session tells that, ours or the vendor's. What reads a staged file to send it moves a descriptor along,
in this process or in a worker of ours, and the kernel shows where each one stands. A look costs a
`readlink` for each open descriptor, so it is only taken while something large is on its way. Blocking, but
short.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orionfs.daemon.layers import Layers
from orionfs.progress import word_of
from orionfs.upload import Upload, UploadState

_WORTH_A_LOOK_BYTES = 2**20
_PROC = Path("/proc")


def uploads_of(layers: Layers) -> list[Mapping[str, Any]]:
    """What is on its way, in the order in which it was closed: where to, how much, how far, why not yet."""
    sent = _sent(layers)
    return [
        {
            "path": upload.row.path,
            "state": word_of(upload).partition(":")[0],
            "bytes": upload.row.size_bytes,
            "sent_bytes": sent.get(upload.row.mark, 0),
            "since": upload.row.sealed_ns / 1e9,
            "error": None if upload.error is None else str(upload.error),
        }
        for upload in layers.sync.pending
    ]


def bytes_left(layers: Layers) -> int:
    """How many bytes are still to leave."""
    sent = _sent(layers)
    return sum(upload.row.size_bytes - sent.get(upload.row.mark, 0) for upload in layers.sync.pending)


def _sent(layers: Layers) -> dict[str, int]:
    """Bytes by the mark of the upload, for those that have begun to leave."""
    found = {upload.row.mark: upload.row.size_bytes for upload in layers.sync.pending if _is_there(upload)}
    running = [upload for upload in layers.sync.pending if _is_leaving(upload)]
    if running:
        positions = read_positions(layers.staging, [os.getpid(), *layers.remote.worker_pids()])
        for upload in running:
            at = max((at for name, at in positions if name.startswith(upload.row.staged)), default=0)
            # A part that was sent twice counts twice, and the last bytes may still be refused.
            found[upload.row.mark] = min(at, upload.row.size_bytes)
    return found


def _is_there(upload: Upload) -> bool:
    return upload.row.new_id is not None


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

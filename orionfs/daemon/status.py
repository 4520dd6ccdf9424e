"""What a mount says of itself: who is mounted where, how it is, and what is not yet on Orion.

The answer to `status` on the control socket, and the schema of `orionfs status --json`, which adds to it only
what it finds without the daemon. It takes no look at anything that could be slow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orionfs import __version__
from orionfs.config import MountConfig
from orionfs.daemon.figures import figures_of
from orionfs.daemon.layers import Layers, read_only_places
from orionfs.daemon.sending import look
from orionfs.leftovers import kept_files

UPLOADS_TOLD_MAX = 100
_NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class Beginning:
    """When a daemon began to serve, in seconds since 1970."""

    at_s: float = field(default_factory=time.time)


def status_of(config: MountConfig, layers: Layers, beginning: Beginning) -> Mapping[str, Any]:
    """What a mount says of itself. Times are seconds since 1970, sizes bytes, paths those of Orion."""
    return {
        **_who(config, layers),
        "since": beginning.at_s,
        "health": layers.remote.condition.word,
        "health_since": layers.remote.condition.since_s,
        "health_cause": layers.remote.condition.cause,
        **_waiting(layers),
        "setbacks": [
            {"at": at_ns / _NS_PER_S, "message": words} for words, at_ns in layers.reports.setbacks.items()
        ],
        "cache": {"folder": str(config.cache_dir), "limit_bytes": layers.content.limit_bytes},
        "inodes": len(layers.namespace.inodes),
        "entries_invalidated": layers.kernel.entries_sent,
        "metrics": figures_of(config, layers).as_json(),
        "daemon_calls": dict(layers.operations.presentation.calls),
    }


def _who(config: MountConfig, layers: Layers) -> Mapping[str, Any]:
    return {
        "mountpoint": str(config.mountpoint),
        "pid": os.getpid(),
        "version": __version__,
        "profile": config.profile.name,
        "stack": layers.account.stack,
        "user": layers.account.username,
        "project": layers.account.project_name,
        "root": config.root,
        "read_only": config.read_only,
        "write_back": config.write_back,
        "protected": [f"/{'/'.join(names)}" for names in read_only_places(config)],
    }


def _waiting(layers: Layers) -> Mapping[str, Any]:
    """What is not on Orion: on its way, refused, or written by an earlier daemon and never closed."""
    sending = look(layers)
    return {
        "pending": layers.sync.pending_count,
        "pending_bytes": sending.bytes_left,
        "uploads": sending.told(UPLOADS_TOLD_MAX),
        "failed": {each.row.path: str(each.error) for each in sending.uploads if each.error is not None},
        "kept": [each.told() for each in kept_files(layers.staging.parent)],
        "state_folder": str(layers.staging.parent),
    }

"""What a mount says of itself: who is mounted where, how it is, and what is not yet on Orion."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from orionfs.config import MountConfig
from orionfs.daemon.figures import figures_of
from orionfs.daemon.layers import Layers


def status_of(config: MountConfig, layers: Layers) -> Mapping[str, Any]:
    """What a mount says of itself; `kept` are bytes that nobody had closed when an earlier daemon died."""
    failed = {each.row.path: str(each.error) for each in layers.sync.pending if each.error is not None}
    kept = sorted(map(str, (layers.staging.parent / "kept").glob("*")))
    return {
        "mountpoint": str(config.mountpoint),
        "pid": os.getpid(),
        "profile": config.profile.name,
        "stack": layers.account.stack,
        "user": layers.account.username,
        "project": layers.account.project_name,
        "health": layers.remote.condition.word,
        "health_since": layers.remote.condition.since,
        "health_cause": layers.remote.condition.cause,
        "pending": layers.sync.pending_count,
        "inodes": len(layers.namespace.inodes),
        "entries_invalidated": layers.kernel.entries_sent,
        "metrics": figures_of(config, layers).as_json(),
        "daemon_calls": dict(layers.operations.presentation.calls),
        "failed": failed,
        "kept": kept,
    }

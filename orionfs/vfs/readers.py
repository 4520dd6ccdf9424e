"""Whether a move changes who can read: My Data, Team Data, workspaces and the organization differ; pure."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def note_move(old: str, new: str) -> None:
    """Log a move from one Orion path to another; one that changes who can read is worth a line."""
    level = logging.DEBUG if _audience(old) == _audience(new) else logging.INFO
    log.log(level, "moved %s to %s", old, new)


def _audience(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[1:5] if path.startswith("/project/") else path.split("/")[1:2])

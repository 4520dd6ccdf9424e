"""Names of items that are not in place yet, or not any more; nobody is shown them. A leaf."""

from __future__ import annotations

import uuid

from orionfs.models import MARK_PREFIX


def new_mark() -> str:
    """A name that no other upload has, of this machine or another."""
    return f"{MARK_PREFIX}{uuid.uuid4().hex}"


def new_old_mark() -> str:
    """A name for an item that gives way to another in the same call."""
    return f"{MARK_PREFIX}old-{uuid.uuid4().hex}"

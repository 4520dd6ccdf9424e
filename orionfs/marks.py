"""Names of items that are not in place yet, or not any more; nobody is shown them. A leaf."""

from __future__ import annotations

import uuid

from orionfs.models import MARK_PREFIX

_OLD_PREFIX = f"{MARK_PREFIX}old-"


def new_mark() -> str:
    """A name that no other upload has, of this machine or another."""
    return f"{MARK_PREFIX}{uuid.uuid4().hex}"


def new_old_mark() -> str:
    """A name for an item that gives way to another in the same call."""
    return f"{_OLD_PREFIX}{uuid.uuid4().hex}"


def is_old_mark(name: str) -> bool:
    """True for the name of an item that has given way, and is to go: users know it under none any more."""
    return name.startswith(_OLD_PREFIX)

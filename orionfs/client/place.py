"""Where this process runs: inside an Orion job, or elsewhere.

Used by `session` (documented as `in_orion`) and by `transport`, which names the job in its requests.
Knows the environment variables that are documented for cubes, and nothing else.
"""

from __future__ import annotations

import os

__all__ = ["in_orion", "job_id"]

# Of the documented ones those that only Orion sets: a cube that runs at home has CUBE_TYPE as well.
_TELLING = ("ORION_JOB_ID", "ORION_INSTANCE", "ORION_ALLOC_INDEX")


def in_orion() -> bool:
    """Whether this process runs inside Orion."""
    return any(os.environ.get(name) for name in _TELLING)


def job_id() -> int | None:
    """The number of the Orion job that this process is part of; None outside of one."""
    value = os.environ.get("ORION_JOB_ID", "")
    return int(value) if value.isascii() and value.isdigit() else None

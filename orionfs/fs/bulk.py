"""Files of one `get` or `put` go together: fsspec asks for them one by one; noted first, they are then done.

Folders are made as they are asked for. Who watches the progress has it as fsspec tells it, one by one. Must
not know paths.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from orionfs.fs.access import Access

Job = Callable[[], None]


class Bulk:
    """What one filesystem has noted, thread by thread."""

    def __init__(self) -> None:
        self._noted = threading.local()

    def run(self, access: Access, ask: Callable[[], Any]) -> None:
        """Let fsspec ask, and do what was noted, several at a time; raises the first error."""
        jobs: list[Job] = []
        self._noted.jobs = jobs
        try:
            ask()
        finally:
            self._noted.jobs = None
        access.asking.together(jobs)

    def take(self, job: Job) -> bool:
        """Note a job for later; False where nothing is noted: it is to be done now."""
        jobs: list[Job] | None = getattr(self._noted, "jobs", None)
        if jobs is not None:
            jobs.append(job)
        return jobs is not None

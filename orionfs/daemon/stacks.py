"""Where every task and every thread of this process is, for reports of what hangs. Changes nothing."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import trio

log = logging.getLogger(__name__)

_FRAMES_MAX = 25
_PACKAGES = {"orionfs", "trio", "pyfuse3"}


def tell_stacks() -> None:
    """Into the log: one line a task and a thread, those that are at the same place together."""
    places = Counter(f"task {task.name}: {_await_chain(task)}" for task in _tasks())
    places += Counter(_threads())
    log.info("tasks and threads, innermost call first:")
    for place, count in sorted(places.items()):
        log.info("%s%s", f"{count} times " if count > 1 else "", place)
    log.info("end of tasks and threads")


def _tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _await_chain(task: trio.lowlevel.Task) -> str:
    return _in_a_line([_place(frame, line) for frame, line in task.iter_await_frames()][::-1])


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, innermost in sys._current_frames().items():
        chain, frame = [], innermost
        while frame is not None:
            chain.append(_place(frame, frame.f_lineno))
            frame = frame.f_back  # type: ignore[assignment]  # None ends it
        yield f"thread {names.get(ident, ident)}: {_in_a_line(chain)}"


def _place(frame: FrameType, line: int) -> str:
    path = Path(frame.f_code.co_filename)
    at = next((at for at, part in enumerate(path.parts) if part in _PACKAGES), len(path.parts) - 1)
    return f"{frame.f_code.co_qualname} ({'/'.join(path.parts[at:])}:{line})"


def _in_a_line(chain: list[str]) -> str:
    shown = chain[:_FRAMES_MAX]
    return " < ".join(shown) + (" < ..." if len(chain) > len(shown) else "")

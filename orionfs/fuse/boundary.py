"""The one boundary around every handler of the kernel's requests.

Our errors become their errno, anything else is logged and becomes EIO; nothing escapes, since whatever
else a handler raises would end the mount for everybody. Every handler has a deadline, and is counted and
timed: what the kernel answers by itself costs nothing, what reaches us does. Each error is logged once.
"""

from __future__ import annotations

import errno
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio

from orionfs.errors import OrionFsError, TimedOut, Unexpected, disk_error
from orionfs.fuse.reporting import arguments_of
from orionfs.metrics import Timings

_P = ParamSpec("_P")
_T = TypeVar("_T")
_NO_DEADLINE_S = float("inf")  # uploads: bounded by the session's own timeouts, which grow with size


@dataclass(frozen=True, slots=True)
class Presentation:
    """Who owns what is shown, how long a handler may take (s), how often each was called, and how it went."""

    uid: int
    gid: int
    read_deadline_s: float
    change_deadline_s: float
    contents_deadline_s: float
    calls: Counter[str] = field(default_factory=Counter)  # handler -> calls of the kernel
    timings: Timings = field(default_factory=Timings)  # those that have ended

    @property
    def at_work(self) -> int:
        """How many calls were taken and have not ended."""
        return self.calls.total() - sum(timing.count for timing in self.timings.values())


def _handler(
    deadline: Callable[[Presentation], float],
) -> Callable[[Callable[_P, Coroutine[Any, Any, _T]]], Callable[_P, Coroutine[Any, Any, _T]]]:
    """The boundary around a handler, and its deadline."""

    def decorate(handler: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
        name = handler.__name__
        folders = _folder_positions(handler)
        subjects = arguments_of(handler)

        @functools.wraps(handler)
        async def bounded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            operations: Any = args[0]
            presentation: Presentation = operations.presentation
            presentation.calls[name] += 1
            limit_s = deadline(presentation)
            started_ns = perf_counter_ns()
            try:
                if not folders and limit_s == _NO_DEADLINE_S:  # writes come by the thousand
                    return await handler(*args, **kwargs)
                with operations.locks.held(*[args[at] for at in folders]), trio.fail_after(limit_s):
                    return await handler(*args, **kwargs)
            except pyfuse3.FUSEError:
                raise
            except Exception as error:
                failed = _as_ours(name, error)
                presentation.timings[name].errors[_name_of(failed)] += 1
                operations.reporter.failed(name, subjects, args, failed, error)
                raise pyfuse3.FUSEError(failed.errno) from error
            finally:
                presentation.timings[name].add(perf_counter_ns() - started_ns)

        return bounded

    return decorate


reading = _handler(lambda presentation: presentation.read_deadline_s)
changing = _handler(lambda presentation: presentation.change_deadline_s)
contents = _handler(lambda presentation: presentation.contents_deadline_s)
uploading = _handler(lambda _: _NO_DEADLINE_S)


def _folder_positions(handler: Callable[..., Any]) -> list[int]:
    """Where the arguments of a handler name inodes whose lock the kernel holds until we have answered."""
    is_locking_itself = handler.__name__ in ("setattr", "setxattr", "removexattr")
    return [
        at
        for at, name in enumerate(inspect.signature(handler).parameters)
        if name.startswith("parent_inode") or (is_locking_itself and name == "inode")
    ]


def _as_ours(name: str, error: Exception) -> OrionFsError:
    """What an exception of a handler means."""
    if isinstance(error, OrionFsError):
        return error
    if isinstance(error, trio.TooSlowError):
        return TimedOut("no answer within its deadline")
    if isinstance(error, OSError):
        return disk_error(error, name)
    return Unexpected(f"unexpected: {error!r}")


def _name_of(error: OrionFsError) -> str:
    return errno.errorcode.get(error.errno, str(error.errno))

"""The one boundary around every handler of the kernel's requests.

Our errors become their errno, anything else is logged and becomes EIO; nothing escapes, since whatever
else a handler raises would end the mount for everybody. Every handler has a deadline, and is counted: what
the kernel answers by itself costs nothing, what reaches us does.
"""

from __future__ import annotations

import errno
import functools
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio

from orionfs.errors import LocalDiskError, OrionFsError, TimedOut, disk_error
from orionfs.fuse.reporting import arguments_of

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")
_NO_DEADLINE_S = float("inf")  # uploads: bounded by the session's own timeouts, which grow with size


@dataclass(frozen=True, slots=True)
class Presentation:
    """Who owns what the mount shows, how long a handler may take (seconds), and how often each was called."""

    uid: int
    gid: int
    read_deadline_s: float
    change_deadline_s: float
    contents_deadline_s: float
    calls: Counter[str] = field(default_factory=Counter)  # handler -> calls of the kernel
    answered: Counter[str] = field(default_factory=Counter)  # handler -> calls that have ended


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
            try:
                if not folders and limit_s == _NO_DEADLINE_S:  # writes come by the thousand
                    return await handler(*args, **kwargs)
                with operations.locks.held(*[args[at] for at in folders]), trio.fail_after(limit_s):
                    return await handler(*args, **kwargs)
            except pyfuse3.FUSEError:
                raise
            except trio.TooSlowError:
                late = TimedOut("no answer within its deadline")
                log.warning("%s %s: %s", name, _described(args[1:]), late)
                operations.reporter.note(name, subjects, args, late)
                raise pyfuse3.FUSEError(errno.ETIMEDOUT) from None
            except OrionFsError as error:
                log.log(error.log_level, "%s %s: %s", name, _described(args[1:]), error)
                operations.reporter.note(name, subjects, args, error)
                raise pyfuse3.FUSEError(error.errno) from error
            except OSError as error:
                failed = disk_error(error, name)
                log.error("%s %s: %s", name, _described(args[1:]), failed, exc_info=True)
                operations.reporter.note(name, subjects, args, failed)
                raise pyfuse3.FUSEError(failed.errno) from error
            except Exception as error:
                log.exception("%s %s: unexpected", name, _described(args[1:]))
                operations.reporter.note(name, subjects, args, LocalDiskError(f"unexpected: {error!r}"))
                raise pyfuse3.FUSEError(errno.EIO) from error
            finally:
                presentation.answered[name] += 1

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


def _described(args: Sequence[Any]) -> str:
    """What a handler was about: numbers and a name; never what is written or set."""
    named = [
        arg for at, arg in enumerate(args) if isinstance(arg, int) or (isinstance(arg, bytes) and at != 2)
    ]
    return " ".join(ascii(arg) if isinstance(arg, bytes) else str(arg) for arg in named)[:300]

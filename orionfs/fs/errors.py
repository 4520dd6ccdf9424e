"""Our errors as those that Python programs catch: FileNotFoundError, PermissionError and so on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from orionfs.errors import ExitStatus, OrionFsError, StartupError

_AT_THE_START = {ExitStatus.CREDENTIALS: errno.EACCES, ExitStatus.UNREACHABLE: errno.ETIMEDOUT}


@contextlib.contextmanager
def in_python(path: str) -> Iterator[None]:
    """What goes wrong in the block is an OSError about `path`; a wrong profile is a ValueError."""
    try:
        yield
    except OrionFsError as error:
        raise OSError(error.errno, str(error), f"orion://{path}") from error
    except StartupError as error:
        number = _AT_THE_START.get(error.exit_status)
        if number is None:
            raise ValueError(str(error)) from error
        raise OSError(number, str(error), f"orion://{path}") from error

"""Errors of the mount, in file-system words.

Every class owns its errno, the level it is logged at and whether trying again may help, so that no
caller decides that with an `if`. Foreign exceptions are turned into these where they arise: what a
session raises in `remote`, OSError where files are touched. `StartupError` is the one that reaches a
terminal. A leaf: knows nothing of the rest of the project.
"""

from __future__ import annotations

import errno as _errno
import logging
import re
from collections.abc import Iterator
from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """Exit statuses of the command line; stable, listed in the README."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    CREDENTIALS = 4
    UNREACHABLE = 5
    MOUNT_POINT = 6
    FUSE = 7
    BUSY = 16
    NOT_UPLOADED = 75


class StartupError(Exception):
    """A command can't do its work; `str()` is one line for people: what, which path, what to do."""

    def __init__(self, message: str, exit_status: ExitStatus) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class OrionFsError(Exception):
    """Base of all errors that a system call may end with."""

    errno: ClassVar[int] = _errno.EIO
    log_level: ClassVar[int] = logging.WARNING
    is_retryable: ClassVar[bool] = False
    retry_after_s: float | None = None
    status: int | None = None
    request_id: str | None = None  # what Orion called the request that failed so
    verb: str | None = None  # the call of the session that failed so
    reason: str | None = None  # what the session said then
    is_unclear: bool = False  # a change that failed so may have happened all the same
    is_repeated: bool = False  # an earlier attempt of the same call had an unclear end

    def call_it(self, path: str, mark: str, staged: str) -> None:
        """Name a version by its path, which people know: not by its mark, and the file it is staged in."""
        on_the_way = rf"{re.escape(mark)}(?: /.*?{re.escape(staged)}[^\s:]*)?"
        self.args = (re.sub(on_the_way, lambda _: path, str(self)),)


class NoSuchName(OrionFsError):
    """The name or the item is not there."""

    errno = _errno.ENOENT
    log_level = logging.DEBUG


class NameExists(OrionFsError):
    """The name is taken."""

    errno = _errno.EEXIST
    log_level = logging.DEBUG


class NotADirectory(OrionFsError):
    """A folder was needed."""

    errno = _errno.ENOTDIR
    log_level = logging.DEBUG


class IsADirectory(OrionFsError):
    """A file was needed."""

    errno = _errno.EISDIR
    log_level = logging.DEBUG


class DirectoryNotEmpty(OrionFsError):
    """The folder still holds items."""

    errno = _errno.ENOTEMPTY
    log_level = logging.DEBUG


class NameTooLong(OrionFsError):
    """A name of more than 255 bytes."""

    errno = _errno.ENAMETOOLONG
    log_level = logging.DEBUG


class NotUnicode(OrionFsError):
    """A name that is not UTF-8 can't be kept on Orion."""

    errno = _errno.EILSEQ
    log_level = logging.INFO


class InvalidCall(OrionFsError):
    """Arguments that make no sense, here or to Orion."""

    errno = _errno.EINVAL
    log_level = logging.INFO


class NotPermitted(OrionFsError):
    """This can't be done to this kind of thing, whoever asks."""

    errno = _errno.EPERM
    log_level = logging.INFO


class AccessDenied(OrionFsError):
    """The account may not do this on Orion."""

    errno = _errno.EACCES
    log_level = logging.WARNING


class CredentialsRefused(OrionFsError):
    """The credentials are not accepted, also after they were read again: nothing was done.

    That this begins is worth a warning, each call that then fails is not. What waits is tried again.
    """

    errno = _errno.EACCES
    log_level = logging.INFO
    is_retryable = True


class ReadOnly(OrionFsError):
    """The mount, or this part of it, is read-only."""

    errno = _errno.EROFS
    log_level = logging.DEBUG


class CrossDevice(OrionFsError):
    """Orion can't move this in one call."""

    errno = _errno.EXDEV
    log_level = logging.INFO


class NotSupported(OrionFsError):
    """An operation or a namespace that does not exist here."""

    errno = _errno.ENOTSUP
    log_level = logging.DEBUG


class NoSuchAttribute(OrionFsError):
    """The extended attribute is not set."""

    errno = _errno.ENODATA
    log_level = logging.DEBUG


class AttributeExists(OrionFsError):
    """XATTR_CREATE of an attribute that is there."""

    errno = _errno.EEXIST
    log_level = logging.DEBUG


class TooLong(OrionFsError):
    """An attribute value that does not fit into the kernel's 64 KiB."""

    errno = _errno.E2BIG
    log_level = logging.INFO


class Stale(OrionFsError):
    """The version is gone; the kernel looks the name up again."""

    errno = _errno.ESTALE
    log_level = logging.INFO


class ChangedElsewhere(Stale):
    """Somebody else changed the item meanwhile: what was written here is on Orion, under another name."""

    log_level = logging.WARNING


class Busy(OrionFsError):
    """Orion goes on saying that somebody else works on it."""

    errno = _errno.EBUSY
    is_retryable = True


class NoSpace(OrionFsError):
    """No room left for staged bytes or on Orion."""

    errno = _errno.ENOSPC


class QuotaExceeded(OrionFsError):
    """The account's quota on Orion is used up."""

    errno = _errno.EDQUOT


class FileTooLarge(OrionFsError):
    """More bytes than Orion takes for one item."""

    errno = _errno.EFBIG


class Interrupted(OrionFsError):
    """The caller has a pending fatal signal; its bytes are kept."""

    errno = _errno.EINTR
    log_level = logging.INFO


class LocalDiskError(OrionFsError):
    """The disk of this machine failed, where staged bytes, journal and cache lie."""

    log_level = logging.ERROR


class Unexpected(OrionFsError):
    """A mistake of ours."""

    log_level = logging.ERROR


class RemoteFailure(OrionFsError):
    """Orion failed, or answered with something that is not an answer."""

    is_retryable = True


class WrongServer(OrionFsError):
    """What answers is no Orion that this session may talk to."""


class TimedOut(OrionFsError):
    """No answer within the deadline; whether a change took effect is not known."""

    errno = _errno.ETIMEDOUT
    is_retryable = True


class Throttled(TimedOut):
    """Orion asked us to slow down, for longer than the deadline."""


class Unreachable(TimedOut):
    """No connection to Orion. Going offline is worth a warning, each call that then fails is not."""

    log_level = logging.INFO


AWAY = (TimedOut, CredentialsRefused)
"""Errors after which what is cached is served, if Orion is away now."""


class Conflict(OrionFsError):
    """Orion refused because of what is there (409); the caller looks what that is."""

    errno = _errno.EEXIST
    log_level = logging.INFO


def origin_of(error: OrionFsError) -> OrionFsError:
    """The error that an answer of Orion became, among those that led to this one; else the error."""
    return next((each for each in _chain_of(error) if each.verb is not None), error)


def may_have_happened(error: OrionFsError) -> bool:
    """True of a change that failed so if any answer to it was lost, whatever it was refused with later."""
    return any(each.is_unclear or isinstance(each, TimedOut | RemoteFailure) for each in _chain_of(error))


def _chain_of(error: BaseException | None) -> Iterator[OrionFsError]:
    while error is not None:
        if isinstance(error, OrionFsError):
            yield error
        error = error.__cause__


def disk_error(error: OSError, what: str) -> OrionFsError:
    """Our error for what the local disk said."""
    if error.errno in (_errno.ENOSPC, _errno.EDQUOT):
        return NoSpace(f"{what}: no room left on the local disk")
    if error.errno == _errno.EFBIG:
        return FileTooLarge(f"{what}: too large for the local disk")
    return LocalDiskError(f"{what}: {error.strerror or error}")

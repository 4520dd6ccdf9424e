"""Every error class owns its errno and the level it is logged at."""

from __future__ import annotations

import errno
import logging

import pytest

from orionfs import errors
from orionfs.errors import ExitStatus, OrionFsError, StartupError, disk_error

TABLE = {
    "OrionFsError": (errno.EIO, logging.WARNING, False),
    "NoSuchName": (errno.ENOENT, logging.DEBUG, False),
    "NameExists": (errno.EEXIST, logging.DEBUG, False),
    "NotADirectory": (errno.ENOTDIR, logging.DEBUG, False),
    "IsADirectory": (errno.EISDIR, logging.DEBUG, False),
    "DirectoryNotEmpty": (errno.ENOTEMPTY, logging.DEBUG, False),
    "NameTooLong": (errno.ENAMETOOLONG, logging.DEBUG, False),
    "NotUnicode": (errno.EILSEQ, logging.INFO, False),
    "InvalidCall": (errno.EINVAL, logging.INFO, False),
    "NotPermitted": (errno.EPERM, logging.INFO, False),
    "AccessDenied": (errno.EACCES, logging.WARNING, False),
    "CredentialsRefused": (errno.EACCES, logging.INFO, True),
    "ReadOnly": (errno.EROFS, logging.DEBUG, False),
    "CrossDevice": (errno.EXDEV, logging.INFO, False),
    "NotSupported": (errno.ENOTSUP, logging.DEBUG, False),
    "NoSuchAttribute": (errno.ENODATA, logging.DEBUG, False),
    "AttributeExists": (errno.EEXIST, logging.DEBUG, False),
    "TooLong": (errno.E2BIG, logging.INFO, False),
    "Stale": (errno.ESTALE, logging.INFO, False),
    "Busy": (errno.EBUSY, logging.WARNING, True),
    "NoSpace": (errno.ENOSPC, logging.WARNING, False),
    "WrongServer": (errno.EIO, logging.WARNING, False),
    "QuotaExceeded": (errno.EDQUOT, logging.WARNING, False),
    "FileTooLarge": (errno.EFBIG, logging.WARNING, False),
    "Interrupted": (errno.EINTR, logging.INFO, False),
    "LocalDiskError": (errno.EIO, logging.ERROR, False),
    "Unexpected": (errno.EIO, logging.ERROR, False),
    "RemoteFailure": (errno.EIO, logging.WARNING, True),
    "TimedOut": (errno.ETIMEDOUT, logging.WARNING, True),
    "Throttled": (errno.ETIMEDOUT, logging.WARNING, True),
    "Unreachable": (errno.ETIMEDOUT, logging.INFO, True),
    "Conflict": (errno.EEXIST, logging.INFO, False),
    "ChangedElsewhere": (errno.ESTALE, logging.WARNING, False),
}


def classes() -> list[type[OrionFsError]]:
    return [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, OrionFsError)
    ]


def test_every_class_is_in_the_table() -> None:
    assert {found.__name__ for found in classes()} == TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_class_owns_errno_level_and_whether_to_try_again(name: str) -> None:
    found = getattr(errors, name)
    assert (found.errno, found.log_level, found.is_retryable) == TABLE[name]
    error = found("what happened")
    assert str(error) == "what happened"
    assert (error.retry_after_s, error.status) == (None, None)


def test_no_class_says_eagain_since_tools_stop_at_it() -> None:
    assert all(found.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, 0) for found in classes())


def test_what_users_cause_is_not_logged_as_a_warning() -> None:
    expected_misses = {errno.ENOENT, errno.EEXIST, errno.ENODATA, errno.ENOTSUP, errno.ENOTDIR, errno.EISDIR}
    assert all(found.log_level < logging.WARNING for found in classes() if found.errno in expected_misses)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.NoSpace),
        (errno.EDQUOT, errors.NoSpace),
        (errno.EFBIG, errors.FileTooLarge),
        (errno.EIO, errors.LocalDiskError),
        (errno.EAGAIN, errors.LocalDiskError),
        (None, errors.LocalDiskError),
    ],
)
def test_error_of_the_local_disk_is_ours(number: int | None, kind: type[OrionFsError]) -> None:
    raised = OSError(number, "some text") if number is not None else OSError("some text")
    found = disk_error(raised, "staging")
    assert type(found) is kind
    assert str(found).startswith("staging: ")


def test_startup_error_is_a_line_for_people_and_an_exit_status() -> None:
    error = StartupError("no such profile", ExitStatus.CONFIG)
    assert (str(error), error.exit_status) == ("no such profile", 3)
    assert ExitStatus.NOT_UPLOADED == 75

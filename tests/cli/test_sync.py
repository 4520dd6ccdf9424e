"""`orionfs sync` as a program, with a daemon that is a fake: what it waits for, what it says."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.needs_fuse

DONE = {"done": True, "pending": 0, "failed": []}


def test_sync_waits_for_what_is_pending(faked, point) -> None:
    faked.behave(drain=[{"pending": 2}, DONE])
    faked("mount", point)
    for arguments in ([point], []):
        done = faked("sync", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_sync_names_what_could_not_be_uploaded_and_what_orion_would_not_remove(faked, point) -> None:
    faked.behave(drain=[{"done": True, "pending": 3, "failed": ["/a/b\n"], "refused": ["/a/c"]}])
    faked("mount", point)
    done = faked("sync", point, "--timeout", "5")
    assert done.returncode == 75
    assert "not uploaded: /a/b\\n" in done.stderr
    assert "not removed: /a/c" in done.stderr
    assert f"3 changes could not be uploaded; nothing is lost: {point} goes on with it" in done.stderr


@pytest.mark.parametrize("command", ["sync", "umount"])
def test_refused_removals_alone_are_told_by_the_exit_status(faked, point, command) -> None:
    faked.behave(drain=[{**DONE, "refused": ["/a/c", "/a/d"]}])
    faked("mount", point)
    done = faked(command, point)
    assert done.returncode == 75
    assert "not removed: /a/d" in done.stderr
    assert "2 removals Orion has refused; what was removed is there again" in done.stderr


def test_sync_of_what_is_no_mount_says_so(faked, point) -> None:
    for arguments, word in (([point], "is not a mount of orionfs"), ([], "nothing of orionfs is mounted")):
        done = faked("sync", *arguments)
        assert done.returncode == 6, done
        assert word in done.stderr

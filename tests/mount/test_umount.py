"""`orionfs umount` of real mounts that somebody uses, or that Orion does not take anything from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import pytest

from orionfs.errors import ExitStatus
from tests.mount.server import Direct
from tests.mount.stand import Client, Stand

pytestmark = pytest.mark.expect_log("is not on Orion yet; it is kept|can't be uploaded yet")


@pytest.mark.parametrize("options", [(), ("write_back",)], ids=["through", "write-back"])
def test_force_keeps_what_an_open_file_holds_for_the_next_mount(
    make_stand: Callable[..., Stand], options: tuple[str, ...]
) -> None:
    stand = make_stand(options=list(options))
    stand.server.misbehave({"method": "POST", "path": "/files", "action": "status", "status": 503})
    folder = os.open(stand.mine, os.O_RDONLY)
    file = os.open(stand.mine / "open", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"written, and not closed")
    refused = stand.run("umount", "--timeout", "0.2", stand.point)
    assert (refused.returncode, "is in use" in refused.stderr) == (ExitStatus.BUSY, True)
    done = stand.run("umount", "--force", stand.point)
    assert done.returncode == ExitStatus.NOT_UPLOADED, done
    assert "1 change could not be uploaded; nothing is lost" in done.stderr
    assert not stand.is_mounted
    for descriptor in (file, folder):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    stand.server.misbehave()
    stand.mount()
    stand.drain()
    assert stand.direct.content(f"{Direct.home}/open") == b"written, and not closed"


@pytest.mark.parametrize("client", list(Client), ids=["own", "documented"])
def test_force_of_a_mount_in_use_with_nothing_to_upload_is_done(
    make_stand: Callable[..., Stand], client: Client
) -> None:
    stand = make_stand(client)
    folder = os.open(stand.mine, os.O_RDONLY)
    try:
        done = stand.run("umount", "--force", stand.point)
    finally:
        os.close(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not stand.is_mounted
    assert not stand.is_healthy  # the daemon has ended as well


def test_next_mount_finds_nothing_of_the_one_before_in_use(make_stand: Callable[..., Stand]) -> None:
    """The daemon has let go of its state folder when the command returns: else its changes would wait."""
    stand = make_stand(options=["write_back"])
    stand.server.misbehave({"method": "POST", "path": "/files", "action": "status", "status": 503})
    for number in range(3):
        (stand.mine / f"f{number}").write_bytes(b"x")
        done = stand.run("umount", "--timeout", "0.2", stand.point)
        assert done.returncode == ExitStatus.NOT_UPLOADED
        stand.mount()
        assert stand.ask("status")["pending"] == number + 1
    stand.server.misbehave()
    stand.drain()
    assert stand.direct.names(Direct.home) == ["f0", "f1", "f2"]

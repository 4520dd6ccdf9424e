"""Mounted and unmounted again and again: nothing is left of it, here or at the server."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.faults.outage import Outage
from tests.mount.server import Direct
from tests.mount.stand import Client, Stand

# Of a server that is asked: connections that it is about to see the end of.
SLACK = 8


def processes_about(stand: Stand) -> list[str]:
    """Command lines of processes that name this mount, or have something of its home open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            held = [os.readlink(each) for each in (process / "fd").iterdir()]
        except OSError:
            continue  # it ends, or is not ours to look into
        if str(stand.folder) in line or any(each.startswith(str(stand.home)) for each in held):
            found.append(f"{process.name}: {line}")
    return found


def files_of(stand: Stand) -> Counter[str]:
    """What lies in its home and how often, whatever number it has."""
    return Counter(re.sub(r"\d+", "#", str(path.relative_to(stand.home))) for path in stand.home.rglob("*"))


def sockets_of(stand: Stand) -> list[str]:
    return [line for line in Path("/proc/net/unix").read_text().splitlines() if str(stand.home) in line]


def connections_of_the_kernel() -> int:
    try:
        return len(os.listdir("/sys/fs/fuse/connections"))
    except FileNotFoundError:
        return 0


def use(stand: Stand) -> None:
    """A bit of everything that opens something."""
    (stand.mine / "file").write_bytes(b"contents")
    assert (stand.mine / "file").read_bytes() == b"contents"
    assert "file" in os.listdir(stand.mine)
    os.setxattr(stand.mine / "file", "user.orion.tag.lead", b"")
    stand.ask("status")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("client", "cycles"),
    [
        pytest.param(Client.OWN, 6, id="own"),
        pytest.param(Client.OWN, 1000, id="own-long", marks=pytest.mark.long),
        pytest.param(Client.DOCUMENTED, 100, id="documented", marks=pytest.mark.long),
    ],
)
def test_mounting_again_and_again_leaves_nothing(make_stand, client, cycles) -> None:
    stand: Stand = make_stand(client)
    server = stand.server
    assert isinstance(server, Outage)
    use(stand)
    stand.umount()
    files, connections = files_of(stand), connections_of_the_kernel()
    descriptors, threads = at_the_server(server)
    for _ in range(cycles - 1):
        stand.mount()
        use(stand)
        stand.umount()
        assert processes_about(stand) == []
    assert files_of(stand) == files
    assert sockets_of(stand) == []
    assert not [path for path in Path("/tmp").glob("orionfs-*") if str(stand.folder) in str(path)]
    assert connections_of_the_kernel() <= connections + SLACK  # other tests mount as well
    wait_for(lambda: at_the_server(server)[0] <= descriptors + SLACK)
    assert at_the_server(server)[1] <= threads + SLACK
    assert stand.direct.content(f"{Direct.home}/file") == b"contents"


def at_the_server(server: Outage) -> tuple[int, int]:
    """Its descriptors and threads."""
    process = Path("/proc") / str(server.pid)
    return len(os.listdir(process / "fd")), len(os.listdir(process / "task"))

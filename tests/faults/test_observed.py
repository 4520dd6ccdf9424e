"""What a mount tells of itself while it works: its log, its figures, and where its tasks are."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import stat
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.processes import wait_for
from tests.faults.outage import error_of
from tests.mount.server import Direct
from tests.mount.stand import Client, Stand


def scrape(path: Path) -> dict[str, float]:
    """One sample a line: what stands before its value, and that."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.fixture
def watched(make_stand) -> Stand:
    """A mount that logs JSON and serves its figures, of a server that refuses to make one folder."""
    stand: Stand = make_stand(Client.OWN, is_mounted=False)
    where = f"unix:{stand.home / 'run' / 'figures'}"
    stand.mount(arguments=["--log-format", "json", "--metrics", where])
    return stand


@pytest.mark.expect_log(r'^\{"time": ')
def test_mount_tells_what_it_does_in_log_status_and_figures(watched) -> None:
    stand = watched
    figures = stand.home / "run" / "figures"
    stand.direct.put(f"{Direct.home}/file", b"contents")
    for _ in range(2):
        with (stand.mine / "file").open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read() == b"contents"
    (stand.mine / "new").write_bytes(b"12345")
    stand.server.misbehave({"method": "POST", "path": "/create", "action": "status", "status": 403})
    for name in ("a", "b"):
        assert error_of((stand.mine / name).mkdir) == errno.EACCES
    stand.server.misbehave()

    told = [json.loads(line) for line in stand.log.splitlines()]  # every line is an object
    refused = [each for each in told if each.get("operation") == "mkdir"]
    assert [(each["path"], each["status"], each["level"]) for each in refused] == [
        ("/my-data/a", 403, "WARNING"),
        ("/my-data/b", 403, "WARNING"),
    ]
    assert all(each["request_id"] and each["inode"] for each in refused)

    found = scrape(figures)
    assert stat.S_IMODE(figures.stat().st_mode) == 0o600
    assert found["orionfs_online[]"] == 1
    assert found["orionfs_operation_errors_total['EACCES', 'mkdir']"] == 2
    assert found["orionfs_operation_seconds_count['mkdir']"] == 2
    assert found["orionfs_downloaded_bytes_total[]"] == len(b"contents")
    assert found["orionfs_uploaded_bytes_total[]"] == 5
    assert found["orionfs_content_reads_total['hit']"] >= 1
    assert found["orionfs_request_errors_total['AccessDenied', 'create_paths']"] == 4  # each is tried again
    assert found["process_open_fds[]"] > 3
    status = stand.ask("status")
    assert (status["health"], status["health_cause"]) == ("online", None)
    assert status["metrics"]["operations"]["mkdir"]["errors"] == {"EACCES": 2}
    assert status["metrics"]["requests"]["upload"]["count"] == 1
    assert status["metrics"]["queues"]["metadata"]["waiting"] == 0

    os.kill(stand.pid(), signal.SIGUSR1)
    wait_for(lambda: "end of tasks and threads" in stand.log)
    lines = [json.loads(line)["message"] for line in stand.log.splitlines()]
    assert any(line.startswith("thread MainThread: ") and "tell_stacks" in line for line in lines)
    assert any("task " in line and "orionfs/daemon/__init__.py" in line for line in lines)
    assert os.listdir(stand.mine) != []

    stand.umount()
    assert not figures.exists()
    assert stand.server.token not in stand.log


@pytest.mark.expect_log(r"^orionfs: ")
def test_address_that_is_taken_is_told_and_nothing_is_mounted(make_stand) -> None:
    stand: Stand = make_stand(Client.OWN, is_mounted=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = stand.run("mount", stand.point, "--metrics", address)
    assert done.returncode == 3
    assert f"--metrics {address}: Address already in use; choose another address" in done.stderr
    assert not stand.is_mounted
    done = stand.run("mount", stand.point, "--metrics", "0.0.0.0:9101")
    assert done.returncode == 3
    assert "the figures are for this machine alone" in done.stderr

"""What a service manager is told, as it hears it."""

from __future__ import annotations

import os
import re
import socket
import time

import pytest

from orionfs.notify import Notifier, service_manager


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A socket as systemd has one; its address as the environment says it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@orionfs-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(10)
        yield listener, address


def heard(listener: socket.socket) -> list[str]:
    return listener.recv(65536).decode().split("\n")


def test_values_come_as_lines_of_one_datagram(manager) -> None:
    listener, address = manager
    Notifier(address).send(READY=1, STATUS="online, nothing to upload")
    assert heard(listener) == ["READY=1", "STATUS=online, nothing to upload"]


def test_value_with_a_newline_forges_no_variable(manager) -> None:
    listener, address = manager
    Notifier(address).send(STATUS="a\nREADY=1 \udcff")
    assert heard(listener) == ["STATUS=a READY=1 ?"]


def test_reload_is_told_with_the_time_of_the_kernels_clock(manager) -> None:
    listener, address = manager
    before = time.monotonic_ns() // 1000
    Notifier(address).reloading()
    told, usec = heard(listener)
    assert told == "RELOADING=1"
    assert before <= int(usec.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_manager_that_is_gone_or_does_not_read_keeps_nobody_waiting(tmp_path) -> None:
    Notifier(str(tmp_path / "gone")).send(READY=1)
    Notifier().send(READY=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        for _ in range(1000):
            Notifier(str(tmp_path / "deaf")).send(STATUS="x" * 1000)


@pytest.mark.parametrize(
    ("told", "address", "watchdog_s"),
    [
        ({}, None, None),
        ({"NOTIFY_SOCKET": "/run/x"}, "/run/x", None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000"}, "@x", 3.0),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "own"}, "@x", 3.0),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, "@x", None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "0"}, "@x", None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"}, "@x", None),
        ({"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "1"}, None, None),
        ({"WATCHDOG_USEC": "3000000"}, None, None),
    ],
)
def test_service_manager_is_read_once_and_handed_to_nobody(monkeypatch, told, address, watchdog_s) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    found = service_manager()
    assert (found.address, found.watchdog_s) == (address, watchdog_s)
    assert not [name for name in os.environ if re.match("NOTIFY_|WATCHDOG_", name)]
    assert service_manager() == Notifier()

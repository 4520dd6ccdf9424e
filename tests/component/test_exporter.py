"""Figures on a port or a socket: whoever asks is answered, and nobody can hurt the mount."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from orionfs.daemon import exporter
from orionfs.errors import StartupError
from tests.unit.test_metrics import figures

ASK = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"


@asynccontextmanager
async def served(address: str, ask=figures) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(exporter.serve, address, ask))
        nursery.cancel_scope.cancel()


async def answer_to(where: str, request: bytes) -> bytes:
    if where.startswith("unix:"):
        stream: trio.SocketStream = await trio.open_unix_socket(where.removeprefix("unix:"))
    else:
        port = re.search(r":(\d+)/", where)
        assert port is not None
        host = "::1" if "[::1]" in where else "127.0.0.1"
        stream = await trio.open_tcp_stream(host, int(port[1]))
    async with stream:
        await stream.send_all(request)
        return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0", "unix"])
async def test_figures_are_served_on_every_kind_of_address(tmp_path, address) -> None:
    path = tmp_path / "s"
    async with served(f"unix:{path}" if address == "unix" else address) as where:
        for _ in range(2):
            answer = await answer_to(where, ASK)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"orionfs_online 1.0\n" in answer
    assert not path.exists()


async def test_socket_is_its_owners_and_replaces_a_dead_one_but_no_living_one_and_no_file(tmp_path) -> None:
    path: Path = tmp_path / "s"
    async with served(f"unix:{path}"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with pytest.raises(ExceptionGroup) as taken:
            async with served(f"unix:{path}"):
                raise AssertionError("two of them")
        assert taken.group_contains(StartupError, match="Address already in use")
        os.link(path, tmp_path / "dead")
    async with served(f"unix:{tmp_path / 'dead'}") as where:
        assert b"200 OK" in await answer_to(where, ASK)
    (tmp_path / "file").write_text("not ours")
    with pytest.raises(ExceptionGroup):
        async with served(f"unix:{tmp_path / 'file'}"):
            raise AssertionError("over a file")
    assert os.stat(tmp_path / "file").st_size == len("not ours")


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"GET /x HTTP/1.1\n\n", b"\xff" * 9000]
)
async def test_garbage_is_refused_and_the_next_one_is_answered(request_) -> None:
    async with served("127.0.0.1:0") as where:
        assert not (await answer_to(where, request_)).startswith(b"HTTP/1.1 200")
        assert b"200 OK" in await answer_to(where, ASK)


async def test_client_that_says_nothing_keeps_nobody_waiting() -> None:
    async with served("127.0.0.1:0") as where:
        port = re.search(r":(\d+)/", where)
        assert port is not None
        async with await trio.open_tcp_stream("127.0.0.1", int(port[1])):
            assert b"200 OK" in await answer_to(where, ASK)


@pytest.mark.expect_log("a request for figures failed")
async def test_mistake_in_a_figure_ends_its_answer_alone() -> None:
    def broken():
        raise ValueError("a bug")

    async with served("127.0.0.1:0", broken) as where:
        assert await answer_to(where, ASK) == b""
        assert await answer_to(where, b"GET /x HTTP/1.1\r\n\r\n") != b""

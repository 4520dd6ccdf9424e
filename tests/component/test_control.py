"""The control socket: JSON lines for its owner, and a daemon that nothing said there can end."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from orionfs.daemon import control


async def status(request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    yield {"health": "online", "asked": request.get("for")}


async def drain(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    for pending in (2, 1):
        yield {"pending": pending}
        await trio.sleep(0.001)
    yield {"done": True}


async def broken(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    yield {"one": 1}
    raise KeyError("a bug")


async def endless(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    while True:
        yield {"text": "x" * 10000}
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[trio.Nursery]:
    commands = {"status": status, "drain": drain, "broken": broken, "endless": endless}
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            await nursery.start(control.serve, path, commands)
            yield nursery
        nursery.cancel_scope.cancel()


class Peer:
    """A connection that speaks lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffered = b""

    async def say(self, *lines: bytes) -> None:
        await self.stream.send_all(b"".join(line + b"\n" for line in lines))

    async def ask(self, **request: Any) -> Any:
        await self.say(json.dumps(request).encode())
        return await self.answer()

    async def answer(self) -> Any:
        """The next line; None at the end."""
        while b"\n" not in self._buffered:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self._buffered += data
        line, _, self._buffered = self._buffered.partition(b"\n")
        return json.loads(line)


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Peer]:
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        assert isinstance(stream, trio.SocketStream)
        yield Peer(stream)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


async def test_command_answers_in_lines(path) -> None:
    async with serving(path), connected(path) as peer:
        assert await peer.ask(command="status", **{"for": "me"}) == {"health": "online", "asked": "me"}
        assert await peer.ask(command="drain") == {"pending": 2}
        assert await peer.answer() == {"pending": 1}
        assert await peer.answer() == {"done": True}


async def test_requests_may_come_together_or_in_pieces(path) -> None:
    async with serving(path), connected(path) as peer:
        await peer.say(b'{"command": "status"}', b'{"command": "status", "for": 2}')
        assert [(await peer.answer())["asked"] for _ in range(2)] == [None, 2]
        for piece in (b'{"comm', b'and": "sta', b'tus"}\n'):
            await peer.stream.send_all(piece)
            await trio.sleep(0.001)
        assert (await peer.answer())["health"] == "online"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"status"',
        b'{"command": "none"}',
        b'{"command": []}',
        b"\xff",
        b"{}",
    ],
)
async def test_garbage_is_answered_with_what_is_known(path, line) -> None:
    async with serving(path), connected(path) as peer:
        await peer.say(line)
        assert "status, drain" in (await peer.answer())["error"]
        assert await peer.ask(command="status")


async def test_line_without_an_end_closes_the_connection(path) -> None:
    async with serving(path), connected(path) as peer:
        try:
            await peer.stream.send_all(b"x" * 10**6)
        except trio.BrokenResourceError:
            return
        assert await peer.answer() is None


@pytest.mark.expect_log("a request on the control socket failed")
async def test_bug_in_a_command_ends_its_connection_and_nothing_else(path) -> None:
    async with serving(path):
        async with connected(path) as peer:
            assert await peer.ask(command="broken") == {"one": 1}
            assert await peer.answer() is None
        async with connected(path) as peer:
            assert await peer.ask(command="status")


async def test_peer_that_goes_away_within_an_answer_ends_nothing(path) -> None:
    async with serving(path):
        for _ in range(5):
            async with connected(path) as peer:
                await peer.ask(command="endless")
        async with connected(path) as peer:
            assert await peer.ask(command="status")


async def test_many_peers_are_answered_side_by_side(path) -> None:
    async with serving(path), connected(path) as slow:
        await slow.say(b'{"command": "endless"}')
        answers: list[Any] = []

        async def ask() -> None:
            async with connected(path) as peer:
                answers.append(await peer.ask(command="status"))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert len(answers) == 20


async def test_peer_hears_of_the_end(path) -> None:
    async with serving(path) as nursery, connected(path) as peer:
        await peer.ask(command="status")
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await peer.answer() is None
    assert not path.exists()


async def test_socket_is_its_owners_and_replaces_a_dead_one(path) -> None:
    path.write_text("left by a daemon that was killed")
    async with serving(path):
        assert path.stat().st_mode & 0o777 == 0o600
        async with connected(path) as peer:
            assert await peer.ask(command="status")
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
async def test_other_user_is_not_answered() -> None:
    """Also where the file's mode would let it in: who asks is told by the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "socket"
        async with serving(path):
            path.chmod(0o666)
            os.seteuid(65534)
            try:
                stranger = await trio.open_unix_socket(str(path))
            finally:
                os.seteuid(0)
            async with stranger, connected(path) as owner:
                assert await owner.ask(command="status")
                try:
                    await stranger.send_all(b'{"command": "status"}\n')
                    assert await stranger.receive_some(100) == b""
                except trio.BrokenResourceError:
                    assert path.exists()


async def test_socket_file_taken_away_is_no_error_at_the_end(path) -> None:
    async with serving(path):
        path.unlink()
    assert not path.exists()

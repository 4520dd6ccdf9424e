"""A TCP proxy on loopback that makes a round trip as long as wanted; bytes flow as fast as before.

A process of its own (`python bench_delay.py TARGET_PORT LATENCY_S`): prints its port, ends when its
standard input does. Each direction is late by half of the latency. Knows nothing of what it carries.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import trio

_CHUNK_BYTES = 65536
_CHUNKS_UNDER_WAY = 512  # 32 MiB: more than a fast loopback holds in 100 ms


async def main(target_port: int, latency_s: float) -> None:
    """Carry connections until standard input ends."""

    async def converse(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", target_port)
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(_carry, near, far, latency_s / 2)
            nursery.start_soon(_carry, far, near, latency_s / 2)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, converse, 0, host="127.0.0.1")
        )
        print(listeners[0].socket.getsockname()[1], flush=True)
        await trio.to_thread.run_sync(_wait_for_end, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


async def _carry(source: trio.SocketStream, sink: trio.SocketStream, delay_s: float) -> None:
    """Whatever arrives goes on `delay_s` later, the end as well."""
    send, receive = trio.open_memory_channel[tuple[float, bytes]](_CHUNKS_UNDER_WAY)

    async def deliver() -> None:
        async for due_s, data in receive:
            await trio.sleep_until(due_s)
            await sink.send_all(data)
        await sink.send_eof()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver)
            async with send:
                while data := await source.receive_some(_CHUNK_BYTES):
                    await send.send((trio.current_time() + delay_s, bytes(data)))
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # a peer that goes away takes its connection with it


def _wait_for_end() -> None:
    while os.read(0, 1024):
        pass


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), float(sys.argv[2]))

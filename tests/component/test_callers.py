"""A flush whose caller is to die ends with EINTR; its bytes are kept and uploaded all the same."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from orionfs.fuse import callers
from tests.cli.processes import wait_for
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount

pytestmark = [pytest.mark.virtual_time]


async def open_new(world: World, pid: int) -> int:
    home = (await world.inode("my-data")).number
    ctx: Any = SimpleNamespace(pid=pid)
    opened, _ = await world.operations.create(home, b"new", 0o644, os.O_WRONLY, ctx)
    await world.operations.write(opened.fh, 0, b"data")
    return int(opened.fh)


async def test_flush_of_a_dying_process_ends_and_the_upload_goes_on(tmp_path, monkeypatch) -> None:
    fake = FakeCalls()
    dying: list[int] = []
    monkeypatch.setattr(callers, "has_fatal_signal", lambda pid: pid in dying)
    async with mount(tmp_path, fake) as world:
        handle = await open_new(world, pid=4711)
        stalled = fake.stall("upload")
        world.nursery.start_soon(self_killing, stalled, dying)
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await world.operations.flush(handle)
        assert caught.value.errno == 4  # EINTR
        await world.operations.release(handle)
        stalled.release()
        await world.drain()
        assert fake.contents(f"{HOME}/new") == b"data"
        assert fake.count("upload") == 1
        world.check_nothing_left()


async def self_killing(stalled: Any, dying: list[int]) -> None:
    await stalled.arrived.wait()
    dying.append(4711)


async def test_flush_of_a_living_process_waits(tmp_path) -> None:
    fake = FakeCalls()
    fake.latency_s = 30.0
    async with mount(tmp_path, fake) as world:
        handle = await open_new(world, pid=os.getpid())
        await world.operations.flush(handle)
        assert fake.contents(f"{HOME}/new") == b"data"
        await world.operations.release(handle)


@pytest.mark.parametrize("how", ["blocked", "ignored"])
def test_signal_that_ends_nobody_is_none(how) -> None:
    script = {
        "blocked": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
        "ignored": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
    }[how]
    with subprocess.Popen([sys.executable, "-c", f"{script}; print(1, flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        if how == "blocked":  # one that is ignored never waits
            wait_for(lambda: is_interrupt_pending(process.pid))
        assert not callers.has_fatal_signal(process.pid)
        process.kill()


def is_interrupt_pending(pid: int) -> bool:
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\t(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) & 1 << signal.SIGINT - 1 for mask in masks)


def test_pending_kill_of_any_thread_is_seen(tmp_path, monkeypatch) -> None:
    for thread, pending in ((10, "0" * 16), (11, "0000000000000100")):
        status = tmp_path / "proc" / "10" / "task" / str(thread) / "status"
        status.parent.mkdir(parents=True)
        status.write_text(f"Name:\tx\nSigPnd:\t{pending}\nShdPnd:\t{'0' * 16}\nSigIgn:\t0\nSigBlk:\t0\n")
    monkeypatch.setattr(callers, "Path", lambda path: Path(f"{tmp_path}{path}"))
    assert callers.has_fatal_signal(10)
    assert not callers.has_fatal_signal(12)


@pytest.mark.expect_log("as scripted")
async def test_flush_of_a_living_process_fails_with_the_error_of_its_upload(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake) as world:
        handle = await open_new(world, pid=os.getpid())
        fake.fail("upload", "AuthorizationRequired", 403, times=10**6)
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await world.operations.flush(handle)
        assert caught.value.errno == errno.EACCES

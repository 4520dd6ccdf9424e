"""Sessions that print, babble, crash, fork and hang: the call fails, nothing else does, nothing is left."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from orionfs.bridge import BridgePool, CallFailed, CallHandle, CallTimeout
from orionfs.bridge.process import Worker
from tests.bridge.conftest import MakePool, is_running, wait_until

FACTORY = "tests.bridge.wild:make"


@pytest.fixture
def pool(make_pool: MakePool) -> BridgePool:
    return make_pool(FACTORY, metadata_workers=1)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "said" in record.getMessage()]


@contextlib.contextmanager
def ended(pid: int) -> Iterator[int]:
    """A process that nobody else ends."""
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid), "it has ended")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/leave", "status 7"),
        ("/crash", "status -11"),
        ("/garbage", "babbles"),
        ("/number", "babbles"),
        ("/endless", "babbles"),
        ("/half", "status 8"),
        ("/other", "something else"),
        ("/forked", "status 9"),
    ],
)
def test_worker_that_ends_or_babbles_fails_its_call_at_once_and_no_other(
    pool: BridgePool, path: str, why: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(CallFailed, match=why) as failed:
        pool.stat_path(path)
    assert time.monotonic() - begun < 30
    assert failed.value.info["error"] == "WorkerDied"
    assert not failed.value.info["nothing_sent"]
    assert pool.stat_path("/p") == {"path": "/p"}


def test_whatever_is_said_is_in_the_log_line_by_line(
    pool: BridgePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool.stat_path("/said")
    pid = pool.worker_pids()[0]
    pool.close()
    lines = said(caplog)
    assert [line.removeprefix(f"worker {pid}: ") for line in lines] == [
        "said before all",
        "said by print",
        "said on 1",
        "said ??[31m\ufffd\ufffd in binary",
        "said by a child",
    ]


def test_line_without_end_is_cut_and_the_next_one_is_whole(
    pool: BridgePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool.stat_path("/long_line")
    wait_until(lambda: len(said(caplog)) == 3, "all lines are in the log")
    pool.close()
    before, long, after = said(caplog)
    assert len(long) < 5000
    assert after.endswith("said next")
    assert before.endswith("said before all")


def test_what_a_session_started_ends_with_its_worker(pool: BridgePool) -> None:
    child = pool.stat_path("/child")["pid"]
    assert is_running(child)
    with pytest.raises(CallFailed):
        pool.stat_path("/leave")
    wait_until(lambda: not is_running(child), "the child has ended")


@pytest.mark.parametrize("path", ["/own_group", "/forked_away"])
def test_child_that_can_t_be_ended_holds_nothing_up(pool: BridgePool, path: str) -> None:
    threads = threading.active_count()
    with ended(pool.stat_path(path)["pid"]) as child:
        begun = time.monotonic()
        with pytest.raises(CallFailed, match="status 7"):
            pool.stat_path("/leave")
        pool.close()
        assert time.monotonic() - begun < 30
        assert is_running(child)
        assert threading.active_count() <= threads


def test_hour_of_retries_ends_with_the_call(make_pool: MakePool) -> None:
    pool = make_pool(FACTORY, call_timeout_s=0.5)
    pool.stat_path("/p")
    (pid,) = pool.worker_pids()
    with pytest.raises(CallTimeout):
        pool.stat_path("/retry_for_an_hour")
    assert not is_running(pid)


# -- given up ------------------------------------------------------------------------------------


def in_thread(handle: CallHandle, pool: BridgePool, path: str) -> tuple[threading.Thread, list[CallFailed]]:
    failures: list[CallFailed] = []

    def call() -> None:
        try:
            handle.carry(lambda: pool.stat_path(path))
        except CallFailed as failed:
            failures.append(failed)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, failures


def test_call_that_is_given_up_ends_at_once_with_its_worker(
    pool: BridgePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool.stat_path("/p")
    (pid,) = pool.worker_pids()
    handle = CallHandle()
    thread, failures = in_thread(handle, pool, "/retry_for_an_hour")
    wait_until(lambda: any(line.endswith("under way") for line in said(caplog)), "the session retries")
    handle.give_up()
    thread.join()
    assert not is_running(pid)
    assert failures[0].info["error"] == "WorkerDied"
    assert pool._metadata._free == 1


def test_call_that_is_given_up_before_it_is_sent_is_never_made_and_costs_no_worker(
    pool: BridgePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.stat_path("/p")
    pids = pool.worker_pids()
    handle, take = CallHandle(), pool._metadata._take

    def take_and_give_up(*args: Any) -> Any:
        taken = take(*args)
        handle.give_up()
        return taken

    monkeypatch.setattr(pool._metadata, "_take", take_and_give_up)
    with pytest.raises(CallFailed, match="nobody waits") as failed:
        handle.carry(lambda: pool.stat_path("/leave"))
    assert failed.value.info["nothing_sent"] is True
    assert pool.worker_pids() == pids
    assert pool._metadata._free == 1


def test_worker_that_was_killed_after_its_answer_serves_no_further_call(
    pool: BridgePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal may take effect later than the next call finds the worker."""
    handle, call = CallHandle(), Worker.call

    def call_and_give_up(worker: Worker, *args: Any) -> Any:
        answer = call(worker, *args)
        handle.give_up()
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "call", call_and_give_up)
        patch.setattr(Worker, "_signal", lambda *_: None)
        handle.carry(lambda: pool.stat_path("/p"))
    assert pool.worker_pids() == []


def test_call_that_is_given_up_while_it_waits_for_a_worker_is_never_made(pool: BridgePool) -> None:
    pool.stat_path("/p")
    first, second = CallHandle(), CallHandle()
    busy, _ = in_thread(first, pool, "/retry_for_an_hour")
    wait_until(lambda: pool._metadata._free == 0, "the worker is taken")
    waiting, failures = in_thread(second, pool, "/leave")
    wait_until(lambda: second._end is not None, "it waits")
    second.give_up()
    waiting.join(5)
    assert failures[0].info["nothing_sent"] is True
    first.give_up()
    busy.join(5)


def test_call_given_up_before_or_after_it_ends_nothing(pool: BridgePool) -> None:
    handle = CallHandle()
    assert handle.carry(lambda: pool.stat_path("/p")) == {"path": "/p"}
    (pid,) = pool.worker_pids()
    handle.give_up()
    assert is_running(pid)
    with pytest.raises(CallFailed, match="nobody waits"):
        handle.carry(lambda: pool.stat_path("/p"))
    assert pool.worker_pids() == [pid]

"""`BridgePool`: calls in other processes, and what becomes of these."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orionfs.bridge import BridgePool, CallFailed, CallTimeout
from tests.bridge.conftest import MakePool, is_running, wait_until
from tests.client.embedded import REPOSITORY


def pid_of(pool: BridgePool) -> int:
    pid: int = pool.stat_path("/pid")["pid"]
    return pid


def test_nothing_runs_before_the_first_call(make_pool: MakePool) -> None:
    pool = make_pool()
    assert pool.worker_pids() == []
    assert pool.stat_path("/p") == {"path": "/p"}
    assert pool.worker_pids() == [pid_of(pool)]


def test_all_verbs_reach_the_session(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    (tmp_path / "up").write_text("four")
    assert pool.whoami()["profile"] == {"id": 2**60 + 1, "username": "somebody"}
    assert pool.ls_path("/p", {"limit": 2}) == {"path": "/p", "query": {"limit": 2}}
    pool.create_paths(["/a"])
    pool.remove_paths(["/a"])
    pool.assign_paths([{"resource_type": "file", "id": 1, "path": "/a"}])
    assert pool.get("file", 2**60 + 1)["id"] == 2**60 + 1
    assert len(pool.find("file", {"name": "a"})) == 100
    pool.delete("file", 5)
    assert pool.upload("name", str(tmp_path / "up"))["name"] == "name"
    pool.download("file", 5, str(tmp_path / "down"))
    assert (tmp_path / "down").read_text() == "contents of 5"
    assert pool.list_tags("file", 5) == [{"name": "t5"}]
    pool.tag("file", 5, ["a"])
    pool.untag("file", 5, ["a"])


def test_failure_of_a_call_is_told_and_the_worker_lives(make_pool: MakePool) -> None:
    pool = make_pool(metadata_workers=1)
    pid = pid_of(pool)
    with pytest.raises(CallFailed) as missing:
        pool.stat_path("/missing")
    assert missing.value.info["status"] == 404
    assert missing.value.info["detail"] == "not here"
    for path in ("/bug", "/odd"):
        with pytest.raises(CallFailed):
            pool.stat_path(path)
    with pytest.raises(CallFailed):
        pool.call("no_such_verb")
    with pytest.raises(CallFailed):
        pool.call("_class", "file")
    assert pid_of(pool) == pid


def test_names_and_long_answers_pass_unharmed(make_pool: MakePool) -> None:
    pool = make_pool()
    for path in ["/ü \n\t%2F\U0001f9ea", "/not-unicode-\udcff", "/" + "x" * 100_000]:
        assert pool.stat_path(path) == {"path": path}
    assert len(pool.stat_path("/long")["text"]) == 3_000_000


def test_what_a_session_prints_is_logged_and_disturbs_nothing(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = make_pool()
    for _ in range(3):
        assert pool.stat_path("/print") == {"path": "/print"}
    pool.close()
    said = [record for record in caplog.records if "said" in record.getMessage()]
    assert len(said) == 9
    assert {record.levelno for record in said} == {logging.INFO}
    assert all(record.getMessage().isprintable() for record in said)


def test_calls_run_side_by_side_up_to_the_limit(make_pool: MakePool) -> None:
    pool = make_pool(metadata_workers=3)
    with ThreadPoolExecutor(12) as threads:
        done = list(threads.map(pool.stat_path, ["/sleep/0.05"] * 12))
    assert len(done) == 12
    assert len(pool.worker_pids()) == 3


def test_contents_and_metadata_do_not_wait_for_each_other(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(metadata_workers=1, content_workers=1)
    pool.download("file", 5, str(tmp_path / "down"))
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(pool.stat_path, "/sleep/0.5")
        wait_until(lambda: len(pool.worker_pids()) == 2, "two workers")
        pool.download("file", 5, str(tmp_path / "down"))
        assert not slow.done()


def test_call_that_takes_too_long_ends_with_its_worker(make_pool: MakePool) -> None:
    pool = make_pool(call_timeout_s=0.2)
    pid = pid_of(pool)
    with pytest.raises(CallTimeout) as slow:
        pool.stat_path("/sleep/60")
    assert slow.value.info["error"] == "CallTimeout"
    assert slow.value.info["nothing_sent"] is False
    assert not is_running(pid)
    assert pid_of(pool) != pid
    with pytest.raises(CallTimeout):
        pool.call("stat_path", "/sleep/60", timeout_s=0.05)


def test_call_that_finds_no_free_worker_in_time_was_never_sent(make_pool: MakePool) -> None:
    pool = make_pool(metadata_workers=1)
    pid_of(pool)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(pool.stat_path, "/sleep/0.5")
        wait_until(lambda: pool._metadata._free == 0, "the worker is taken")
        with pytest.raises(CallTimeout) as refused:
            pool.call("stat_path", "/p", timeout_s=0.05)
        assert slow.result() == {"path": "/sleep/0.5"}
    assert refused.value.info["nothing_sent"] is True


def test_worker_that_dies_in_a_call_fails_the_call_only(make_pool: MakePool) -> None:
    pool = make_pool()
    with pytest.raises(CallFailed, match="ended with status 3") as died:
        pool.stat_path("/die")
    assert died.value.info["error"] == "WorkerDied"
    assert pool.stat_path("/p") == {"path": "/p"}


def test_idle_worker_that_was_killed_is_replaced(make_pool: MakePool) -> None:
    pool = make_pool()
    pid = pid_of(pool)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not pool._metadata._idle[-1][1].is_alive(), "it is dead")
    assert pid_of(pool) != pid


def test_idle_workers_end_after_their_time(make_pool: MakePool) -> None:
    pool = make_pool(idle_s=0.1)
    pid = pid_of(pool)
    wait_until(lambda: not is_running(pid), "it has ended")
    wait_until(lambda: pool.worker_pids() == [], "it is forgotten")
    assert pid_of(pool) != pid


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("no.such.module:x", "No module"),
        ("tests.bridge.factories:no_such_name", "no_such_name"),
        ("tests.bridge.factories:fail", "not found"),
        ("tests.bridge.factories:leave", "ended with status 4"),
    ],
)
def test_session_that_can_t_be_made_fails_each_call_in_words(
    make_pool: MakePool, factory: str, told: str
) -> None:
    pool = make_pool(factory, metadata_workers=1)
    for _ in range(2):
        with pytest.raises(CallFailed, match=told):
            pool.whoami()
    assert pool.worker_pids() == []


def test_session_that_takes_too_long_to_make_is_a_timeout(make_pool: MakePool) -> None:
    pool = make_pool("tests.bridge.factories:hang", start_timeout_s=0.3)
    with pytest.raises(CallTimeout, match="not ready"):
        pool.whoami()
    assert pool.worker_pids() == []


def test_interpreter_that_is_missing_is_said_so(make_pool: MakePool) -> None:
    pool = make_pool(python="/no/such/python")
    with pytest.raises(CallFailed, match="can't start /no/such/python: No such file") as failed:
        pool.whoami()
    assert failed.value.info["errno"] == 2


def test_environment_of_the_workers_is_what_was_given(make_pool: MakePool) -> None:
    given = {"PYTHONPATH": str(REPOSITORY), "ORIONFS_TEST": "yes"}
    seen = make_pool(env=given).stat_path("/env")
    assert {name: seen[name] for name in given} == given
    assert "HOME" not in seen


def test_close_ends_idle_and_busy_workers_soon(make_pool: MakePool) -> None:
    pool = make_pool()
    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(pool.stat_path, "/sleep/60") for _ in range(3)]
        wait_until(lambda: len(pool.worker_pids()) == 3, "three workers")
        pids = pool.worker_pids()
        begun = time.monotonic()
        pool.close()
        assert time.monotonic() - begun < 30
        for each in slow:
            with pytest.raises(CallFailed):
                each.result(5)
    assert not any(is_running(pid) for pid in pids)
    assert pool.worker_pids() == []
    with pytest.raises(CallFailed, match="closed"):
        pool.stat_path("/p")
    pool.close()


def test_close_ends_a_worker_that_is_just_starting(make_pool: MakePool) -> None:
    pool = make_pool("tests.bridge.factories:hang")
    with ThreadPoolExecutor(1) as threads:
        starting = threads.submit(pool.whoami)
        wait_until(lambda: len(pool.worker_pids()) == 1, "it starts")
        pool.close()
        with pytest.raises(CallFailed):
            starting.result(5)


def test_worker_that_ignores_sigterm_is_killed(make_pool: MakePool, tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfrom tests.bridge.factories import *\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    pool = make_pool("stubborn:make", env=environment)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(pool.stat_path, "/sleep/60")
        wait_until(lambda: len(pool.worker_pids()) == 1, "it runs")
        (pid,) = pool.worker_pids()
        pool.close()
        with pytest.raises(CallFailed):
            slow.result(30)
    assert not is_running(pid)


def test_many_calls_from_many_threads_leave_no_descriptor_and_no_zombie(make_pool: MakePool) -> None:
    pool = make_pool(metadata_workers=4, call_timeout_s=30)
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(20):
            path = f"/{number}/{turn}"
            try:
                if pool.stat_path(path) != {"path": path}:
                    wrong.append(path)
                if turn == number:
                    pool.stat_path("/die")
            except CallFailed as failed:
                if failed.info["error"] != "WorkerDied":
                    wrong.append(str(failed))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_workers_die_with_their_daemon_even_in_the_middle_of_a_call() -> None:
    program = (
        "import sys, threading\n"
        "from orionfs.bridge import BridgePool\n"
        "pool = BridgePool(sys.executable, 'tests.bridge.factories:make')\n"
        "print(pool.stat_path('/pid')['pid'], flush=True)\n"
        "pool.stat_path('/sleep/60')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    daemon = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert daemon.stdout is not None
    pid = int(daemon.stdout.readline())
    assert is_running(pid)
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    wait_until(lambda: not is_running(pid), "the worker has ended as well")


def test_connections_that_may_lead_nowhere_end_with_their_idle_workers(make_pool: MakePool) -> None:
    pool = make_pool()
    with ThreadPoolExecutor(1) as threads:
        idle = pid_of(pool)
        pool.forget_connections()
        wait_until(lambda: not is_running(idle), "the idle worker to end")
        busy = threads.submit(pool.stat_path, "/sleep/0.5")
        wait_until(lambda: bool(pool.worker_pids()), "a worker")
        pool.forget_connections()
        busy.result()  # a call that is under way goes on
    assert pid_of(pool) != idle

"""What holds for every test, whatever it tests.

* A log record of level WARNING or above fails the test, unless `expect_log("regex")` declares it.
* An `async def` test runs under trio; with `virtual_time` its clock jumps when nothing else is to do.
  There are no async fixtures: a test opens what it needs with `async with`.
* Processes of `orionfs` are forked from a loaded one (`tests.forked`), except in a test marked `started`.
* Every process that a test starts finds the modules compiled, whatever the environment says of that; so do
  the workers of a run (`tests.compiling`).
* Tests that take long are not there, unless they are asked for; nor are most cases of a test marked `some`.
* Nothing of the user is touched: HOME and the XDG folders lie in the session's temporary folder.
* Mounts that an aborted run left below pytest's temporary folders are taken away.
"""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import os
import random
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trio
import trio.testing

from orionfs.mountinfo import ORIONFS_TYPE, read_mountinfo
from tests import compiling, forked
from tests.documented.shapes import SEED_VARIABLE
from tests.standin.python import NoVendorPython, VendorPython, vendor_python

XDG_FOLDERS = {
    "XDG_CONFIG_HOME": "config",
    "XDG_CACHE_HOME": "cache",
    "XDG_STATE_HOME": "state",
    "XDG_DATA_HOME": "data",
    "XDG_RUNTIME_DIR": "run",
}

HERE = Path(__file__).parent
LONGEST = {
    "booted/test_systemd.py",
    "client/test_switches_covering.py",
    "docs/test_tour.py",
    "faults/test_disk_full.py",
    "faults/test_kill_load.py",
    "faults/test_leaks.py",
    "faults/test_memory.py",
    "model/test_random_operations.py",
    "model/test_two_clients.py",
    "mount/test_random.py",
    "mount/test_switches_covering.py",
    "packaging/test_packages.py",
}
"""Modules with tests that take ten seconds or more."""

# A machine under load makes any time limit on one example a matter of luck.
hypothesis.settings.register_profile("short", deadline=None, max_examples=50)
hypothesis.settings.register_profile("long", deadline=None, max_examples=500)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long and --started."""
    parser.addoption("--long", action="store_true", help="run the tests that take minutes as well")
    parser.addoption("--started", action="store_true", help="start all processes, as tests marked so do")


def pytest_configure(config: pytest.Config) -> None:
    """Listen to the log from here on, so that fixtures and background threads are heard too.

    The workers of a run inherit its seed of the documented session's shapes, and so do they and all
    other processes that modules are kept compiled: to compile ours takes longer than most tests.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault(SEED_VARIABLE, str(random.SystemRandom().randrange(10**6)))
    handler = _Collector()
    config.stash[_COLLECTOR] = handler
    logging.getLogger().addHandler(handler)
    hypothesis.settings.load_profile("long" if config.getoption("--long") else "short")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the modules compiled before the workers start."""
    compiling.compile_for_workers(session.config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage in what is collected, now or later: all of it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_report_header() -> str:
    """Say what was drawn, so that it can be drawn again."""
    return f"{SEED_VARIABLE}={os.environ[SEED_VARIABLE]}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop listening."""
    logging.getLogger().removeHandler(config.stash[_COLLECTOR])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for; skip what this machine can't do, saying why."""
    for item in items:
        if item.get_closest_marker("own_first") and "documented" in item.name.partition("[")[2]:
            item.add_marker(pytest.mark.long)
    _leave_most_to_long(items)
    if not config.getoption("--long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    # What takes long by itself begins first, or one of the workers is still at it when the others have ended.
    items.sort(key=lambda item: os.path.relpath(item.path, HERE) not in LONGEST)
    why_no_fuse = _why_no_fuse()
    for item in items:
        if item.get_closest_marker("needs_fuse") and why_no_fuse:
            item.add_marker(pytest.mark.skip(reason=why_no_fuse))


def _leave_most_to_long(items: list[pytest.Item]) -> None:
    """Of a test marked `some(count)`, so many cases are run each time: always the same, drawn by its name."""
    cases = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if item.get_closest_marker("some") and not item.get_closest_marker("long"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, drawn_from in cases.items():
        mark = drawn_from[0].get_closest_marker("some")
        assert mark is not None
        drawn = random.Random(name).sample(drawn_from, min(mark.args[0], len(drawn_from)))
        for item in drawn_from:
            if item not in drawn:
                item.add_marker(pytest.mark.long)


def _why_no_fuse() -> str | None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "can't mount: /dev/fuse is missing or not ours to open (as root: chmod 0666 /dev/fuse)"
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return "can't mount: no fusermount3 on PATH (install the package fuse3)"
    return None


# -- the log -------------------------------------------------------------------------------------


class _Collector(logging.Handler):
    """Keeps the warnings and errors since the last `take`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def take(self) -> list[logging.LogRecord]:
        records, self._records = self._records, []
        return records


_COLLECTOR = pytest.StashKey[_Collector]()


ALWAYS_DECLARED = ["it was not made here, so this machine knows nobody with whom it is shared"]
"""What is said of every item that a test makes beside the mount and saves through it."""


def _check_log(item: pytest.Item) -> Generator[None, object, object]:
    collector = item.config.stash[_COLLECTOR]
    try:
        outcome = yield
    finally:
        records = collector.take()
    expected = [*ALWAYS_DECLARED, *(marker.args[0] for marker in item.iter_markers("expect_log"))]
    declared = [re.compile(pattern) for pattern in expected]
    lines = [f"{record.levelname} {record.name}: {record.getMessage()}" for record in records]
    undeclared = [line for line in lines if not any(pattern.search(line) for pattern in declared)]
    if undeclared:
        pytest.fail("undeclared log records:\n" + "\n".join(undeclared), pytrace=False)
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose fixtures log a warning."""
    return (yield from _check_log(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that logs a warning."""
    return (yield from _check_log(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose clean-up logs a warning."""
    return (yield from _check_log(item))


# -- async tests ---------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run async tests, hypothesis ones included, under trio."""
    is_virtual = pyfuncitem.get_closest_marker("virtual_time") is not None
    given = getattr(pyfuncitem.obj, "hypothesis", None)
    if given is not None and inspect.iscoroutinefunction(given.inner_test):
        given.inner_test = _run_by_trio(given.inner_test, is_virtual)
        return None
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: value for name, value in pyfuncitem.funcargs.items() if name in names}
    _run_by_trio(pyfuncitem.obj, is_virtual)(**arguments)
    return True


def _run_by_trio(function: Callable[..., Coroutine[Any, Any, None]], is_virtual: bool) -> Callable[..., None]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        clock = trio.testing.MockClock(autojump_threshold=0) if is_virtual else None
        trio.run(functools.partial(function, *args, **kwargs), clock=clock)

    return run


# -- the machine ---------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of the session's own; what tests start inherits it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("ORION", "XDG_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        for variable, folder in XDG_FOLDERS.items():
            (home / folder).mkdir(mode=0o700)
            patch.setenv(variable, str(home / folder))
        # A proxy of the environment has no business with what is on loopback.
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        yield home


@pytest.fixture(scope="session", autouse=True)
def _forking(own_home: Path, pytestconfig: pytest.Config) -> Iterator[None]:
    """Processes of ours are forked from one that has everything loaded."""
    if pytestconfig.getoption("--started"):
        yield
        return
    with forked.forking():
        yield


@pytest.fixture(autouse=True)
def _is_started(request: pytest.FixtureRequest) -> Iterator[None]:
    """Really start what a test of the start is about."""
    forked.Server.is_off = request.node.get_closest_marker("started") is not None
    yield
    forked.Server.is_off = False


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory, own_home: Path) -> VendorPython:
    """An interpreter with the stand-in for the vendor's client."""
    ours = tmp_path_factory.getbasetemp()
    is_one_of_many = "PYTEST_XDIST_WORKER" in os.environ
    try:
        return vendor_python(ours.parent if is_one_of_many else ours)
    except NoVendorPython as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session", autouse=True)
def _no_mount_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sweep before (dead mounts of any run: a live one may be another run's) and after (all of ours)."""
    ours = tmp_path_factory.getbasetemp().resolve()
    for mountpoint in _orionfs_mounts_below(ours.parent):
        if _is_dead(mountpoint):
            _unmount_lazily(mountpoint)
    yield
    for mountpoint in _orionfs_mounts_below(ours):
        _unmount_lazily(mountpoint)


def _orionfs_mounts_below(folder: Path) -> list[Path]:
    return [
        entry.mountpoint
        for entry in read_mountinfo()
        if entry.fs_type == ORIONFS_TYPE and entry.mountpoint.is_relative_to(folder)
    ]


def _is_dead(mountpoint: Path) -> bool:
    """Ask in another process, since a call into a mount that hangs never returns."""
    command = ["stat", "--file-system", str(mountpoint)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=5, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except subprocess.TimeoutExpired:
        return False
    return b"Transport endpoint is not connected" in done.stderr


def _unmount_lazily(mountpoint: Path) -> None:
    command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
    subprocess.run([*command, str(mountpoint)], check=False, capture_output=True, timeout=30)

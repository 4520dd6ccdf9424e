"""The worker's program: what it may be written in, how it talks, how it finds its session."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orionfs.bridge import program, worker
from orionfs.bridge.program import load
from orionfs.bridge.worker import read_message, write_message
from tests.bridge import factories
from tests.bridge.conftest import MakePool
from tests.client import embedded

SOURCES = [Path(worker.__file__), Path(program.__file__)]


def old_interpreters() -> list[str]:
    """Pythons that are older than ours and can be started."""
    found = []
    for name in ("python3.8", "python3.9", "python3.10"):
        on_path = shutil.which(name)
        if on_path is None:
            continue
        # What pyenv puts on PATH works in some folders only; the real ones lie beside it.
        real = Path(on_path).parents[1].glob(f"versions/*/bin/{name}")
        for path in [on_path, *map(str, real)]:
            command = [path, "-c", "import sys; print(sys.executable)"]
            done = subprocess.run(command, capture_output=True, text=True)
            found += [done.stdout.strip()] if done.returncode == 0 else []
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_worker_is_written_for_python_3_8_and_the_standard_library(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {
        str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    evaluated = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and any(keyword.arg == "strict" for keyword in node.keywords)
    ]
    assert evaluated == []


def test_worker_runs_under_an_older_interpreter(make_pool: MakePool, tmp_path: Path) -> None:
    interpreters = old_interpreters()
    if not interpreters:
        pytest.skip("no Python 3.8, 3.9 or 3.10 on PATH to try it with")
    folder = tmp_path / "vendor" / "oldclient"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "session.py").write_text(
        Path(factories.__file__).read_text().replace("    types: Any = Types\n", "")
    )
    (folder / "types.py").write_text("from oldclient.session import File\n")
    environment = {**os.environ, "PYTHONPATH": str(folder.parent)}
    pool = make_pool("oldclient.session:Session", python=interpreters[0], env=environment)
    assert pool.whoami()["profile"]["username"] == "somebody"
    pool.create_paths(["/a"])


def test_messages_pass_whole_in_whatever_pieces() -> None:
    here, there = socket.socketpair()
    message = {"id": 2**60 + 1, "text": "ü\udcff\U0001f9ea", "list": [None, True, 1.5]}
    write_message(here, message)
    assert read_message(lambda count: there.recv(min(count, 3))) == message
    here.close()
    assert read_message(there.recv) is None
    there.close()


def test_message_that_breaks_off_is_the_end_and_one_too_long_an_error() -> None:
    pieces = iter([b"\0\0\0\x09", b"{"])
    assert read_message(lambda _count: next(pieces, b"")) is None
    with pytest.raises(ValueError, match="bytes"):
        read_message(lambda _count: b"\xff" * 4)


@pytest.mark.parametrize("name", ["make", "ready_made", "Session"])
def test_factory_may_be_a_function_a_session_or_a_class(name: str) -> None:
    session, types = load(f"tests.bridge.factories:{name}")
    assert isinstance(session, factories.Session)
    assert types is factories.Types


def test_types_are_found_beside_the_session_s_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORIONFS_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ORIONFS_TOKEN", "x")
    session, types = load("tests.documented.session:make_session")
    assert types.__name__ == "tests.documented.types"
    session._inner.close()


def test_module_beside_the_worker_hides_nothing(make_pool: MakePool, tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(
        "from tests.bridge.factories import *\n"
        "session = Session()\n"
        "session.stat_path = lambda p: {'file': __file__}\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{embedded.REPOSITORY}"}
    pool = make_pool("pool:session", env=environment)
    with pytest.raises(Exception, match="No module"):
        make_pool("process:session", env=environment).whoami()
    assert pool.stat_path("/x") == {"file": str(tmp_path / "pool.py")}

"""Which interpreter has the vendor's client, and what is said of those that have not."""

from __future__ import annotations

import ast
import os
import sys
import time
from pathlib import Path

import pytest

from orionfs.bridge import Discovery, discovery, find_client
from orionfs.errors import ExitStatus, StartupError
from orionfs.orion import sessions
from orionfs.profiles import VENDOR_CLIENT, Profile
from tests.bridge.conftest import children, wait_until

PYTHON = sys.executable


def package(folder: Path, **modules: str) -> Path:
    """A package `orionclient` in a folder of its own."""
    made = folder / "packages" / "orionclient"
    made.mkdir(parents=True, exist_ok=True)
    for name, text in {"__init__": "", **modules}.items():
        (made / f"{name}.py").write_text(text)
    return made.parent


def python(folder: Path, *, packages: Path | None = None, name: str = "python3") -> Path:
    """An interpreter that has what is in `packages`."""
    folder.mkdir(parents=True, exist_ok=True)
    return script(folder / name, f'PYTHONPATH={packages or ""} exec {PYTHON} "$@"')


def script(path: Path, *lines: str, first: str = "#!/bin/sh") -> Path:
    path.write_text("\n".join([first, *lines, ""]))
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nothing_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither our interpreter nor PATH have a client, whatever this machine has."""
    monkeypatch.setattr(sys, "executable", str(python(tmp_path / "ours")))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """An interpreter with a client."""
    packages = package(
        tmp_path / "vendor", session="class OrionSession: ...", __init__="__version__ = '6.8.0'"
    )
    return python(tmp_path / "vendor", packages=packages)


def problem(found: Discovery) -> str:
    assert found.found is None
    assert "\n" not in found.problem
    return found.problem


def test_interpreter_of_the_profile_is_found_with_its_versions(good: Path) -> None:
    (candidate,) = find_client(str(good)).candidates
    assert candidate.problem is None
    assert (candidate.python, candidate.client_version) == (str(good), "6.8.0")
    assert candidate.python_version == ".".join(map(str, sys.version_info[:3]))


def test_our_own_interpreter_comes_first(good: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(good))
    script(tmp_path / "bin" / "ocli", first=f"#!{tmp_path}/no/python")
    found = find_client()
    assert [each.python for each in found.candidates] == [str(good)]


@pytest.mark.parametrize("first", ["#!{}", "#! {} -s", "#!/usr/bin/env -S {} -E", "#!/usr/bin/env {}"])
def test_interpreter_of_ocli_comes_next(good: Path, tmp_path: Path, first: str) -> None:
    script(tmp_path / "bin" / "ocli", first=first.format(good))
    found = find_client()
    assert found.found is not None
    assert found.found.python == str(good)
    assert "no orionclient" in str(found.candidates[0].problem)
    assert str(tmp_path / "bin" / "ocli") in found.found.source


def test_interpreter_of_ocli_may_be_one_on_path(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{good.parent}:{os.environ['PATH']}")
    script(tmp_path / "bin" / "ocli", first="#!/usr/bin/env python3")
    found = find_client().found
    assert found is not None
    assert found.python == str(good)


OCLI = {
    "space": ("#!/opt/open eye/bin/python3", "path with a space, '/opt/open eye/bin/python3'"),
    "shell": ("#!/bin/sh", "no Python that is there: '/bin/sh'"),
    "missing": ("#!/no/such/python3", "no Python that is there: '/no/such/python3'"),
    "nothing": ("#!", "names no interpreter"),
    "binary": ("\x7fELF\x02", "names no interpreter"),
    "env": ("#!/usr/bin/env", "no Python that is there"),
}


@pytest.mark.parametrize(("first", "told"), OCLI.values(), ids=OCLI.keys())
def test_ocli_that_names_no_interpreter_is_told_with_what_to_do(
    tmp_path: Path, first: str, told: str
) -> None:
    script(tmp_path / "bin" / "ocli", first=first)
    assert told in problem(find_client())
    assert "say with client_python which one to use" in find_client().problem


def test_no_client_at_all_is_one_line_that_says_what_to_install() -> None:
    told = problem(find_client())
    assert "it has no orionclient: install openeye-orionplatform" in told
    assert "ocli: no such command on PATH" in told


@pytest.mark.parametrize(
    "modules",
    [{}, {"client": "class Orion: ..."}, {"session": "class Session: ..."}],
    ids=["empty", "client", "session"],
)
def test_unrelated_package_of_the_same_name_is_recognised(tmp_path: Path, modules: dict[str, str]) -> None:
    packages = package(tmp_path / "fiware", **modules)
    told = problem(find_client(str(python(tmp_path / "fiware", packages=packages))))
    assert "is another project of that name, not OpenEye's: install openeye-orionplatform" in told
    assert str(packages / "orionclient") in told


def test_unrelated_module_without_a_package_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "orionclient.py").write_text("class OrionClient: ...")
    told = problem(find_client(str(python(tmp_path / "single", packages=tmp_path))))
    assert "another project of that name" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("raise SystemExit('licence\\x1b[1m expired')", "SystemExit: licence?[1m expired"),
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os._exit(3)", "no Python that works: it said nothing"),
        ("print('hello'); import os; os.abort()", "no Python that works"),
    ],
)
def test_client_that_can_t_be_imported_is_told_with_its_reason(tmp_path: Path, text: str, told: str) -> None:
    packages = package(tmp_path / "broken", session=text)
    assert told in problem(find_client(str(python(tmp_path / "broken", packages=packages))))


def test_client_that_prints_is_understood(tmp_path: Path) -> None:
    session = "import sys\nprint('hello')\nsys.stderr.write('no newline')\nclass OrionSession: ..."
    packages = package(tmp_path / "chatty", session=session)
    assert find_client(str(python(tmp_path / "chatty", packages=packages))).found is not None


@pytest.mark.parametrize(
    "session",
    [
        "import time; time.sleep(60)",
        "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)",
    ],
)
def test_client_that_hangs_at_import_is_told_within_the_limit(tmp_path: Path, session: str) -> None:
    before = children()
    packages = package(tmp_path / "slow", session=session)
    begun = time.monotonic()
    told = problem(find_client(str(python(tmp_path / "slow", packages=packages)), limit_s=0.5))
    assert time.monotonic() - begun < 30
    assert "not imported within 0.5 s" in told
    wait_until(lambda: children() == before, "nothing is left")


def test_client_that_leaves_a_process_behind_is_good(tmp_path: Path) -> None:
    session = "import subprocess; subprocess.Popen(['sleep', '60'])\nclass OrionSession: ..."
    packages = package(tmp_path / "helper", session=session)
    found = find_client(str(python(tmp_path / "helper", packages=packages)), limit_s=2)
    assert found.found is not None


def test_old_python_is_told_with_its_version(tmp_path: Path) -> None:
    answer = f'{discovery._ANSWER_MARK}{{"python": [3, 7, 16]}}'
    old = script(tmp_path / "python3.7", f"echo '{answer}'")
    (candidate,) = find_client(str(old)).candidates
    assert candidate.problem == "it is Python 3.7.16; 3.8 or newer is needed"
    assert candidate.python_version == "3.7.16"


def test_question_is_understood_by_old_pythons() -> None:
    ast.parse(discovery._QUESTION, feature_version=(3, 0))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/no/such/python", "there is no such file or command"),
        ("no-such-python", "there is no such file or command"),
        ("{}", "this is a folder; its interpreter is needed, perhaps {}/bin/python"),
        ("{}/plain", "it can't be run"),
        ("{}/sh", "it is no Python that works"),
        ("{}/strange", "it can't be started"),
    ],
)
def test_wrong_client_python_is_told_in_one_line(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "plain").write_text("x")
    script(tmp_path / "sh", "echo what?")
    script(tmp_path / "strange", first="#!/no/such/interpreter")
    name, told = name.format(tmp_path), told.format(tmp_path)
    found = find_client(name)
    assert len(found.candidates) == 1
    assert problem(found).startswith(f"client_python {name}: {told}")


def test_profile_without_a_client_can_t_be_mounted(tmp_path: Path) -> None:
    profile = Profile("p", None, None, None, VENDOR_CLIENT, str(tmp_path / "nothing"))
    with pytest.raises(StartupError, match=r"OpenEye's client can't be used: .*no such file") as refused:
        sessions.connect(profile, 75)
    assert refused.value.exit_status is ExitStatus.CONFIG

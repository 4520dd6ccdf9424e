"""Which interpreter has the vendor's client.

Used by `sessions` before anything is mounted, and by whoever explains to people what was found. Every
interpreter is asked in a process of its own, within a limit: the daemon imports no foreign code. Must
not know profiles; what failed is a reason in words, not an exception.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Candidate", "Discovery", "find_client"]

ASK_LIMIT_S = 30.0
"""For how long an interpreter may take to import the client: from a network folder that is seconds."""

_FIRST_LINE_MAX_BYTES = 4096
_ANSWER_MARK = "orionfs-found:"
_DETAIL_MAX = 200
_SAY_WHICH = "say with client_python which one to use"
_INSTALL = "install openeye-orionplatform from OpenEye's package index"
# Any Python from 2.7 on understands this; the last line it prints that begins with the mark counts.
_QUESTION = f"""
import json, sys
sys.path[:] = [entry for entry in sys.path if entry]
found = {{"python": list(sys.version_info[:3])}}
if sys.version_info >= (3, 8):
    import importlib
    try:
        package = importlib.import_module("orionclient")
        found["package"] = str(getattr(package, "__file__", None) or list(package.__path__)[0])
        found["session"] = hasattr(importlib.import_module("orionclient.session"), "OrionSession")
        found["version"] = getattr(package, "__version__", None)
        if found["session"] and found["version"] is None:
            from importlib import metadata
            found["version"] = metadata.version("openeye-orionplatform")
    except BaseException as exc:
        found["error"] = [type(exc).__name__, str(exc), getattr(exc, "name", None)]
sys.stdout.write("\\n{_ANSWER_MARK}" + json.dumps(found) + "\\n")
sys.stdout.flush()
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One interpreter that was thought of.

    `source` says in words why it was, `problem` why it is not the one (None: it is). `python_version`
    and `client_version` are texts for people, None where they are not known.
    """

    source: str
    python: str | None
    python_version: str | None = None
    client_version: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Discovery:
    """All candidates in the order in which they were tried; the last one is good, or none is."""

    candidates: tuple[Candidate, ...]

    @property
    def found(self) -> Candidate | None:
        """The interpreter to use."""
        return next((each for each in self.candidates if each.problem is None), None)

    @property
    def problem(self) -> str:
        """Why there is none, in one line."""
        return "; ".join(f"{each.source}: {each.problem}" for each in self.candidates if each.problem)


def find_client(client_python: str | None = None, limit_s: float = ASK_LIMIT_S) -> Discovery:
    """Look for an interpreter that can import the vendor's session.

    `client_python` is the one that the user names (a path, or a command on PATH); then no other is
    tried. Else it is ours, or the one that the vendor's command `ocli` on PATH runs under.
    """
    tried: list[Candidate] = []
    for source, python, problem in _thought_of(client_python):
        if python is None:
            tried.append(Candidate(source, None, problem=problem))
        else:
            tried.append(_asked(source, python, limit_s))
        if tried[-1].problem is None:
            break
    return Discovery(tuple(tried))


def _thought_of(client_python: str | None) -> Iterator[tuple[str, str | None, str]]:
    """Why, which interpreter, and where there is none the reason."""
    if client_python is not None:
        yield f"client_python {client_python}", *_named_by_user(client_python)
        return
    yield f"the Python of orionfs ({sys.executable})", sys.executable, ""
    ocli = shutil.which("ocli")
    if ocli is None:
        yield "ocli", None, "no such command on PATH"
    else:
        yield f"the Python of {ocli}", *_named_by_script(Path(ocli))


def _named_by_user(name: str) -> tuple[str | None, str]:
    path = Path(name).expanduser()
    if path.is_dir():
        return None, f"this is a folder; its interpreter is needed, perhaps {path}/bin/python"
    python = shutil.which(name if path.name == name else str(path.absolute()))
    problem = "it can't be run" if path.exists() else "there is no such file or command"
    return (python, "") if python is not None else (None, problem)


def _named_by_script(script: Path) -> tuple[str | None, str]:
    """The interpreter in the first line of a Python command."""
    try:
        with script.open("rb") as stream:
            line = stream.readline(_FIRST_LINE_MAX_BYTES)
    except OSError as error:
        return None, f"it can't be read: {error.strerror}"
    words = line.decode("utf-8", "replace").removeprefix("#!").split()
    if not line.startswith(b"#!") or not words:
        return None, f"its first line names no interpreter; {_SAY_WHICH}"
    if Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    elif _has_space(words):
        return None, f"its first line names a path with a space, {' '.join(words)!r}; {_SAY_WHICH}"
    python = shutil.which(words[0]) if words else None
    if python is None or not Path(words[0]).name.startswith(("python", "pypy")):
        return (
            None,
            f"its first line names no Python that is there: {_short(' '.join(words))!r}; {_SAY_WHICH}",
        )
    return python, ""


def _has_space(words: list[str]) -> bool:
    """Whether the path of an interpreter was cut in two: what is there is the path with the space."""
    return len(words) > 1 and not words[1].startswith("-")


def _asked(source: str, python: str, limit_s: float) -> Candidate:
    """What an interpreter says of itself and of its client."""
    answer, problem = _ask(python, limit_s)
    if answer is None:
        return Candidate(source, python, problem=problem)
    version = ".".join(map(str, answer["python"]))
    if answer["python"] < [3, 8]:
        problem = f"it is Python {version}; 3.8 or newer is needed"
        return Candidate(source, python, version, problem=problem)
    return Candidate(source, python, version, answer.get("version"), _problem_of(answer))


def _problem_of(answer: dict[str, Any]) -> str | None:
    if answer.get("session"):
        return None
    kind, detail, missing = answer.get("error") or ("", "", None)
    if "package" not in answer and missing == "orionclient":
        return f"it has no orionclient: {_INSTALL} into it"
    if "package" in answer and (kind == "" or missing == "orionclient.session"):
        package = _short(answer["package"])
        return (
            f"its orionclient ({package}) is another project of that name, not OpenEye's: {_INSTALL} instead"
        )
    return f"its orionclient can't be imported: {kind}: {_short(detail)}"


def _ask(python: str, limit_s: float) -> tuple[dict[str, Any] | None, str]:
    # Into a file: the end of a pipe would be waited for as long as anything the client starts holds it.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [python, "-c", _QUESTION],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return None, f"it can't be started: {error.strerror or error}"
        is_late = not _ends_within(process, limit_s)
        output.seek(0)
        said = output.read()
    if is_late:
        return None, f"its orionclient was not imported within {limit_s:g} s"
    text = _short(said.decode("utf-8", "replace"))
    return _answer_in(said), f"it is no Python that works: {text or 'it said nothing'}"


def _ends_within(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Wait for the end of a process, or end it; what it has started ends in any case."""
    try:
        process.wait(limit_s)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answer_in(said: bytes) -> dict[str, Any] | None:
    marked = [line for line in said.decode("ascii", "replace").split("\n") if line.startswith(_ANSWER_MARK)]
    if not marked:
        return None
    answer: dict[str, Any] = json.loads(marked[-1].removeprefix(_ANSWER_MARK))
    return answer


def _short(text: str) -> str:
    """The last line of a text, as it can be shown."""
    last = (text.strip().splitlines() or [""])[-1]
    return "".join(char if char.isprintable() else "?" for char in last)[:_DETAIL_MAX]

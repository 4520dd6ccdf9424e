"""One bash session as somebody sits before it: a command in, what the screen shows out."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# On a terminal ls writes columns and quotes names that a shell would take apart.
_LIKE_A_TERMINAL = 'ls() { command ls -C --width=80 --quoting-style=shell-escape "$@"; }\n'


class Terminal:
    """A bash that reads commands one by one; close it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        read_end, self._commands = os.pipe()
        # Commands must not read what is typed next, so the shell has them from elsewhere than stdin.
        self._bash = subprocess.Popen(
            ["bash", "--norc", f"/dev/fd/{read_end}"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[read_end],
            start_new_session=True,
        )
        os.close(read_end)
        self._shown = b""
        self._send(_LIKE_A_TERMINAL)

    def type(self, command: str, lines_due: int, timeout_s: float) -> list[str]:
        """The lines that a command shows. One that goes on behind may show `lines_due` afterwards."""
        end = f"end-{uuid.uuid4().hex}".encode()
        deadline = time.monotonic() + timeout_s
        self._send(f"{command}\necho {end.decode()}\n")
        shown = self._read(lambda: end + b"\n" in self._shown, deadline)
        before, _, after = shown.partition(end + b"\n")
        self._shown = before + after
        if command.endswith("&"):
            self._read(lambda: self._shown.count(b"\n") >= lines_due, deadline)
            # What is more than that is not lost: the next command shows it.
            lines = self._shown.splitlines(keepends=True)
            before, self._shown = b"".join(lines[:lines_due]), b"".join(lines[lines_due:])
        else:
            before, self._shown = self._shown, b""
        return before.decode("utf-8", "replace").splitlines()

    def close(self) -> None:
        """End the shell and all that it started and that is still its own."""
        os.close(self._commands)
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGTERM)
        self._bash.wait(20)
        assert self._bash.stdout is not None
        self._bash.stdout.close()

    def _send(self, text: str) -> None:
        os.write(self._commands, text.encode())

    def _read(self, is_enough: Callable[[], bool], deadline: float) -> bytes:
        assert self._bash.stdout is not None
        while not is_enough():
            left_s = max(0.0, deadline - time.monotonic())
            is_there, _, _ = select.select([self._bash.stdout], [], [], left_s)
            piece = os.read(self._bash.stdout.fileno(), 65536) if is_there else b""
            assert piece, f"no more than this came in time: {self._shown!r}"
            self._shown += piece
        return self._shown


def uniform(lines: Sequence[str], home: str) -> list[str]:
    """Lines without what differs between runs: dates, ports, ids, owners, widths, sizes of disks."""
    text = "\n".join(_uniform_line(line.replace(home[1:], "home/you")) for line in lines)
    return text.rstrip("\n").splitlines()


def _uniform_line(line: str) -> str:
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", line)
    line = re.sub(r"(user\.orion\.id=)\"\d+\"|(\"id\": |\bid +|\w://)\d+", r"\1\2ID", line)
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", line)
    line = re.sub(r"~(file|dataset)-\d+", r"~\1-ID", line)
    line = re.sub(r"\(pid \d+\)", "(pid N)", line)
    line = re.sub(r"^([-d][-rwx]{9} \d+) \S+ +\S+", r"\1 USER GROUP", line)
    line = re.sub(r"\b[A-Z][a-z]{2} [ \d]\d +(\d\d:\d\d|\d{4})\b", "DATE", line)
    line = re.sub(r"^(orion:\S+)( +[\d.]+[KMGTP]?){3} +\d+%", r"\1 SIZES", line)
    return re.sub(r" +", " ", line).rstrip()


def agrees(told: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether the lines are these; a told line `...` stands for any number of them."""
    pattern = "".join("(?:[^\\n]*\\n)*" if line == "..." else re.escape(line) + "\n" for line in told)
    return re.fullmatch(pattern, "".join(line + "\n" for line in shown), re.DOTALL) is not None

"""What is shown to people: names made harmless, commands they can paste, waiting made visible."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orionfs.printable import printable as printable


def echo_path(path: str, *, is_null: bool = False) -> None:
    """Print a path: harmless on a terminal, byte for byte for a program that reads it."""
    if is_null or not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + (b"\0" if is_null else b"\n"))
    else:
        print(printable(path))


def shell_word(path: Path | str) -> str:
    """A path as a shell needs it, control characters included."""
    text = str(path)
    return shlex.quote(text) if text.isprintable() else "$'" + _ansi_c(text) + "'"


def _ansi_c(text: str) -> str:
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and chr(byte) not in "'\\" else f"\\x{byte:02x}" for byte in raw
    )


def own_command() -> str:
    """How this program can be called from the shell that called it."""
    started = Path(sys.argv[0])
    found = shutil.which("orionfs")
    if found is not None or started.name != "orionfs":
        return "orionfs"
    return shell_word(started.absolute())


@contextmanager
def waiting(message: str) -> Iterator[Callable[[str], None]]:
    """Show what is waited for, if somebody is looking; the function given changes the words."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(message))) as status:
        yield lambda words: status.update(Text(printable(words)))


@contextmanager
def uploading(message: str) -> Iterator[Callable[[int | None, int | None], None]]:
    """Show how far uploads are, if somebody is looking; the function is told what is left: items, bytes."""
    if not sys.stderr.isatty():
        yield lambda _items, _bytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(bar_width=30), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        words = printable(message)
        task, most = progress.add_task(words, total=None), 0

        def show(items: int | None, left_bytes: int | None) -> None:
            nonlocal most
            left = f"{words}: {items} to upload" if items is not None else words
            most = max(most, left_bytes or 0)
            done = most - left_bytes if left_bytes is not None else 0
            progress.update(task, description=left, total=most or None, completed=done)

        yield show


def counted(number: int, noun: str) -> str:
    """ "1 folder", "2 folders"."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"

"""A mount as far as its attributes: files in memory, behind the system calls that commands make."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orionfs.cli import items
from orionfs.cli.refresh import Place
from orionfs.mountinfo import MountEntry
from orionfs.xattrs.attribute_text import PREFIX

Attributes = dict[str, str]


class FakeMount:
    """Items of a mount at `point`, and their attributes, named without `user.orion.`.

    `refusals` say which system call on which item fails, and what the mount then knows of that.
    """

    def __init__(self, point: Path) -> None:
        self.point = point
        self.items: dict[str, Attributes] = {}
        self.refusals: dict[tuple[str, str], tuple[int, str]] = {}
        self.calls: list[str] = []
        self._lock = threading.Lock()

    def add(self, name: str, /, **attributes: str) -> Path:
        """An item at the top; its path."""
        self.items[name] = {"type": "file", "tags": "", **attributes}
        (self.point / name).write_bytes(b"12345")
        return self.point / name

    def tags(self, name: str) -> list[str]:
        """The tags of an item."""
        return self.items[name]["tags"].split("\n") if self.items[name]["tags"] else []

    def place_of(self, path: str) -> Place | None:
        """What `find_place` says."""
        if not Path(path).is_relative_to(self.point):
            return None
        entry = MountEntry("0:1", self.point, frozenset(), "fuse.orionfs", "orion", frozenset())
        return Place(entry, "/" + str(Path(path).relative_to(self.point)).removeprefix("."))

    def getxattr(self, path: str, name: str) -> bytes:
        attributes, short = self._called("getxattr", path, name)
        if short.startswith("tag."):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        if short not in attributes:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return attributes[short].encode()

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        attributes, short = self._called("setxattr", path, name)
        if short.startswith("tag."):
            tags = {*attributes["tags"].split("\n"), short.removeprefix("tag.")} - {""}
            attributes["tags"] = "\n".join(sorted(tags))
        else:
            attributes[short] = value.decode()

    def removexattr(self, path: str, name: str) -> None:
        attributes, short = self._called("removexattr", path, name)
        tags = attributes["tags"].split("\n")
        if short.startswith("tag.") and short.removeprefix("tag.") in tags:
            tags.remove(short.removeprefix("tag."))
            attributes["tags"] = "\n".join(tags)
        elif attributes.pop(short, None) is None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def _called(self, call: str, path: str, name: str) -> tuple[Attributes, str]:
        assert name.startswith(PREFIX)
        inner, short = str(Path(path).relative_to(self.point)), name.removeprefix(PREFIX)
        with self._lock:
            self.calls.append(f"{call} {inner} {short}")
        if inner not in self.items:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        refused = self.refusals.get((call, inner))
        if refused is not None and short != "error":
            number, message = refused
            if message:
                self.items[inner]["error"] = told(call, number, f"/{inner}: {message}")
            raise OSError(number, os.strerror(number))
        return self.items[inner], short


def told(call: str, number: int, message: str, at: datetime | None = None) -> str:
    """What `user.orion.error` says."""
    at = at or datetime.now(UTC)
    fields = {"time": at.isoformat(timespec="seconds"), "call": call, "error": errno.errorcode[number]}
    return "\n".join(f"{name}: {value}" for name, value in {**fields, "message": message}.items())


@pytest.fixture
def fake_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMount:
    """A mount whose attributes are in memory; the current directory is its top."""
    mount = FakeMount(tmp_path)
    monkeypatch.setattr(items, "find_place", mount.place_of)
    replaced: list[Callable[..., object]] = [mount.getxattr, mount.setxattr, mount.removexattr]
    for call in replaced:
        monkeypatch.setattr(os, call.__name__, call)
    monkeypatch.chdir(tmp_path)
    return mount

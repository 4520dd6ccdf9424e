"""Folders made through fsspec whose first answer was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from orionfs.errors import Conflict, NameExists
from orionfs.fs.changes import Changes
from orionfs.models import Account

ACCOUNT = Account("stack", "demo", 1, 1, "Demo")
PLACE = "/project/1/user/demo/new"


class Late:
    """An Orion where a folder is, which its replicas show from the third look on."""

    def __init__(self, *repeated: bool) -> None:
        """`repeated`: whether an answer to each call had been lost before its 409."""
        self._repeated: Iterator[bool] = iter(repeated)
        self._looks = 0

    def create_folder(self, place: str) -> None:
        refused = Conflict(f"{place}: 409")
        refused.is_repeated = next(self._repeated, False)
        raise refused

    def stat(self, place: str) -> Any:
        self._looks += 1
        return SimpleNamespace(is_folder=True) if self._looks > 2 else None


def changes_of(orion: Any) -> Changes:
    promises: Any = SimpleNamespace()
    return Changes(orion, ACCOUNT, lambda: nullcontext(promises), lambda **_: None, sleep=lambda _: None)


def test_folder_made_by_an_attempt_whose_answer_was_lost_is_ours_however_late_it_is_seen() -> None:
    changes_of(Late(True)).make_folder(PLACE)


def test_folder_of_somebody_else_is_told_to_be_there() -> None:
    with pytest.raises(NameExists, match="is there already"):
        changes_of(Late()).make_folder(PLACE)

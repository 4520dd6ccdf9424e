"""What all model tests need: an order of tasks that hypothesis can draw again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from hypothesis import register_random

# trio's order of tasks is a draw of its own: let hypothesis seed it, or no failure could be repeated.
_ORDER_OF_TASKS: random.Random = trio._core._run._r
register_random(_ORDER_OF_TASKS)


@pytest.fixture(autouse=True)
def _ordered_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A new folder for each example."""
    return lambda: tmp_path_factory.mktemp("model")

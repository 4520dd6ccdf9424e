"""Folders that are held: counted, and a word when the last one lets go."""

from __future__ import annotations

import gc
from contextlib import ExitStack

from orionfs.holds import Holds
from orionfs.models import InodeNumber

ONE, TWO = InodeNumber(1), InodeNumber(2)


def test_folder_that_is_held_twice_is_released_once_by_the_last() -> None:
    holds, heard = Holds(), list[InodeNumber]()
    holds.on_release.append(heard.append)
    with holds.held(ONE, TWO):
        with holds.held(ONE):
            assert ONE in holds
        assert ONE in holds
        assert heard == []
    assert heard == [ONE, TWO]
    assert ONE not in holds


def test_folder_of_a_block_that_is_never_left_is_not_released_when_that_is_collected() -> None:
    """Whoever listens may be gone by then, with the loop that it asks for the time."""
    holds, heard = Holds(), list[InodeNumber]()
    holds.on_release.append(heard.append)
    stack = ExitStack()
    stack.enter_context(holds.held(ONE))
    del stack
    gc.collect()
    assert heard == []
    assert ONE in holds

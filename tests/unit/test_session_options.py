"""What the mount is called in `df`, whatever the project's name holds."""

from __future__ import annotations

import pytest

from orionfs.fuse.session import _escaped


@pytest.mark.parametrize(
    ("source", "option"),
    [
        ("orion:Demo@host", "orion:Demo@host"),
        ("orion:Kinases, phase 2@host", "orion:Kinases\\, phase 2@host"),
        ("orion:a\\,b@host", "orion:a\\\\\\,b@host"),
        ("orion:two\nlines@host", "orion:two?lines@host"),
    ],
)
def test_name_of_a_project_is_one_option_of_libfuse(source, option) -> None:
    assert _escaped(source) == option

"""The table of what is documented: whole, without an empty cell, and the same in the README."""

from __future__ import annotations

import ast
import inspect

import pytest

import orionfs.client
from orionfs.bridge.worker import DOCUMENTED_METHODS
from orionfs.client import OrionSession, errors
from tests.contract.cases import CONTRACTS
from tests.contract.table import ROWS, Row
from tests.docs import readme

IDS = [row.name for row in ROWS]


def test_every_documented_method_has_its_contract() -> None:
    assert {contract.method for contract in CONTRACTS} == DOCUMENTED_METHODS
    assert len(CONTRACTS) == len(DOCUMENTED_METHODS) == 25


def test_no_other_public_method_of_a_session_but_our_named_extensions() -> None:
    public = {name for name, _ in inspect.getmembers(OrionSession) if not name.startswith("_")}
    assert public - DOCUMENTED_METHODS == {"close", "direct_resources", "instance", "list_shares"}


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_every_cell_is_filled_and_means_something(row: Row) -> None:
    for name in row.name.split(", "):
        owner, _, method = name.partition(".")
        if name not in DOCUMENTED_METHODS:
            found = getattr(orionfs.client, owner)
            assert not method or callable(getattr(found, method))
    assert row.does
    assert all(issubclass(getattr(errors, name), errors.OrionError) for name in row.raises)
    assert row.tests
    for test in row.tests:
        path, _, function = test.partition("::")
        tree = ast.parse((readme.REPOSITORY / path).read_text("utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in names if function else any(name.startswith("test_") for name in names)


def test_readme_shows_the_table_as_it_is() -> None:
    shown = [line for line in readme.chapter("Use it as a library").splitlines() if line.startswith("| `")]
    assert shown == [row.in_markdown() for row in ROWS]

"""Names of workspaces: what people call them, while their paths on Orion keep the id. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orionfs.models import Item
from orionfs.tables.names import visible_names


def workspace_names(told_by_config: Mapping[str, str], rows: Sequence[Item]) -> dict[str, Item]:
    """Visible name -> workspace: by what Orion calls it, else by the config, else by its id.

    The items are called by their ids, as their paths on Orion are.
    """
    meant: list[tuple[Item, Item]] = []  # as it is called, as it is
    for row in rows:
        number = _workspace_id(row)
        if number is None:
            meant.append((row, row))
            continue
        title = row.title or (row.name if not _is_number(row.name) else "")
        called = replace(row, id=number, name=title or told_by_config.get(str(number), str(number)))
        meant.append((called, replace(row, name=str(number), title="")))
    itself = {id(called): item for called, item in meant}
    return {name: itself[id(called)] for name, called in visible_names([each for each, _ in meant]).items()}


def _workspace_id(row: Item) -> int | None:
    """The id in a workspace's path: its name, else the row's id where the name is one for people."""
    if not row.is_folder:
        return None
    return int(row.name) if _is_number(row.name) else row.id


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name

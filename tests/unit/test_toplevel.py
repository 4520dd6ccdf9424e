"""How workspaces are called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orionfs.models import Item, Kind
from orionfs.orion.workspaces import workspace_names
from orionfs.tree.toplevel import Top


def space(name: str, id: int | None = None, title: str = "") -> Item:
    return Item(Kind.FOLDER, id, name, title=title)


def paths(rows: list[Item], names: dict[str, str] | None = None) -> dict[str, str]:
    """Visible name -> name in the path."""
    return {shown: item.name for shown, item in workspace_names(names or {}, rows).items()}


def test_name_is_told_by_the_row_then_by_the_config_then_it_is_the_number() -> None:
    rows = [space("5", 40, "lab"), space("6", 41, "review"), space("7", 42), space("8", 43)]
    assert paths(rows, {"6": "not this", "7": "screening"}) == {
        "lab": "5",
        "review": "6",
        "screening": "7",
        "8": "8",
    }


def test_row_whose_name_is_for_people_is_found_by_its_id() -> None:
    assert paths([space("lab", 5)]) == {"lab": "5"}
    assert paths([space("lab")]) == {"lab": "lab"}


def test_spaces_of_one_name_are_all_reachable_by_their_own_numbers() -> None:
    rows = [space("5", 40, "lab"), space("12", 41, "lab"), space("7", None, "lab")]
    assert paths(rows) == {"lab": "12", "lab~folder-5": "5", "lab~folder-7": "7"}


def test_names_for_people_pass_the_bijection() -> None:
    assert paths([space("5", 1, "a/b"), space("6", 2, "..")]) == {"a%2Fb": "5", "%2E%2E": "6"}


def test_what_is_no_workspace_keeps_its_name() -> None:
    stray = Item(Kind.FILE, 5, "notes")
    assert workspace_names({}, [space("5", 40, "lab"), stray]) == {"lab": space("5", 40), "notes": stray}


@given(st.lists(st.tuples(st.integers(1, 99), st.text()), unique_by=lambda pair: pair[0]))
def test_every_workspace_is_there_once(told) -> None:
    rows = [space(str(number), 1000 + number, title) for number, title in told]
    assert sorted(paths(rows).values()) == sorted(str(number) for number, _ in told)


def test_only_shared_spaces_are_named_so() -> None:
    assert Top("team-data", "/project/1/team").naming({}) is None
    assert Top("", "/project/1/workspace").naming({}) is None
    assert Top("shared-spaces", "/project/1/workspace").naming({}) is not None

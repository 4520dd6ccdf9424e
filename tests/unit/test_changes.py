"""The overlay of our own changes, as a pure model of what users must see."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.models import InodeNumber, Item, Key, Kind
from orionfs.tables.changes import Changes
from orionfs.tables.metacache import FolderBelief, Listing, Single
from orionfs.tables.names import visible_names

FOLDER = InodeNumber(7)
OTHER = InodeNumber(8)
LAG_S = 10.0


def file(id: int | None, name: str = "a", created_ns: int = 0, mark: str | None = None) -> Item:
    return Item(Kind.FILE, id, name, 3, created_ns=created_ns, mark=mark)


def listed(*items: Item, at_s: float) -> Listing:
    return Listing(visible_names(items), at_s)


@pytest.fixture
def changes() -> Changes:
    return Changes(LAG_S)


def shown(changes: Changes, *items: Item, at_s: float) -> dict[str, int | None]:
    return {n: i.id for n, i in changes.overlay(FOLDER, listed(*items, at_s=at_s)).items()}


# -- who wins ------------------------------------------------------------------------------------


def test_without_changes_a_listing_is_what_there_is(changes: Changes) -> None:
    assert shown(changes, file(1), file(2, "b"), at_s=0) == {"a": 1, "b": 2}
    assert FOLDER not in changes


@pytest.mark.parametrize("at_s", [0.0, 100.0, 110.0])
def test_own_change_wins_over_older_listings_and_within_the_lag(changes: Changes, at_s: float) -> None:
    changes.record(FOLDER, "a", file(5), settled_at_s=100.0, replaces=file(1).key)
    changes.record(FOLDER, "b", None, settled_at_s=100.0, replaces=Key(Kind.FILE, 2))
    assert shown(changes, file(1), file(2, "b"), at_s=at_s) == {"a": 5}
    assert changes.find(FOLDER, "a", at_s) is not None
    assert FOLDER in changes


def test_later_listing_knows_better(changes: Changes) -> None:
    changes.record(FOLDER, "a", file(5), settled_at_s=100.0)
    changes.record(FOLDER, "b", None, settled_at_s=100.0)
    assert shown(changes, file(9), file(2, "b"), at_s=110.5) == {"a": 9, "b": 2}
    assert changes.find(FOLDER, "a", 110.5) is None
    assert changes.get(FOLDER, "a") is not None


def test_change_under_way_wins_over_every_listing(changes: Changes) -> None:
    changes.record(FOLDER, "new", file(None, "new", mark="m"))
    changes.record(FOLDER, "b", None, replaces=Key(Kind.FILE, 2))
    assert shown(changes, file(1), file(2, "b"), at_s=1e9) == {"a": 1, "new": None}


def test_settled_change_wins_for_the_lag_only(changes: Changes) -> None:
    changes.record(FOLDER, "a", None)
    changes.settle(FOLDER, "a", 50.0)
    changes.settle(FOLDER, "never", 50.0)
    changes.settle(OTHER, "a", 50.0)
    assert shown(changes, file(1), at_s=60) == {}
    assert shown(changes, file(1), at_s=61) == {"a": 1}


def test_withdrawn_change_did_not_happen(changes: Changes) -> None:
    changes.record(FOLDER, "a", None, replaces=Key(Kind.FILE, 1))
    changes.withdraw(FOLDER, "a")
    changes.withdraw(FOLDER, "never")
    changes.withdraw(OTHER, "a")
    assert shown(changes, file(1), at_s=0) == {"a": 1}
    assert FOLDER not in changes
    assert not changes.hides(FOLDER, file(1), 0)


def test_changes_of_one_folder_are_no_other_folders(changes: Changes) -> None:
    changes.record(OTHER, "a", None, settled_at_s=100)
    assert shown(changes, file(1), at_s=0) == {"a": 1}
    changes.drop_folder(OTHER)
    assert OTHER not in changes


# -- versions that went away ---------------------------------------------------------------------


def test_replaced_version_is_hidden_under_any_name_it_is_shown_with(changes: Changes) -> None:
    """Both are there for a moment, and the older one is listed with a duplicate's suffix."""
    changes.record(FOLDER, "a", file(5, created_ns=2), settled_at_s=100, replaces=Key(Kind.FILE, 1))
    assert shown(changes, file(1), file(5, created_ns=2), at_s=100) == {"a": 5}


def test_renamed_item_is_at_its_new_name_only(changes: Changes) -> None:
    changes.record(FOLDER, "a", None, 100, replaces=Key(Kind.FILE, 1))
    changes.record(FOLDER, "b", file(1, "b"), 100)
    assert shown(changes, file(1), at_s=100) == {"b": 1}
    assert shown(changes, file(1, "b"), at_s=100) == {"b": 1}


def test_item_that_comes_back_to_its_name_is_shown(changes: Changes) -> None:
    for old, new in (("a", "b"), ("b", "a")):
        changes.record(FOLDER, old, None, 100, replaces=Key(Kind.FILE, 1))
        changes.record(FOLDER, new, file(1, new), 100)
    for listed_name in ("a", "b"):
        assert shown(changes, file(1, listed_name), at_s=100) == {"a": 1}


def test_chain_of_versions_hides_each_of_them(changes: Changes) -> None:
    for id in (2, 3, 4):
        changes.record(FOLDER, "a", file(id, created_ns=id), 100, replaces=Key(Kind.FILE, id - 1))
    for id in (1, 2, 3):
        assert shown(changes, file(id), at_s=100) == {"a": 4}
        assert changes.hides(FOLDER, file(id), 100)
    assert not changes.hides(FOLDER, file(4), 100)


def test_item_is_where_we_put_it_whatever_was_saved_since_under_the_name_that_it_had(
    changes: Changes,
) -> None:
    """The save took it for what it replaces, from an answer of before the rename, which is in doubt."""
    changes.record(FOLDER, "b", None, 100, replaces=Key(Kind.FILE, 1))
    changes.record(FOLDER, "a", file(1), 100)
    changes.doubt(FOLDER, "a", 101)
    changes.record(FOLDER, "b", file(5, "b"), 102, replaces=Key(Kind.FILE, 1))
    assert shown(changes, file(1, "a"), file(5, "b"), at_s=103) == {"a": 1, "b": 5}
    assert shown(changes, file(1, "b"), at_s=103) == {"b": 5}  # a replica that lags


def test_removed_name_that_is_used_again_hides_what_it_was(changes: Changes) -> None:
    changes.record(FOLDER, "a", None, 100, replaces=Key(Kind.FILE, 1))
    changes.record(FOLDER, "a", file(None, mark="m"))
    assert shown(changes, file(1), at_s=500) == {"a": None}


# -- others beside us ----------------------------------------------------------------------------


def test_foreign_item_under_our_name_stays_reachable_with_a_suffix(changes: Changes) -> None:
    changes.record(FOLDER, "a", file(5, created_ns=2), settled_at_s=100)
    assert shown(changes, file(77, created_ns=99), at_s=100) == {"a": 5, "a~file-77": 77}


def test_foreign_folder_under_our_files_name_hides_neither(changes: Changes) -> None:
    """A folder keeps a name that it shares; the file must be reachable all the same."""
    changes.record(FOLDER, "a", file(5), settled_at_s=100)
    found = shown(changes, Item(Kind.FOLDER, 77, "a"), at_s=100)
    assert sorted(str(id) for id in found.values()) == ["5", "77"]
    changes.record(FOLDER, "a", file(None, mark="m"))
    found = shown(changes, Item(Kind.FOLDER, 77, "a"), at_s=500)
    assert sorted(str(id) for id in found.values()) == ["77", "None"]


def test_item_made_elsewhere_under_a_name_we_removed_is_shown_by_the_first_answer_after(
    changes: Changes,
) -> None:
    changes.record(FOLDER, "a", None, 100, replaces=Key(Kind.FILE, 1))
    assert shown(changes, file(77), at_s=99) == {}  # it was there before, and went with the name
    assert changes.find(FOLDER, "a", 99, file(77)) is not None
    for at_s in (100, 105, 111):
        assert shown(changes, file(77), at_s=at_s) == {"a": 77}
        assert changes.find(FOLDER, "a", at_s, file(77)) is None
    assert shown(changes, file(1), at_s=105) == {}
    assert changes.find(FOLDER, "a", 105, file(1)) is not None


def test_item_that_we_renamed_is_nobody_else_s_new_one_under_the_name_that_it_had(changes: Changes) -> None:
    changes.record(FOLDER, "a", file(2), 99, replaces=Key(Kind.FILE, 1))
    changes.record(FOLDER, "a", None, 100, replaces=Key(Kind.FILE, 2))
    changes.record(FOLDER, "b", file(2, "b"), 100)
    assert shown(changes, file(2), at_s=101) == {"b": 2}  # a replica that lags
    assert changes.find(FOLDER, "a", 101, file(2)) is not None
    assert changes.find(FOLDER, "a", 101, file(77)) is None


def test_nobody_knows_better_than_a_removal_that_is_under_way(changes: Changes) -> None:
    changes.record(FOLDER, "a", None, replaces=Key(Kind.FILE, 1))
    assert shown(changes, file(77), at_s=500) == {}


def test_folder_without_an_id_waits_for_the_lag_under_a_name_we_removed(changes: Changes) -> None:
    """It can't be told from the one that we removed."""
    changes.record(FOLDER, "sub", None, 100)
    assert shown(changes, Item(Kind.FOLDER, None, "sub"), at_s=105) == {}
    assert shown(changes, Item(Kind.FOLDER, None, "sub"), at_s=111) == {"sub": None}


@pytest.mark.parametrize("asked_at_s", [90, 105])
def test_folder_that_we_removed_has_no_name_beside_the_file_that_has_its_now(
    changes: Changes, asked_at_s
) -> None:
    """This mount has made it, removed it, and never heard its id."""
    changes.record(FOLDER, "a", Item(Kind.FOLDER, None, "a"), settled_at_s=80)
    changes.record(FOLDER, "a", None, settled_at_s=100, is_folder_gone=True)
    changes.record(FOLDER, "a", file(5), settled_at_s=101)
    assert shown(changes, Item(Kind.FOLDER, 44, "a"), at_s=asked_at_s) == {"a": 5}
    assert shown(changes, Item(Kind.FOLDER, 44, "a"), file(5), at_s=120) == {"a": 44, "a~file-5": 5}


def test_folder_made_here_takes_its_id_from_the_listing(changes: Changes) -> None:
    changes.record(FOLDER, "sub", Item(Kind.FOLDER, None, "sub"), settled_at_s=100)
    found = changes.overlay(FOLDER, listed(Item(Kind.FOLDER, 44, "sub"), at_s=100))
    assert found == {"sub": Item(Kind.FOLDER, 44, "sub")}


def test_tags_set_here_are_not_undone_by_a_lagging_row(changes: Changes) -> None:
    tagged = replace(file(5), tags=("lead",))
    changes.record(FOLDER, "a", tagged, settled_at_s=100)
    assert changes.overlay(FOLDER, listed(replace(file(5), tags=()), at_s=105))["a"].tags == ("lead",)
    tagged = replace(Item(Kind.FOLDER, 44, "sub"), tags=("lead",))
    changes.record(FOLDER, "sub", tagged, settled_at_s=100)
    assert changes.overlay(FOLDER, listed(Item(Kind.FOLDER, 44, "sub", tags=()), at_s=105))["sub"].tags == (
        "lead",
    )


# -- folding -------------------------------------------------------------------------------------


def believed(*items: Item, at_s: float) -> FolderBelief:
    """What is believed of a folder that was listed at a moment."""
    return FolderBelief(listed(*items, at_s=at_s))


def test_nothing_is_folded_before_its_time(changes: Changes) -> None:
    changes.record(FOLDER, "a", file(5), settled_at_s=100)
    belief = believed(at_s=90)
    assert changes.fold(FOLDER, belief, horizon_s=100) is belief
    assert changes.get(FOLDER, "a") is not None


def test_change_under_way_is_never_folded(changes: Changes) -> None:
    changes.record(FOLDER, "a", file(None, mark="m"))
    belief = believed(at_s=90)
    assert changes.fold(FOLDER, belief, horizon_s=1e9) is belief
    assert changes.get(FOLDER, "a") is not None


def test_folding_with_a_fresh_listing_only_forgets(changes: Changes) -> None:
    for belief in (believed(file(5), at_s=500), FolderBelief()):
        changes.record(FOLDER, "a", file(5), settled_at_s=100)
        assert changes.fold(FOLDER, belief, horizon_s=400) == belief
        assert FOLDER not in changes


def test_folding_writes_into_every_old_answer_and_into_no_later_one(changes: Changes) -> None:
    changes.record(FOLDER, "a", file(5), settled_at_s=100, replaces=file(4).key)
    changes.record(FOLDER, "b", None, settled_at_s=100)
    changes.record(FOLDER, "c", file(None, "c", mark="m"))
    later = 100 + LAG_S + 1
    others = {"b": Single(file(9, "b"), later), "c": Single(None, 399)}
    belief = FolderBelief(listed(file(5), at_s=later), {"a": Single(None, 95), **others})
    folded = changes.fold(FOLDER, belief, horizon_s=100.5)
    assert folded == FolderBelief(belief.listing, {"a": Single(file(5), 95), **others})
    assert changes.get(FOLDER, "a") is None
    assert changes.get(FOLDER, "c") is not None, "whether it will be so is not known yet"


# -- against a model -----------------------------------------------------------------------------

NAMES = ("a", "b", "c")
moments = st.floats(0, 60, allow_nan=False).map(lambda t: round(t, 1))
settled = moments | st.just(inf)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Changes, list[Item]]:
    """Some operations on a folder of a few items, and what the folder held before them."""
    before = [file(at + 1, name) for at, name in enumerate(NAMES) if draw(st.booleans())]
    now: dict[str, Item] = {item.name: item for item in before}
    changes, ids = Changes(LAG_S), iter(range(100, 200))
    for _ in range(draw(st.integers(0, 6))):
        name, at = draw(st.sampled_from(NAMES)), draw(settled)
        match draw(st.sampled_from(["save", "remove", "rename"])):
            case "save":
                old, new = now.get(name), file(next(ids), name, created_ns=1)
                changes.record(FOLDER, name, new, at, old.key if old else None)
                now[name] = new
            case "remove" if name in now:
                changes.record(FOLDER, name, None, at, now.pop(name).key)
            case "rename" if name in now:
                source, target = now.pop(name), draw(st.sampled_from(NAMES))
                replaced = now.get(target)
                changes.record(FOLDER, name, None, at, source.key)
                changes.record(FOLDER, target, source.renamed(target), at, replaced.key if replaced else None)
                now[target] = source.renamed(target)
    return changes, before


@given(histories())
def test_listing_of_before_shows_all_our_changes_and_nothing_else(history) -> None:
    """The oldest listing there is, whatever the order in which the changes settle."""
    changes, before = history
    overlaid = changes.overlay(FOLDER, listed(*before, at_s=-1))
    for name in NAMES:
        change = changes.get(FOLDER, name)
        expected = change.item if change else next((i for i in before if i.name == name), None)
        assert overlaid.get(name) == expected
    assert set(overlaid) <= set(NAMES)
    ids = [item.id for item in overlaid.values()]
    assert len(ids) == len(set(ids))


@given(histories(), moments, moments)
def test_folding_into_an_old_listing_changes_nothing_that_is_shown(history, asked_at_s, horizon_s) -> None:
    changes, before = history
    listing = listed(*before, at_s=min(asked_at_s, horizon_s))
    shown_before = changes.overlay(FOLDER, listing)
    folded = changes.fold(FOLDER, FolderBelief(listing), horizon_s).listing
    assert folded is not None
    assert changes.overlay(FOLDER, folded) == shown_before


@given(histories(), moments)
def test_what_names_mean_one_by_one_agrees_with_the_whole(history, asked_at_s) -> None:
    changes, before = history
    listing = listed(*before, at_s=asked_at_s)
    overlaid = changes.overlay(FOLDER, listing)
    for name in NAMES:
        item = listing.items.get(name)
        change = changes.find(FOLDER, name, asked_at_s, item)
        if change is not None:
            assert overlaid.get(name) == change.item
        elif item is None or changes.hides(FOLDER, item, asked_at_s):
            assert name not in overlaid


def test_item_shares_no_name_with_what_is_on_its_way_out() -> None:
    unseen = {Key(Kind.FILE, 2)}
    changes = Changes(LAG_S, unseen)
    kept, newer, third = file(1, "a.txt", created_ns=1), file(2, "a.txt", created_ns=9), file(3, "a.txt")
    assert shown(changes, kept, newer, at_s=0) == {"a.txt": 1}
    assert shown(changes, kept, newer, third, at_s=0) == {"a.txt": 1, "a~file-3.txt": 3}
    unseen.clear()
    assert shown(changes, kept, newer, at_s=0) == {"a.txt": 2, "a~file-1.txt": 1}


def test_name_taken_away_here_is_not_given_to_another_item(changes: Changes) -> None:
    changes.record(FOLDER, "a", None, settled_at_s=5.0, replaces=Key(Kind.FILE, 2))
    assert shown(changes, file(1), file(2, created_ns=9), at_s=0) == {"a~file-1": 1}

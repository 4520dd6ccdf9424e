"""What is believed of folders: one entry each, sized by its items."""

from __future__ import annotations

from math import inf

from orionfs.models import InodeNumber, Item, Kind
from orionfs.tables.metacache import FolderBelief, Listing, MetaCache, Single

ONE, TWO, THREE = InodeNumber(1), InodeNumber(2), InodeNumber(3)


def item(number: int) -> Item:
    return Item(Kind.FILE, number, f"f{number}")


def listing(count: int, asked_at_s: float = 0.0) -> Listing:
    return Listing({f"f{number}": item(number) for number in range(count)}, asked_at_s)


def test_nothing_is_believed_at_first() -> None:
    assert MetaCache(10).get(ONE) == FolderBelief()


def test_newer_listing_replaces_older_singles_and_keeps_newer_ones() -> None:
    cache = MetaCache(100)
    cache.put_single(ONE, "old", Single(None, 1.0))
    cache.put_single(ONE, "new", Single(item(5), 3.0))
    cache.put_listing(ONE, listing(2, asked_at_s=2.0))
    assert cache.get(ONE).singles == {"new": Single(item(5), 3.0)}


def test_older_listing_that_comes_late_is_not_believed() -> None:
    cache = MetaCache(100)
    newer = listing(2, asked_at_s=2.0)
    cache.put_listing(ONE, newer)
    cache.put_listing(ONE, listing(5, asked_at_s=1.0))
    assert cache.get(ONE).listing is newer


def test_single_answers_do_not_grow_without_bound() -> None:
    cache = MetaCache(1000)
    for number in range(200):
        cache.put_single(ONE, f"n{number}", Single(None, float(number)))
    singles = cache.get(ONE).singles
    assert len(singles) == 64
    assert "n199" in singles
    assert "n0" not in singles


def test_least_recently_used_folder_makes_room() -> None:
    cache = MetaCache(25)
    cache.put_listing(ONE, listing(10))
    cache.put_listing(TWO, listing(10))
    assert cache.get(ONE).listing is not None
    cache.put_listing(THREE, listing(10))
    assert cache.get(TWO).listing is None
    assert cache.get(ONE).listing is not None
    assert cache.get(THREE).listing is not None


def test_folder_larger_than_the_cache_is_kept_alone() -> None:
    cache = MetaCache(25)
    cache.put_listing(ONE, listing(10))
    cache.put_listing(TWO, listing(1000))
    assert cache.get(TWO).listing is not None
    assert cache.get(ONE).listing is None


def test_dropped_folder_is_believed_nothing_of() -> None:
    cache = MetaCache(25)
    cache.put_listing(ONE, listing(10))
    cache.drop(ONE)
    cache.drop(TWO)
    assert cache.get(ONE) == FolderBelief()


def test_expired_folder_keeps_its_listing_as_infinitely_old_for_who_is_offline() -> None:
    cache = MetaCache(25)
    cache.put_listing(ONE, listing(3, asked_at_s=7.0))
    cache.put_single(ONE, "x", Single(None, 8.0))
    cache.expire(ONE)
    cache.expire(TWO)
    left = cache.get(ONE)
    assert left.listing is not None
    assert (left.listing.asked_at_s, len(left.listing.items)) == (-inf, 3)
    assert left.singles == {"x": Single(None, -inf)}
    assert cache.get(TWO) == FolderBelief()
    newer = listing(1, asked_at_s=9.0)
    cache.put_listing(ONE, newer)
    assert cache.get(ONE).listing is newer


def test_size_counts_the_folder_its_items_and_its_single_answers() -> None:
    belief = FolderBelief(listing(3), {"x": Single(None, 0.0)})
    assert belief.size == 5

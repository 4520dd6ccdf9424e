"""What names mean, what it costs to know, and for how long it holds."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.models import Key, Kind
from orionfs.orion.remote import Health
from orionfs.tables.freshness import Freshness
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

OFFLINE = "offline: .*; what is cached goes on being served"
TTL_S, ABSENCE_S = 30.0, 5.0


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a few items in my-data/f."""
    made = FakeCalls()
    made.add_folder(f"{HOME}/f")
    for name in ("a", "b", "c"):
        made.add_file(f"{HOME}/f/{name}", name.encode())
    return made


# -- what is asked -------------------------------------------------------------------------------


async def test_first_name_is_asked_by_itself_and_a_second_one_lists(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        with fake.counting() as verbs:
            assert (await world.namespace.lookup(folder, "a"))[0] is not None
        assert verbs == ["stat_path"]
        with fake.counting() as verbs:
            assert (await world.namespace.lookup(folder, "b"))[0] is not None
        assert verbs == ["ls_path"]
        with fake.counting() as verbs:
            for name in ("a", "b", "c", "none", "nobody"):
                await world.namespace.lookup(folder, name)
        assert verbs == []


async def test_first_name_again_within_its_time_is_free_and_then_asked_by_itself(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.namespace.lookup(folder, "a")
        await trio.sleep(TTL_S - 1)
        with fake.counting() as verbs:
            _, valid_s = await world.namespace.lookup(folder, "a")
        assert verbs == []
        assert valid_s == pytest.approx(1)
        await trio.sleep(2)
        with fake.counting() as verbs:
            _, valid_s = await world.namespace.lookup(folder, "a")
        assert verbs == ["stat_path"]
        assert valid_s == TTL_S


async def test_listing_answers_until_its_time_is_over_and_every_answer_says_what_is_left(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.ls("my-data/f")
        await trio.sleep(4)
        for name, expected_s in (("a", TTL_S - 4), ("none", ABSENCE_S - 4)):
            _, valid_s = await world.namespace.lookup(folder, name)
            assert valid_s == pytest.approx(expected_s)
        snapshot = await world.namespace.snapshot(folder)
        assert world.namespace.remaining_s(snapshot) == pytest.approx(TTL_S - 4)
        assert fake.count("ls_path") == 1


async def test_many_absent_names_cost_one_listing_when_their_time_is_over(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.ls("my-data/f")
        for wait_s, expected in ((0.0, []), (20.0, ["ls_path"])):
            await trio.sleep(wait_s)
            with fake.counting() as verbs:
                for number in range(1000):
                    inode, _ = await world.namespace.lookup(folder, f"absent-{number}")
                    assert inode is None
            assert verbs == expected


async def test_name_made_elsewhere_is_seen_once_its_absence_is_over(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.add_file(f"{HOME}/f/new", b"x")
        assert await world.stat("my-data/f/new") is None
        await trio.sleep(ABSENCE_S + 0.1)
        assert await world.stat("my-data/f/new") is not None


async def test_changes_made_elsewhere_are_seen_within_the_time_of_a_listing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        fake.remove(f"{HOME}/f/a")
        new_id = fake.replace(f"{HOME}/f/b", b"other")
        await trio.sleep(TTL_S + 0.1)
        assert await world.ls("my-data/f") == ["b", "c"]
        item = await world.stat("my-data/f/b")
        assert item is not None
        assert item.id == new_id


async def test_large_folder_is_asked_name_by_name_once_its_listing_is_over(tmp_path, fake) -> None:
    fake.page_max = 1
    for number in range(4):
        fake.add_file(f"{HOME}/f/more-{number}")
    async with mount(tmp_path, fake) as world:
        assert len(await world.ls("my-data/f")) == 7
        await trio.sleep(TTL_S + 1)
        folder = await world.inode("my-data/f")
        with fake.counting() as verbs:
            for name in ("a", "b", "c", "none"):
                await world.namespace.lookup(folder, name)
        assert verbs == ["stat_path"] * 4


@pytest.fixture
def large(fake) -> FakeCalls:
    """A folder of seven pages."""
    fake.page_max = 1
    for number in range(4):
        fake.add_file(f"{HOME}/f/more-{number}")
    return fake


async def test_large_folder_is_listed_again_after_sixteen_names(tmp_path, large) -> None:
    for number in range(20):
        large.add_file(f"{HOME}/f/x{number:02d}")
    async with mount(tmp_path, large) as world:
        assert len(await world.ls("my-data/f")) == 27
        await trio.sleep(TTL_S + 1)
        folder = await world.inode("my-data/f")
        with large.counting() as verbs:
            for number in range(20):
                inode, _ = await world.namespace.lookup(folder, f"x{number:02d}")
                assert inode is not None
        assert verbs == ["stat_path"] * 15 + ["ls_path"] * 27


async def test_old_absences_of_a_large_folder_are_looked_up_once_a_second(tmp_path, large) -> None:
    async with mount(tmp_path, large) as world:
        await world.ls("my-data/f")
        folder = await world.inode("my-data/f")
        await trio.sleep(20)
        for expected in (["stat_path"], []):
            with large.counting() as verbs:
                for number in range(1000):
                    inode, valid_s = await world.namespace.lookup(folder, f"absent-{number}")
                    assert inode is None
                    assert valid_s <= ABSENCE_S
            assert verbs == expected
        await trio.sleep(1)
        with large.counting() as verbs:
            await world.namespace.lookup(folder, "absent-7")
        assert verbs == ["stat_path"]


async def test_open_file_is_answered_without_a_request_however_old(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode("my-data/f/a")
        inode.opens += 1
        await trio.sleep(1000)
        with fake.counting() as verbs:
            attributes = await world.namespace.stat(inode)
        assert verbs == []
        assert attributes.attributes_valid_s > 100


# -- rows that can't be read ---------------------------------------------------------------------


def with_a_nameless_row(page: dict) -> dict:
    rows = [row if row["name"] != "b" else {**row, "name": None, "path": None} for row in page["results"]]
    return {**page, "results": rows}


async def test_row_that_can_not_be_read_spoils_no_listing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.edit_page = with_a_nameless_row
        assert await world.ls("my-data/f") == ["a", "c"]
        assert fake.count("ls_path") == 1
        folder = await world.inode("my-data/f")
        assert (await world.namespace.lookup(folder, "b"))[0] is not None  # it is there all the same
        assert fake.count("ls_path") == 1


@pytest.mark.parametrize("name", ["hits~dataset-{dataset}.oedb", "hits.oedb"])
async def test_derived_name_is_found_cold(tmp_path, fake, name) -> None:
    if "~" in name:
        fake.add_file(f"{HOME}/f/hits", b"y", kind="dataset")
    dataset = fake.add_file(f"{HOME}/f/hits", b"x", kind="dataset", created="2020-01-01T00:00:00Z")
    async with mount(tmp_path, fake) as world:
        item = await world.stat(f"my-data/f/{name.format(dataset=dataset)}")
        assert item is not None
        assert item.id == dataset


@pytest.mark.parametrize("true_name", ["x" * 300, "é" * 127 + "yz", "%2F", "%2E", "..", "new\nline"])
async def test_name_that_is_shown_otherwise_is_found_cold_as_it_is_listed(tmp_path, fake, true_name) -> None:
    id = fake.add_file(f"{HOME}/f/{true_name}", b"x")
    async with mount(tmp_path / "one", fake) as world:
        (name,) = set(await world.ls("my-data/f")) - {"a", "b", "c"}
    async with mount(tmp_path / "two", fake) as world:
        item = await world.stat(f"my-data/f/{name}")
        assert item is not None
        assert item.id == id


async def test_file_is_found_by_name_although_a_newer_dataset_has_the_same(tmp_path, fake) -> None:
    """A path tells one of the two, and the dataset is shown under another name."""
    fake.add_file(f"{HOME}/f/hits", b"file")
    fake.add_file(f"{HOME}/f/hits", b"dataset", kind="dataset")
    async with mount(tmp_path, fake) as world:
        assert await world.read("my-data/f/hits") == b"file"


async def test_dataset_is_not_found_by_its_bare_name(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/f/hits", b"x", kind="dataset")
    async with mount(tmp_path, fake) as world:
        assert await world.stat("my-data/f/hits") is None


# -- at the same time ----------------------------------------------------------------------------


async def test_many_who_ask_the_same_wait_for_one_answer(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        fake.latency_s = 1.0
        with fake.counting() as verbs:
            found = await outcomes(*[partial(world.namespace.lookup, folder, "a")] * 20)
            listed = await outcomes(*[partial(world.namespace.snapshot, folder)] * 20)
        assert verbs == ["stat_path", "ls_path"]
        assert len({inode.number for inode, _ in found}) == 1
        assert all(len(snapshot.entries) == 3 for snapshot in listed)


async def test_many_names_at_once_wait_for_one_listing(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.namespace.lookup(folder, "a")
        fake.latency_s = 1.0
        with fake.counting() as verbs:
            names = ["b", "c", *(f"none-{number}" for number in range(20))]
            await outcomes(*[partial(world.namespace.lookup, folder, name) for name in names])
        assert verbs == ["ls_path"]


async def test_who_waits_for_a_question_that_fails_gets_its_error(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        fake.latency_s = 1.0
        fake.fail("ls_path", "BadResponse", 422)
        with fake.counting() as verbs:
            found = await outcomes(*[partial(world.namespace.snapshot, folder)] * 3)
        assert [type(error) for error in found] == [errors.InvalidCall] * 3
        assert verbs == ["ls_path"]
        assert await world.ls("my-data/f") == ["a", "b", "c"]


async def test_expired_listing_is_no_answer_for_who_waits_for_one_that_fails(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.ls("my-data/f")
        await trio.sleep(TTL_S + 1)
        fake.remove(f"{HOME}/f/a")
        fake.latency_s = 1.0
        fake.fail("ls_path", "BadResponse", 422)
        found = await outcomes(*[partial(world.namespace.snapshot, folder)] * 3)
        assert all(isinstance(error, errors.InvalidCall) for error in found)


async def test_who_waits_for_one_that_is_cancelled_asks_itself(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        fake.latency_s = 5.0
        async with trio.open_nursery() as nursery:
            leader = trio.CancelScope()

            async def lead() -> None:
                with leader:
                    await world.namespace.snapshot(folder)

            nursery.start_soon(lead)
            await settle()
            found: list[object] = []

            async def follow() -> None:
                found.append(await world.ls("my-data/f"))

            nursery.start_soon(follow)
            await trio.sleep(1)
            leader.cancel()
        assert found == [["a", "b", "c"]]


async def test_listing_asked_for_before_a_change_does_not_undo_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.inode("my-data/f/a")
        stall = fake.stall("ls_path", is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(world.ls, "my-data/f"))
            await stall.arrived.wait()
            await world.unlink("my-data/f/a")
            stall.release()
        assert await world.ls("my-data/f") == ["b", "c"]
        assert await world.stat("my-data/f/a") is None


async def test_emptiness_is_never_told_by_a_listing_that_began_before(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/empty")
    async with mount(tmp_path, fake) as world:
        empty = await world.inode("my-data/empty")
        stall = fake.stall("ls_path", is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(world.ls, "my-data/empty"))
            await stall.arrived.wait()
            fake.add_file(f"{HOME}/empty/new", b"x")
            await trio.sleep(0.001)
            found: list[object] = []

            async def check() -> None:
                found.extend(await outcomes(partial(world.namespace.check_empty, empty)))

            nursery.start_soon(check)
            await settle()
            stall.release()
        assert isinstance(found[0], errors.DirectoryNotEmpty)


# -- own changes ---------------------------------------------------------------------------------


async def test_own_changes_are_seen_at_once_whatever_a_replica_says(tmp_path, fake) -> None:
    fake.read_lag_s = 8.0
    async with mount(tmp_path, fake) as world:
        await trio.sleep(100)  # what was there before is old enough for every replica
        assert await world.ls("my-data/f") == ["a", "b", "c"]
        await world.save("my-data/f/new", b"new")
        await world.save("my-data/f/b", b"second b")
        await world.unlink("my-data/f/a")
        await world.rename("my-data/f/c", "my-data/f/moved")
        await world.mkdir("my-data/f/sub")
        expected = ["b", "moved", "new", "sub"]
        for wait_s in (0, 1, 4, 4, 10, 31, 31):
            await trio.sleep(wait_s)
            assert await world.ls("my-data/f") == expected
            for name in expected:
                assert await world.stat(f"my-data/f/{name}") is not None
            for name in ("a", "c"):
                assert await world.stat(f"my-data/f/{name}") is None
            assert await world.read("my-data/f/b") == b"second b"


async def test_own_changes_are_seen_by_a_mount_that_believes_for_moments_only(tmp_path, fake) -> None:
    fake.read_lag_s = 8.0
    impatient = Freshness(metadata_ttl_s=0.5, absence_ttl_s=0.5)
    async with mount(tmp_path, fake, freshness=impatient) as world:
        await trio.sleep(100)
        await world.save("my-data/f/new", b"new")
        await world.unlink("my-data/f/a")
        for _ in range(40):
            await trio.sleep(0.7)
            assert await world.ls("my-data/f") == ["b", "c", "new"]
            assert await world.stat("my-data/f/new") is not None
            assert await world.stat("my-data/f/a") is None


async def test_changes_are_forgotten_once_every_answer_knows_them(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.unlink("my-data/f/a")
        changes = world.namespace._changes
        assert folder.number in changes
        await trio.sleep(100)
        await world.ls("my-data/f")
        assert folder.number not in changes


async def test_new_folder_is_known_to_be_empty(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.mkdir("my-data/f/sub")
        with fake.counting() as verbs:
            assert await world.ls("my-data/f/sub") == []
            assert await world.stat("my-data/f/sub/x") is None
        assert verbs == []


# -- incomplete listings -------------------------------------------------------------------------


def told_too_little(page: dict) -> dict:
    return {**page, "count": page["count"] + 1}


async def test_incomplete_listing_is_an_error_and_never_short(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.edit_page = told_too_little
        with pytest.raises(errors.RemoteFailure):
            await world.ls("my-data/f")
        fake.edit_page = None
        assert await world.ls("my-data/f") == ["a", "b", "c"]


async def test_incomplete_listing_proves_no_absence(tmp_path, fake) -> None:
    """What Orion did not list may be there all the same: it is asked for by its name."""
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.namespace.lookup(folder, "none")
        fake.edit_page = lambda page: {**page, "results": page["results"][:2]}
        with trio.fail_after(5):
            inode, _ = await world.namespace.lookup(folder, "c")
            assert inode is not None
            for number in range(10):
                assert (await world.namespace.lookup(folder, f"absent-{number}"))[0] is None
        assert fake.count("ls_path") <= 2


async def test_incomplete_listing_ends_the_search_for_a_derived_name(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.edit_page = told_too_little
        with trio.fail_after(5):
            (found,) = await outcomes(partial(world.stat, "my-data/f/a~file-7"))
        assert found is None or isinstance(found, errors.RemoteFailure)
        assert fake.count() < 10


async def test_incomplete_listing_allows_no_removal(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/empty")
    async with mount(tmp_path, fake) as world:
        fake.edit_page = told_too_little
        with pytest.raises(errors.RemoteFailure):
            await world.rmdir("my-data/empty")
        assert fake.count("remove_paths") == 0


# -- offline -------------------------------------------------------------------------------------


def cut(fake: FakeCalls) -> None:
    """Nobody answers any more."""
    for verb in (
        "whoami",
        "ls_path",
        "stat_path",
        "create_paths",
        "assign_paths",
        "delete",
        "upload",
        "read_into",
    ):
        fake.fail(verb, "OrionConnectionError", refused=True, nothing_sent=True, times=10**9)


async def go_offline(world: World) -> None:
    """Nobody answers any more, and the mount knows it."""
    cut(world.fake)
    await outcomes(partial(world.ls, "team-data"))
    assert world.remote.health is Health.OFFLINE


@pytest.mark.expect_log(OFFLINE)
async def test_offline_what_is_known_is_served_however_old_and_the_rest_fails_at_once(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        await world.ls("team-data")
        await world.inode("my-data/f/a")
        cut(fake)
        await trio.sleep(86400)
        start_s = trio.current_time()
        assert await world.ls("my-data/f") == ["a", "b", "c"]
        assert await world.stat("my-data/f/a") is not None
        assert await world.stat("my-data/f/none") is None
        assert world.remote.health is Health.OFFLINE
        with pytest.raises(errors.Unreachable):
            await world.ls("my-data")
        assert trio.current_time() - start_s < 1
        fake.heal()
        await trio.sleep(3)
        fake.add_file(f"{HOME}/f/new")
        assert await world.ls("my-data/f") == ["a", "b", "c", "new"]


@pytest.mark.expect_log(OFFLINE)
async def test_offline_a_failed_change_does_not_hide_what_is_known(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        cut(fake)
        for change in (
            partial(world.mkdir, "my-data/f/sub"),
            partial(world.unlink, "my-data/f/a"),
            partial(world.rename, "my-data/f/a", "my-data/f/x"),
        ):
            (error,) = await outcomes(change)
            assert isinstance(error, errors.TimedOut)
            assert await world.ls("my-data/f") == ["a", "b", "c"]


@pytest.mark.expect_log(OFFLINE)
async def test_offline_a_failed_change_does_not_bring_back_what_this_mount_made_of_a_name_before(
    tmp_path, fake
) -> None:
    """A save that began from it would take what others have put there since for somebody else's."""
    async with mount(tmp_path, fake, freshness=Freshness(read_lag_s=1)) as world:
        await world.ls("my-data/f")
        await trio.sleep(20)
        await world.save("my-data/f/n", b"ours")
        await trio.sleep(2)
        theirs = fake.replace(f"{HOME}/f/n", b"theirs")
        await trio.sleep(28.5)  # the listing is over, and what was made here isn't forgotten
        await world.ls("my-data/f")
        assert (await world.inode("my-data/f/n")).item.key == Key(Kind.FILE, theirs)
        cut(fake)
        (error,) = await outcomes(partial(world.unlink, "my-data/f/a"))
        assert isinstance(error, errors.TimedOut)
        assert (await world.inode("my-data/f/n")).item.key == Key(Kind.FILE, theirs)


@pytest.mark.expect_log(OFFLINE)
async def test_offline_what_this_mount_has_made_and_taken_away_long_ago_is_known_still(
    tmp_path, fake
) -> None:
    """No answer since has shown it, and it is remembered beside the answers for so long only."""
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/f")
        await world.mkdir("my-data/f/sub")
        await world.unlink("my-data/f/a")
        await go_offline(world)
        await trio.sleep(1000)
        for _ in range(2):
            assert await world.ls("my-data/f") == ["b", "c", "sub"]
        assert await world.stat("my-data/f/sub") is not None
        assert await world.stat("my-data/f/a") is None


@pytest.mark.expect_log(OFFLINE)
async def test_offline_what_was_asked_for_by_name_means_what_this_mount_has_made_of_it_since(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake) as world:
        top = await world.inode("my-data")
        assert await world.stat("my-data/sub") is None  # the one name that is known: nothing is listed
        await world.mkdir("my-data/sub")
        await trio.sleep(1000)
        await world.ls("team-data")
        assert top.number not in world.namespace.beliefs.changes
        assert fake.count("ls_path") == 1
        cut(fake)
        assert await world.stat("my-data/sub") is not None


@pytest.mark.expect_log(OFFLINE)
async def test_offline_a_name_that_was_asked_for_after_a_listing_means_what_it_meant_then(
    tmp_path, large
) -> None:
    """Although what this mount has made and taken away was written into the listing since."""
    async with mount(tmp_path, large) as world:
        await world.ls("my-data/f")
        theirs = large.replace(f"{HOME}/f/a", b"theirs")
        await trio.sleep(TTL_S + 1)
        assert (await world.inode("my-data/f/a")).item.id == theirs
        await world.unlink("my-data/f/b")
        await trio.sleep(1000)
        await go_offline(world)
        assert (await world.inode("my-data/f/a")).item.id == theirs
        assert await world.stat("my-data/f/b") is None


@pytest.mark.expect_log(OFFLINE)
async def test_offline_answers_hold_for_a_moment_so_that_the_kernel_asks_again(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.ls("my-data/f")
        cut(fake)
        await trio.sleep(1000)
        for name in ("a", "none"):
            _, valid_s = await world.namespace.lookup(folder, name)
            assert 0 < valid_s <= 1
        snapshot = await world.namespace.snapshot(folder)
        assert world.namespace.remaining_s(snapshot) <= 1


async def test_slow_server_that_answers_late_is_asked_once(tmp_path, fake) -> None:
    """An answer that took longer than its own time holds for who asked."""
    async with mount(tmp_path, fake, freshness=Freshness(1.0, 0.5)) as world:
        folder = await world.inode("my-data/f")
        fake.latency_s = 3.0
        with fake.counting() as verbs:
            inode, valid_s = await world.namespace.lookup(folder, "a")
        assert inode is not None
        assert valid_s == 0
        assert verbs == ["stat_path"]
        with fake.counting() as verbs:
            await world.namespace.snapshot(folder)
        assert verbs == ["ls_path"]


# -- numbers under which something is kept -------------------------------------------------------


async def test_number_of_a_believed_folder_is_given_to_no_other_when_the_kernel_forgets_it(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.ls("my-data/f")
        world.namespace.inodes.forget(folder.number, folder.lookups)
        await world.rename("my-data/f", "my-data/g")
        await world.mkdir("my-data/f")
        assert await world.ls("my-data/f") == []
        assert await world.ls("my-data/g") == ["a", "b", "c"]
        assert (await world.inode("my-data/g")).number == folder.number


async def test_changes_of_a_folder_that_the_kernel_forgets_are_still_seen(tmp_path, fake) -> None:
    fake.read_lag_s = 8.0
    async with mount(tmp_path, fake) as world:
        await trio.sleep(100)
        folder = await world.inode("my-data/f")
        await world.unlink("my-data/f/a")
        world.namespace.inodes.forget(folder.number, folder.lookups)
        await world.rename("my-data/f", "my-data/g")
        await world.mkdir("my-data/f")
        await world.save("my-data/f/a", b"another")
        assert await world.ls("my-data/g") == ["b", "c"]
        assert await world.ls("my-data/f") == ["a"]


async def test_folder_is_forgotten_with_the_last_belief_of_it(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/g")
    async with mount(tmp_path, fake, cache_items_max=6) as world:
        folder = await world.inode("my-data/f")
        await world.ls("my-data/f")
        world.namespace.inodes.forget(folder.number, folder.lookups)
        assert folder in set(world.namespace.inodes)
        for number in range(6):
            fake.add_file(f"{HOME}/g/{number}")
        await world.ls("my-data/g")
        assert folder not in set(world.namespace.inodes)


async def test_changes_of_a_folder_that_nobody_lists_again_are_forgotten(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data/f")
        await world.unlink("my-data/f/a")
        await trio.sleep(100)
        await world.ls("team-data")
        assert folder.number not in world.namespace.beliefs.changes


async def test_folder_removed_while_it_is_listed_leaves_no_belief(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/empty")
    async with mount(tmp_path, fake) as world:
        empty = await world.inode("my-data/empty")
        await world.ls("my-data/empty")
        await trio.sleep(TTL_S + 1)
        stall = fake.stall("ls_path", is_after=True)
        async with trio.open_nursery() as nursery:
            found: list[object] = []

            async def look() -> None:
                found.extend(await outcomes(partial(world.namespace.snapshot, empty)))

            nursery.start_soon(look)
            await stall.arrived.wait()
            world.namespace.inodes.detach(empty)
            stall.release()
        assert isinstance(found[0], errors.NoSuchName)
        assert world.namespace.beliefs.listing_of(empty) is None or not empty.is_attached


# -- many pages ----------------------------------------------------------------------------------


async def test_folder_of_many_slow_pages_is_listed_however_long_the_last_waits_its_turn(
    tmp_path, fake
) -> None:
    fake.page_max, fake.latency_s = 1, 8.0
    for number in range(150):
        fake.add_file(f"{HOME}/f/x{number:03d}")
    async with mount(tmp_path, fake) as world:
        assert len(await world.ls("my-data/f")) == 153
        assert fake.in_flight_max["ls_path"] <= 16

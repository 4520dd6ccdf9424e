"""What a server should never send in a listing: everything else stays reachable."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import mount

pytestmark = [pytest.mark.virtual_time, pytest.mark.expect_log("could not be read|left out|Orion told less")]


def add_rows(fake: FakeCalls, *rows: Any) -> None:
    """Every page holds these as well."""

    def edit(page: dict[str, Any]) -> dict[str, Any]:
        return {**page, "count": page["count"] + len(rows), "results": [*page["results"], *rows]}

    fake.edit_page = edit


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with two files in my-data."""
    made = FakeCalls()
    for name in ("a", "b"):
        made.add_file(f"{HOME}/{name}", name.encode())
    return made


@pytest.mark.parametrize(
    "row", [None, {}, {"id": 7, "name": 5, "resource_type": "file"}, {"id": 7, "name": ""}]
)
async def test_row_that_can_not_be_read_spoils_no_listing(tmp_path, fake, row) -> None:
    add_rows(fake, row)
    async with mount(tmp_path, fake) as world:
        assert await world.ls("my-data") == ["a", "b"]
        assert await world.read("my-data/b") == b"b"
        assert await world.stat("my-data/c") is None
        await world.save("my-data/c", b"c")
        assert await world.ls("my-data") == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["\ud800", "x\0y", "x/y", ".", "..", "n" * 10_000, "é" * 5_000, "~", "%2F"])
async def test_name_that_no_kernel_holds_is_shown_as_one_that_it_does(tmp_path, fake, name) -> None:
    id = fake.add_file(f"{HOME}/odd", b"odd")
    fake.move(id, HOME, name)
    async with mount(tmp_path, fake) as world:
        names = await world.ls("my-data")
        assert len(names) == 3
        (odd,) = set(names) - {"a", "b"}
        assert 0 < len(odd.encode()) <= 255
        assert await world.read(f"my-data/{odd}") == b"odd"
        await world.rename(f"my-data/{odd}", "my-data/plain")
        assert await world.ls("my-data") == ["a", "b", "plain"]
        assert fake.ids_at(f"{HOME}/plain") == [id]
    async with mount(tmp_path, fake) as world:
        fake.move(id, HOME, name)
        assert await world.read(f"my-data/{odd}") == b"odd", "without a listing before"


async def test_item_without_an_id_is_shown_and_hides_nothing(tmp_path, fake) -> None:
    add_rows(fake, {"name": "lost", "resource_type": "file", "size": 3})
    async with mount(tmp_path, fake) as world:
        assert await world.ls("my-data") == ["a", "b", "lost"]
        assert await world.read("my-data/a") == b"a"

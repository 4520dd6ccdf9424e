"""What a mount knows of its stack when it begins."""

from __future__ import annotations

from pathlib import Path

from orionfs.daemon import _begin_with_facts
from orionfs.facts import StackFacts, save_facts
from orionfs.models import Key, Kind
from orionfs.orion.remote import Remote
from tests.component.fake_orion import FakeCalls

FILE = Key(Kind.FILE, 5)


def remote_on_ranges() -> Remote:
    fake = FakeCalls(lambda: 0.0)
    fake.ranged = True
    return Remote(fake)


async def test_stack_of_a_wire_file_is_read_in_ranges_only_once_some_were_compared(tmp_path: Path) -> None:
    remote = remote_on_ranges()
    _begin_with_facts(remote, tmp_path, "a stack", Path("site.toml"))
    assert not remote.can_read_ranges(FILE)
    save_facts(tmp_path, "a stack", StackFacts(ranged_reads=True))
    _begin_with_facts(remote, tmp_path, "a stack", Path("site.toml"))
    assert remote.can_read_ranges(FILE)


async def test_stack_of_our_own_dialect_is_read_in_ranges_until_they_were_seen_to_be_wrong(
    tmp_path: Path,
) -> None:
    remote = remote_on_ranges()
    _begin_with_facts(remote, tmp_path, "a stack", None)
    assert remote.can_read_ranges(FILE)
    save_facts(tmp_path, "a stack", StackFacts(ranged_reads=False))
    _begin_with_facts(remote, tmp_path, "a stack", None)
    assert not remote.can_read_ranges(FILE)

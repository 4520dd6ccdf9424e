"""Files that one process replaces all the time, and others open, read, list and copy without any error."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.conftest import IMPATIENT
from tests.mount.replacing import replace_while_others_look
from tests.mount.stand import Client

pytestmark = [pytest.mark.timeout(120)]


@pytest.mark.parametrize("sizes", [(300_000, 200_000), (200_000, 300_000)], ids=["shorter", "longer"])
def test_open_that_comes_after_its_file_was_replaced_reads_what_replaced_it(folder, sizes) -> None:
    path, new = folder / "doc", folder / "new"
    path.write_bytes(b"a" * sizes[0])
    assert path.read_bytes() == b"a" * sizes[0]  # the kernel has pages of it
    with found(path) as late:
        number = os.fstat(late).st_ino
        new.write_bytes(b"b" * sizes[1])
        new.rename(path)
        assert os.fstat(late).st_size == sizes[0]
        with open(f"/proc/self/fd/{late}", "rb", buffering=0) as first:
            assert os.fstat(first.fileno()).st_ino == number
            with mmap.mmap(first.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                assert mapped[:] == b"b" * sizes[1]
            new.write_bytes(b"c" * sizes[0])
            new.rename(path)
            assert reopened(late) == first.read() == b"b" * sizes[1]  # somebody has it open
        assert path.read_bytes() == b"c" * sizes[0]
        assert reopened(late) in (b"b" * sizes[1], b"c" * sizes[0])  # as long as it is here, what it was


@contextmanager
def found(path: Path) -> Iterator[int]:
    """A file that was looked up and is not open: a descriptor that only names it."""
    descriptor = os.open(path, os.O_PATH)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def reopened(descriptor: int) -> bytes:
    """All of a file that was looked up before, opened now."""
    return Path(f"/proc/self/fd/{descriptor}").read_bytes()


@pytest.mark.own_first
def test_files_that_are_replaced_can_be_looked_at_all_the_time(folder, tmp_path) -> None:
    replace_while_others_look(folder, tmp_path / "stop", times=4, lookers=1)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [[], IMPATIENT], ids=["usual", "impatient"])
@pytest.mark.parametrize("arguments", [[], ["--write-back"]], ids=["through", "back"])
@pytest.mark.parametrize("client", list(Client), ids=lambda client: client.name.lower())
def test_files_that_are_replaced_thousands_of_times_can_be_looked_at(
    make_stand, tmp_path, client, arguments, options
) -> None:
    stand = make_stand(client, options=options, is_mounted=False)
    stand.mount(arguments=arguments)
    (stand.mine / "replaced").mkdir()
    replace_while_others_look(stand.mine / "replaced", tmp_path / "stop", times=300, lookers=3)
    stand.drain()

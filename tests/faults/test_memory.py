"""Files much larger than the memory that the daemon may use."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.stand import Client, Stand

pytestmark = pytest.mark.own_first

MEBI = 2**20
LIMIT_MIB = 150
BUSY_LIMIT_MIB = 200
AT_ONCE = 16
SAMPLE_EVERY_S = 0.1


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    """What a process holds in memory now (VmRSS), or held at most in its life (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024


@contextmanager
def within_memory(stand: Stand, limit_mib: int = LIMIT_MIB) -> Iterator[None]:
    """Sample the daemon while something is done; its peak is under the limit."""
    pid = stand.pid()
    samples: list[float] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLE_EVERY_S):
            samples.append(resident_mib(pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield
    finally:
        is_over.set()
        sampler.join()
    peak = resident_mib(pid, "VmHWM")
    print(f"resident: {max(samples, default=0):.0f} MiB sampled, {peak:.0f} MiB at most")
    assert peak < limit_mib


def write_noise(path: Path, size_mib: int) -> str:
    """Write bytes that are never the same twice; their checksum."""
    dice = random.Random(size_mib)
    digest = hashlib.blake2b()
    with path.open("wb", buffering=0) as file:
        for _ in range(size_mib):
            block = dice.randbytes(MEBI)
            digest.update(block)
            assert file.write(block) == MEBI
    return digest.hexdigest()


def checksum(path: Path) -> str:
    digest = hashlib.blake2b()
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(MEBI):
            digest.update(block)
    return digest.hexdigest()


def write_and_read_back(stand: Stand, size_mib: int) -> None:
    path = stand.mine / "large"
    with within_memory(stand):
        written = write_noise(path, size_mib)
    assert stand.direct.row(stand.orion_path(path))["size"] == size_mib * MEBI
    stand.umount()
    shutil.rmtree(stand.home / "cache")
    (stand.home / "cache").mkdir(mode=0o700)
    stand.mount()
    with within_memory(stand):
        assert checksum(path) == written
    with within_memory(stand):
        assert checksum(path) == written
    path.unlink()


@pytest.mark.started
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("client", [Client.OWN], ids=["own"])
@pytest.mark.parametrize("size_mib", [LIMIT_MIB + 30, pytest.param(1024, marks=pytest.mark.long)])
def test_large_files_go_through_little_memory(make_stand, client, size_mib):
    write_and_read_back(make_stand(client), size_mib)


@pytest.mark.started
@pytest.mark.timeout(1800)
@pytest.mark.long
@pytest.mark.parametrize("client", [Client.DOCUMENTED], ids=["documented"])
@pytest.mark.parametrize("size_mib", [64, pytest.param(1024, marks=pytest.mark.long)])
def test_large_files_go_through_little_memory_of_the_documented_session(make_stand, client, size_mib):
    write_and_read_back(make_stand(client), size_mib)


@pytest.mark.started
@pytest.mark.timeout(3000)
@pytest.mark.long
@pytest.mark.parametrize("size_mib", [4, 1024])
def test_sixteen_uploads_and_sixteen_reads_at_once_take_little_memory(make_stand, size_mib):
    stand = make_stand(Client.OWN)
    paths = [stand.mine / f"read-{number}" for number in range(AT_ONCE)]
    data = random.Random(size_mib).randbytes(MEBI) * size_mib
    for path in paths:
        stand.server.put_in_parts(stand.orion_path(path), data)
    wanted = hashlib.blake2b(data).hexdigest()
    with within_memory(stand, BUSY_LIMIT_MIB), ThreadPoolExecutor(2 * AT_ONCE) as pool:
        reads = pool.map(checksum, paths)
        writes = pool.map(lambda number: write_noise(stand.mine / f"{number}", size_mib), range(AT_ONCE))
        assert set(reads) == {wanted}
        assert len(set(writes)) == 1

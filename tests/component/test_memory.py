"""What a listed entry costs once the kernel knows it."""

from __future__ import annotations

import gc
import tracemalloc

from scripts.bench_memory import list_and_bind

ENTRIES = 5_000
ENTRY_BYTES_MAX = 400  # as the allocator counts; resident it is at most a quarter more


async def test_listed_entry_is_small_with_its_number_known_to_the_kernel() -> None:
    await list_and_bind(100)  # what is made once
    gc.collect()
    tracemalloc.start()
    try:
        namespace, _ = await list_and_bind(ENTRIES)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(namespace.inodes) == ENTRIES + 1
    assert used / ENTRIES < ENTRY_BYTES_MAX


async def test_snapshot_of_a_folder_that_nobody_changed_is_no_copy() -> None:
    namespace, _ = await list_and_bind(ENTRIES)
    tracemalloc.start()
    try:
        snapshots = [await namespace.snapshot(namespace.inodes.root) for _ in range(10)]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(len(snapshot.entries) == ENTRIES for snapshot in snapshots)
    assert used < ENTRIES

"""The test modules compiled once for all workers of a run, instead of by each of them.

pytest rewrites the asserts of a module when it is first imported, which takes longer than to collect its
tests, and the workers of a run import all modules at the same time: in a fresh clone each of them would
find none compiled. What is compiled already costs a look at the files.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def compile_for_workers(config: pytest.Config) -> None:
    """In the process that has workers, before it starts them; what can't be compiled is left to them."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not config.getoption("tx", None) or not is_whole or sys.dont_write_bytecode:
        return
    fresh = [path for path in sorted(HERE.rglob("test_*.py")) if not is_compiled(path)]
    processors = len(os.sched_getaffinity(0))
    children = [_fork_to_import(fresh[number::processors]) for number in range(processors)] if fresh else []
    for child in children:
        os.waitpid(child, 0)


def is_compiled(path: Path) -> bool:
    """Whether pytest has kept a module, at some time since it was last written."""
    cache = Path(cache_from_source(str(path))).parent
    changed = path.stat().st_mtime
    return any(kept.stat().st_mtime >= changed for kept in cache.glob(f"{path.stem}.*-pytest-*.pyc"))


def _fork_to_import(paths: Sequence[Path]) -> int:
    """Import in a process that is for that alone: its pid."""
    child = os.fork()
    if child:
        return child
    try:
        for path in paths:
            # A module may end in any way, by skipping as well: the worker that collects it tells.
            with contextlib.suppress(BaseException):
                importlib.import_module(".".join(path.relative_to(HERE.parent).with_suffix("").parts))
    finally:
        os._exit(0)

"""fsspec's own tests of what a filesystem does, all of them, on Orion."""

from __future__ import annotations

import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

from orionfs.fs import OrionFileSystem

pytestmark = pytest.mark.own_first


class OrionFixtures(AbstractFixtures):  # type: ignore[misc]  # fsspec has no types
    """What the tests of fsspec need to know of Orion."""

    @pytest.fixture
    def fs(self, profile):
        # They write into folders that nobody has made, as object stores let them.
        made = OrionFileSystem(profile, auto_mkdir=True)
        made.invalidate_cache()
        return made

    @pytest.fixture
    def fs_path(self, folder):
        return folder

    @pytest.fixture
    def fs_join(self):
        return lambda *parts: "/".join(parts)


class TestCopy(OrionFixtures, AbstractCopyTests):  # type: ignore[misc]  # fsspec has no types
    pass


class TestGet(OrionFixtures, AbstractGetTests):  # type: ignore[misc]  # fsspec has no types
    pass


class TestPut(OrionFixtures, AbstractPutTests):  # type: ignore[misc]  # fsspec has no types
    pass


class TestOpen(OrionFixtures, AbstractOpenTests):  # type: ignore[misc]  # fsspec has no types
    pass


class TestPipe(OrionFixtures, AbstractPipeTests):  # type: ignore[misc]  # fsspec has no types
    pass

"""Another machine of the same account: changes Orion beside the mount."""

from __future__ import annotations

import itertools

from tests.component.fake_orion import HOME, FakeCalls


class Stranger:
    """Another machine: changes Orion directly, and remembers what it removed."""

    def __init__(self, fake: FakeCalls) -> None:
        self._fake = fake
        self._numbers = itertools.count(1)
        self.removed: set[int] = set()

    def put(self, path: str, kind: str) -> None:
        """A new item, beside what has its name where that is allowed."""
        if self._is_free(path):
            self._fake.add_file(f"{HOME}/{path}", self._contents(), kind=kind)

    def replace(self, path: str) -> None:
        ids = [id for id in self._fake.ids_at(f"{HOME}/{path}") if self._fake.row(id).kind == "file"]
        if len(ids) == 1 and len(self._fake.ids_at(f"{HOME}/{path}")) == 1:
            self.removed.update(ids)
            self._fake.replace(f"{HOME}/{path}", self._contents())

    def remove(self, path: str) -> None:
        """Everything of that name, but for folders with something in them."""
        ids = self._fake.ids_at(f"{HOME}/{path}")
        if ids and not any(self._fake.rows_in(id) for id in ids):
            self.removed.update(ids)
            self._fake.remove(f"{HOME}/{path}")

    def clear(self, path: str) -> None:
        """Everything of that name, and all below."""
        for id in self._fake.ids_at(f"{HOME}/{path}"):
            for row in self._fake.rows_in(id):
                self.clear(f"{path}/{row['name']}")
        self.remove(path)

    def give_way(self, path: str) -> None:
        """Let a file be at a path: nothing else there, and no file where a folder should be."""
        names = path.split("/")
        for above in ("/".join(names[:depth]) for depth in range(1, len(names))):
            if self._fake.folder_id(f"{HOME}/{above}") is None:
                self.clear(above)
        self.clear(path)

    def mkdir(self, path: str) -> None:
        if self._is_free(path) and self._fake.folder_id(f"{HOME}/{path}") is None:
            self._fake.add_folder(f"{HOME}/{path}")

    def move(self, old: str, new: str) -> None:
        """One item or folder, whichever was there first."""
        ids = self._fake.ids_at(f"{HOME}/{old}")
        if not ids or not self._is_free(new) or new == old or new.startswith(old + "/"):
            return
        if self._fake.row(ids[0]).kind == "folder" and self._fake.folder_id(f"{HOME}/{new}") is not None:
            return
        above, _, name = f"{HOME}/{new}".rpartition("/")
        self._fake.move(ids[0], above, name)

    def _is_free(self, path: str) -> bool:
        above = f"{HOME}/{path}".rpartition("/")[0]
        is_taken = bool(self._fake.ids_at(f"{HOME}/{path}"))
        return self._fake.folder_id(above) is not None and (self._fake.duplicate_names or not is_taken)

    def _contents(self) -> bytes:
        return b"other %d" % next(self._numbers)

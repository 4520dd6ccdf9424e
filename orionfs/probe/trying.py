"""Experiments in a scratch place: what a stack does when it is asked to change something.

Each experiment answers one question or two and leaves what it made to `Scratch`. The order matters: the
first ones tell how a File gets its place, which the later ones need. An experiment that a stack spoils
leaves its question open and does not end the others.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orionfs.errors import Conflict, OrionFsError, Unreachable
from orionfs.models import MARK_PREFIX, Kind
from orionfs.probe.answers import Listing, Row, id_of, kind_of, literal_of, name_of, style_of, written_in
from orionfs.probe.asking import REFUSALS, Desk
from orionfs.probe.findings import OUT_OF_TIME, Evidence, Finding, Value
from orionfs.probe.ranging import compare_ranges
from orionfs.probe.scratch import Scratch, Upload
from orionfs.probe.walking import ask_for_more, ask_for_pages

_CONTENT_BYTES = 48
_RANGED_BYTES = 20_000
_FEW_ROWS = 12
_MORE_ROWS = 120
_SLOW_S_PER_ROW = 0.05
_READY_LIMIT_S = 15.0
_READY_EVERY_S = 0.2
_TRIED = "tried"
_NEVER_SEEN = "unknown (a new folder is never seen)"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One thing to try, and the questions it is for."""

    names: tuple[str, ...]
    run: Callable[[], None]


class Trial:
    """All experiments on one stack; `found` holds what they told so far."""

    def __init__(self, desk: Desk, seen: Evidence, scratch: Scratch, with_ranges: bool) -> None:
        self._desk, self._seen, self._scratch = desk, seen, scratch
        self._with_ranges = with_ranges
        self.found: dict[str, Finding] = {}
        self._file: Upload | None = None
        self._rival: Upload | None = None
        self._file_name = MARK_PREFIX + "file"

    def run(self) -> None:
        """Try everything. Raises Unreachable."""
        ends_at = self._desk.now() + self._desk.pace.experiments_s
        for experiment in self._experiments():
            try:
                if self._desk.now() > ends_at:
                    self._note_all(experiment.names, OUT_OF_TIME)
                    continue
                experiment.run()
            except Unreachable:
                raise
            except OrionFsError as error:
                status = "" if error.status is None else f" with status {error.status}"
                self._note_all(experiment.names, f"unknown (a call that was needed failed{status})")
        self._note_busy()

    def _experiments(self) -> Sequence[Experiment]:
        return (
            Experiment(("create_parents",), self._try_parents),
            Experiment(("create_existing",), self._try_existing),
            Experiment(("folders_assignable",), self._see_folders),
            Experiment(("upload_ready", "assign_path"), self._try_upload),
            Experiment(("ranged_reads",), self._try_ranges),
            Experiment(("list_tags",), self._try_tags),
            Experiment(("page_max", "paging", "filters"), self._try_pages),
            Experiment(("folders_assignable",), self._try_moving_a_folder),
            Experiment(("slash_in_names",), self._try_slash),
            Experiment(("empty_files",), self._try_empty_file),
            Experiment(("duplicate_names",), self._try_equal_names),
            Experiment(("remove_equal",), self._try_removing_equal_names),
            Experiment(("removed_downloads",), self._try_removed_download),
            Experiment(("remove_recursive",), self._try_removing_a_full_folder),
        )

    # Folders

    def open(self) -> None:
        """Make the scratch folder and wait until it is seen. Raises OrionFsError."""
        self._scratch.make(self._scratch.path)
        is_seen = self._desk.look(self._scratch.is_there, self._desk.pace.lag_max_s)
        why = "the longest that a change took to be seen" if is_seen else _NEVER_SEEN
        self._note("read_lag_s", 0.0 if is_seen else None, why)

    def _try_parents(self) -> None:
        outer, inner = self._scratch.folder("outer"), self._scratch.folder("outer", "inner")
        self._scratch.expect(outer)
        try:
            self._scratch.make(inner)
        except REFUSALS:
            self._scratch.make(outer)
            self._await_folder(outer)
            self._scratch.make(inner)
            self._note("create_parents", "no", _TRIED)
            return
        is_there = self._await_folder(inner)
        self._note("create_parents", "yes" if is_there else None, _TRIED)

    def _try_existing(self) -> None:
        outer = self._scratch.folder("outer")
        self._await_folder(outer)
        self._note("create_existing", self._is_done("accepted", "refused", "create_paths", [outer]), _TRIED)

    def _see_folders(self) -> None:
        """Rows of folders are evidence for their ids and literals."""
        self._listed(lambda row: kind_of(row) is Kind.FOLDER)

    def _try_moving_a_folder(self) -> None:
        old, new = self._scratch.folder("old"), self._scratch.folder("new")
        self._scratch.make(old)
        row = self._listed(lambda row: name_of(row) == MARK_PREFIX + "old")
        id = None if row is None else id_of(row)
        if row is None or id is None:
            self._note("folders_assignable", None, "unknown (folders have no id here)")
            return
        self._scratch.expect(new)
        try:
            self._assign(id, literal_of(row), MARK_PREFIX + "new")
        except REFUSALS:
            self._note("folders_assignable", "no", _TRIED)
            return
        is_moved = self._await_folder(new)
        self._note("folders_assignable", "yes" if is_moved else None, _TRIED)

    def _try_removing_a_full_folder(self) -> None:
        outer, inner = self._scratch.folder("outer"), self._scratch.folder("outer", "inner")
        if not self._await_folder(inner):
            self._note("remove_recursive", None, _NEVER_SEEN)
            return
        if self._is_done("yes", "no", "remove_paths", [outer]) == "no":
            self._note("remove_recursive", "no", _TRIED)
            return
        is_gone = self._desk.look(lambda: self._desk.stat(outer) is None)
        self._scratch.removes_whole = is_gone
        self._note("remove_recursive", "yes" if is_gone else None, _TRIED)

    def _await_folder(self, path: str) -> bool:
        return self._desk.look(lambda: self._desk.stat(path) is not None)

    # Files

    def _try_upload(self) -> None:
        # The first of the two is ready when the second one is, without anybody having asked for it.
        self._rival = self._scratch.upload("rival", secrets.token_bytes(_CONTENT_BYTES))
        size = _RANGED_BYTES if self._with_ranges else _CONTENT_BYTES
        self._file = self._scratch.upload("file", secrets.token_bytes(size))
        is_ready = self._is_readable(self._file)
        self._see_literal(self._file)
        self._find_form(self._file)
        self._see_readiness(self._file, is_ready)

    def _see_literal(self, upload: Upload) -> None:
        """What stat says of a File where it lands is evidence for its literal."""
        rows: list[Row | None] = []

        def is_there() -> bool:
            rows[:] = [self._desk.stat(upload.path)]
            return rows[0] is not None

        self._desk.look(is_there)
        self._seen.stats += [row for row in rows if row is not None]

    def _see_readiness(self, upload: Upload, is_ready: bool) -> None:
        """Wait until a File that was not ready at once is; a state that changed tells it as well."""
        ends_at = self._desk.now() + _READY_LIMIT_S
        has_come = is_ready
        while not has_come and self._desk.now() < ends_at:
            self._desk.pace.sleep(_READY_EVERY_S)
            has_come = self._is_readable(upload)
        if not has_come:
            self._note("upload_ready", None, "unknown (an uploaded File is never readable)")
            return
        state = str(self._desk.ask("get", Kind.FILE.value, upload.id).get("state") or "")
        is_at_once = is_ready and (not upload.state or state == upload.state)
        self._note("upload_ready", "at_once" if is_at_once else "later", _TRIED)

    def _is_readable(self, upload: Upload) -> bool:
        with tempfile.TemporaryDirectory(prefix="orionfs-probe-") as folder:
            path = Path(folder, "contents")
            try:
                self._desk.ask("download", Kind.FILE.value, upload.id, str(path))
            except REFUSALS:
                return False
            return path.read_bytes() == upload.content

    def _find_form(self, upload: Upload) -> None:
        """Give the first File its place, and see what the stack takes the path of an assignment for."""
        inside = f"{self._scratch.path}/{self._file_name}"
        beside_name = self._scratch.mark("placed")
        beside = f"{self._scratch.parent.rstrip('/')}/{beside_name}"
        try:
            self._send(upload, self._scratch.path, beside_name)
        except REFUSALS:
            self._send(upload, inside, self._file_name)
            is_full = self._desk.look(lambda: self._desk.stat(inside) is not None)
            self._note("assign_path", "full" if is_full else None, _TRIED)
            upload.path = inside if is_full else upload.path
            return
        there = f"{self._scratch.path}/{beside_name}"
        if not self._desk.look(lambda: self._first_there(there, beside) is not None):
            self._note("assign_path", None, "unknown (an assigned File is not where it could be)")
            return
        upload.path = self._first_there(there, beside) or there
        self._note("assign_path", "folder" if upload.path == there else "full", _TRIED)
        self._place(upload, self._file_name)

    def _first_there(self, *paths: str) -> str | None:
        return next((path for path in paths if self._desk.stat(path) is not None), None)

    def _try_ranges(self) -> None:
        if self._with_ranges and self._file is not None:
            self.found |= compare_ranges(self._desk, self._seen, self._file.id)

    def _try_tags(self) -> None:
        file = self._placed()
        if file is None or file.id is None:
            return
        self._desk.change("tag", Kind.FILE.value, file.id, [MARK_PREFIX + "tag"])
        self._seen.tagged.add(file.id)
        self._seen.tag_rows += self._desk.ask("list_tags", Kind.FILE.value, file.id)
        self._listed(lambda row: id_of(row) == file.id)

    def _try_slash(self) -> None:
        file = self._placed()
        if file is None:
            return self._note_unplaced("slash_in_names")
        name = f"{MARK_PREFIX}with/slash"
        try:
            self._place(file, name, path_name=MARK_PREFIX + "with")
        except REFUSALS:
            return self._note("slash_in_names", "no", _TRIED)
        is_so = self._listed(lambda row: name_of(row) == name and id_of(row) == file.id) is not None
        self._note("slash_in_names", "yes" if is_so else None, _TRIED)
        return self._place(file, self._file_name)

    def _try_empty_file(self) -> None:
        try:
            made = self._scratch.upload("empty", b"")
        except REFUSALS:
            return self._note("empty_files", "refused", _TRIED)
        return self._note("empty_files", "accepted" if made.id is not None else None, _TRIED)

    def _try_equal_names(self) -> None:
        if self._placed() is None or self._rival is None:
            return self._note_unplaced("duplicate_names")
        try:
            self._place(self._rival, self._file_name)
        except Conflict:
            return self._note("duplicate_names", "refused", _TRIED)
        are_both = self._desk.look(lambda: self._count_of_name() == 2)
        why = _TRIED if are_both else "unknown (two Files under one name do not both stay)"
        return self._note("duplicate_names", "allowed" if are_both else None, why)

    def _try_removing_equal_names(self) -> None:
        if self._value("duplicate_names") == "refused":
            return self._note("remove_equal", None, "does not arise (names are unique here)")
        if self._value("duplicate_names") is None:
            return self._note("remove_equal", None, "unknown (no two Files with one name could be had)")
        self._desk.change("remove_paths", [f"{self._scratch.path}/{self._file_name}"])
        self._desk.look(lambda: self._count_of_name() < 2)
        # Whether the other one goes as well shows only after as long as a change may take to show.
        are_gone = self._desk.look(lambda: self._count_of_name() == 0)
        left = self._count_of_name()
        value = "all" if are_gone else "newest" if left == 1 else None
        return self._note("remove_equal", value, _TRIED)

    def _try_removed_download(self) -> None:
        rival = self._rival
        if rival is None or rival.id is None or self._value("upload_ready") is None:
            return self._note("removed_downloads", None, "unknown (no File to remove)")
        self._scratch.delete(rival.id)
        # A session may remember where it got contents once: this File was not asked for before.
        return self._note("removed_downloads", "yes" if self._is_readable(rival) else "no", _TRIED)

    # Pages

    def _try_pages(self) -> None:
        """Fill a folder until a page is full; the stack that is slow to make rows is spared."""
        path, made = self._scratch.folder("many"), 0
        self._scratch.make(path)
        self._await_folder(path)
        for rows in (_FEW_ROWS, _MORE_ROWS, self._desk.pace.rows):
            started = self._desk.now()
            self._scratch.make(*(f"{path}/{MARK_PREFIX}{number:04}" for number in range(made, rows)))
            is_slow = self._desk.now() - started > _SLOW_S_PER_ROW * (rows - made)
            made = rows
            listing = self._await_rows(path, rows)
            if rows == _FEW_ROWS:
                self._seen.listings.append(listing)
                ask_for_pages(self._desk, self._seen, path, f"{MARK_PREFIX}{1:04}")
            is_cut = len(listing.rows) < rows
            if is_cut:
                ask_for_more(self._desk, self._seen, path, listing)
            if is_cut or is_slow or self._is_paging_ignored():
                return

    def _await_rows(self, path: str, rows: int) -> Listing:
        answers: list[Listing] = []

        def are_there() -> bool:
            answers.append(self._desk.ls_most(path))
            return max(len(answers[-1].rows), answers[-1].total or 0) >= rows

        self._desk.look(are_there)
        return answers[-1]

    def _is_paging_ignored(self) -> bool:
        return any(len(pair.first.rows) > 1 for pair in self._seen.paged)

    # What experiments share

    def _listed(self, is_it: Callable[[Row], bool]) -> Row | None:
        """The row of the scratch folder that is looked for, once it is listed; the listing is evidence."""
        pages: list[Listing] = []

        def is_there() -> bool:
            pages[:] = self._desk.ls_whole(self._scratch.path)
            return any(is_it(row) for page in pages for row in page.rows)

        self._desk.look(is_there)
        self._seen.listings += pages
        return next((row for page in pages for row in page.rows if is_it(row)), None)

    def _count_of_name(self) -> int:
        pages = self._desk.ls_whole(self._scratch.path)
        return sum(name_of(row) == self._file_name for page in pages for row in page.rows)

    def _placed(self) -> Upload | None:
        return self._file if self._value("assign_path") is not None else None

    def _place(self, upload: Upload, name: str, path_name: str | None = None) -> None:
        """Give a File its place in the scratch folder; `path_name` stands in its path instead of `name`."""
        folder = self._scratch.path
        self._send(upload, self._form(folder, path_name or name), name)
        upload.path = f"{folder}/{name}"

    def _assign(self, id: int, literal: str, name: str) -> None:
        path = self._form(self._scratch.path, name)
        row = {"resource_type": literal, "id": id, "path": path, "name": name}
        self._desk.change("assign_paths", [row])

    def _form(self, folder: str, name: str) -> str:
        return f"{folder}/{name}" if self._value("assign_path") == "full" else folder

    def _send(self, upload: Upload, path: str, name: str) -> None:
        literals = self._seen.literals()
        literal = literals.get(Kind.FILE) or written_in(style_of(literals), Kind.FILE)
        row = {"resource_type": literal, "id": upload.id, "path": path, "name": name}
        self._desk.change("assign_paths", [row])

    def _is_done(self, done: str, refused: str, verb: str, paths: list[str]) -> str:
        try:
            self._desk.change(verb, paths)
        except REFUSALS:
            return refused
        return done

    def _value(self, name: str) -> Value | None:
        return self.found[name].value if name in self.found else None

    def _note(self, name: str, value: Value | None, why: str) -> None:
        unclear = "unknown (it was tried, and what came of it is not clear)"
        self.found[name] = Finding(name, value, unclear if value is None and why == _TRIED else why)

    def _note_unplaced(self, name: str) -> None:
        self._note(name, None, "unknown (a File could not be given a place)")

    def _note_all(self, names: Sequence[str], why: str) -> None:
        for name in names:
            if self._value(name) is None:
                self._note(name, None, why)

    def _note_busy(self) -> None:
        if self._desk.busy:
            self._note("busy", "yes", "a change that was refused went through when it was asked for again")
        elif self._desk.changes:
            self._note("busy", "no", f"{self._desk.changes} changes went through at once")
        if self._value("read_lag_s") is not None:
            self._note("read_lag_s", round(self._desk.lag_s, 1), self.found["read_lag_s"].why)

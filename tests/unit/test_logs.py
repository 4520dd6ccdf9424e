"""Lines of the log: for people, as JSON, for the journal; and not a thousand of one kind."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from orionfs import errors, logs

log = logging.getLogger("orionfs.tests.of_lines")


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> Iterator[logs.Lines]:
    """What this test logs, as text, and nowhere else."""
    yield from handler_of("text", clock)


def handler_of(form: str, clock: Clock, *, is_for_journal: bool = False) -> Iterator[logs.Lines]:
    handler = logs.Lines(io.StringIO(), logs._formatter(form, is_for_journal=is_for_journal), clock)
    log.propagate, log.handlers = False, [handler]
    log.setLevel("DEBUG")
    yield handler
    log.propagate, log.handlers = True, []


def told(handler: logs.Lines) -> list[str]:
    """The lines so far."""
    assert isinstance(handler.stream, io.StringIO)
    return handler.stream.getvalue().splitlines()


def silent(name: str) -> errors.TimedOut:
    return errors.TimedOut(f"stat_path {name}: no answer within 30 s")


# -- forms -----------------------------------------------------------------------------------------


def test_line_for_people_has_time_level_and_who_says_it(lines) -> None:
    log.warning("%s: no", "a\nforged line\x1b[31m")
    (line,) = told(lines)
    assert line.partition(" WARNING ")[2] == "orionfs.tests.of_lines: a\\nforged line\\x1b[31m: no"
    assert line.startswith("20")


def test_line_for_the_journal_has_its_priority_and_no_time(clock) -> None:
    for handler in handler_of("text", clock, is_for_journal=True):
        log.error("bad")
        log.warning("odd")
        log.info("so it is")
        log.debug("more")
        assert [line[:3] for line in told(handler)] == ["<3>", "<4>", "<6>", "<7>"]
        assert told(handler)[0] == "<3>orionfs.tests.of_lines: bad"


def test_every_line_of_a_traceback_has_the_priority(clock) -> None:
    for handler in handler_of("text", clock, is_for_journal=True):
        try:
            raise ValueError("a bug")
        except ValueError:
            log.exception("unexpected")
        assert len(told(handler)) > 3
        assert {line[:3] for line in told(handler)} == {"<3>"}


def test_json_line_tells_operation_path_inode_and_request(clock) -> None:
    for handler in handler_of("json", clock):
        inner = errors.RemoteFailure("get file 7: broken")
        inner.verb, inner.status, inner.request_id = "get", 500, "r-1"
        error = errors.RemoteFailure("it failed")
        error.__cause__ = inner
        about = {"operation": "open", "path": "/my-data/a\nb", "inode": 12}
        log.warning("%s %s: %s", "open", "/my-data/a", error, extra={"about": about})
        log.info("plain")
        first, second = (json.loads(line) for line in told(handler))
        assert first.pop("time").endswith("+00:00")
        assert first == {
            "level": "WARNING",
            "logger": "orionfs.tests.of_lines",
            "message": "open /my-data/a: it failed",
            **about,
            "error": "RemoteFailure",
            "request": "get",
            "status": 500,
            "request_id": "r-1",
        }
        assert set(second) == {"time", "level", "logger", "message"}


def test_json_line_holds_its_traceback(clock) -> None:
    for handler in handler_of("json", clock):
        try:
            raise ValueError("a bug")
        except ValueError:
            log.exception("unexpected")
        (line,) = told(handler)
        assert "ValueError: a bug" in json.loads(line)["traceback"]


def test_stream_is_the_journal_s_if_systemd_says_so(tmp_path, monkeypatch) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        assert not logs.leads_to_journal(stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert logs.leads_to_journal(stream)
        assert not logs.leads_to_journal(sys.stdin)
        assert not logs.leads_to_journal(io.StringIO())


# -- not a thousand times --------------------------------------------------------------------------


def test_trouble_with_the_network_is_told_once_a_minute_with_its_number(lines, clock) -> None:
    for number in range(1000):
        log.warning("%s: %s", number, silent("/a"))
    assert len(told(lines)) == 1
    clock.now_s = 61.0
    log.warning("%s: %s", "later", silent("/a"))
    assert len(told(lines)) == 2
    assert told(lines)[1].endswith(
        "later: stat_path /a: no answer within 30 s (999 more like this in the last minute)"
    )
    clock.now_s = 62.0
    log.warning("%s: %s", "again", silent("/a"))
    assert len(told(lines)) == 2


def test_what_was_held_back_is_told_after_a_minute_without_another_one(lines, clock) -> None:
    for number in range(5):
        log.warning("%s: %s", number, silent("/a"))
    clock.now_s = 59.0
    lines.tell_held_back()
    assert len(told(lines)) == 1
    for now_s in (60.0, 80.0, 200.0):
        clock.now_s = now_s
        lines.tell_held_back()
    assert len(told(lines)) == 2
    assert "4: stat_path /a: no answer within 30 s (3 more like this in the last minute)" in told(lines)[1]


def test_nothing_that_was_held_back_is_lost_at_the_end(lines) -> None:
    for number in range(3):
        log.warning("%s: %s", number, silent("/a"))
    lines.close()
    assert "2: stat_path" in told(lines)[1]


@pytest.mark.parametrize(
    "other",
    [
        lambda: log.warning("%s: %s", "x", errors.RemoteFailure("500")),
        lambda: log.info("%s: %s", "x", silent("/a")),
        lambda: log.warning("other words, %s: %s", "x", silent("/a")),
        lambda: log.warning("%s: %s", "x", silent("/a"), extra={"about": {"operation": "mkdir"}}),
    ],
    ids=["error", "level", "words", "operation"],
)
def test_what_is_of_another_kind_is_told(lines, other: Any) -> None:
    log.warning("%s: %s", "x", silent("/a"))
    other()
    assert len(told(lines)) == 2


def test_errors_of_single_items_are_told_some_times(lines) -> None:
    for number in range(100):
        log.warning("%s: %s", number, errors.AccessDenied("no"))
    assert len(told(lines)) == 10


def test_what_is_no_error_of_ours_and_every_traceback_is_always_told(lines) -> None:
    for _ in range(100):
        log.info("%s was moved to %s", "a", "b")
    assert len(told(lines)) == 100
    for _ in range(20):
        try:
            raise silent("/a")
        except errors.TimedOut as error:
            log.exception("unexpected: %s", error)
    assert sum("unexpected" in line for line in told(lines)) == 20


def test_kind_that_its_logger_names_is_told_once_a_minute(lines) -> None:
    for number in range(100):
        log.warning("offline: %s", number, extra={"kind": "offline"})
    assert len(told(lines)) == 1


def test_errors_that_name_where_something_is_kept_are_always_told(lines) -> None:
    for number in range(100):
        log.error("not uploaded, kept in %s: %s", number, silent("/a"))
    assert len(told(lines)) == 100


def test_kinds_are_not_kept_without_bound(lines) -> None:
    for number in range(3 * logs.KINDS_MAX):
        log.warning(f"kind {number}: %s", silent("/a"))
    assert len(lines._windows) <= logs.KINDS_MAX

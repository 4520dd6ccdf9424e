"""Results of the benchmark as text, and as a table for the README. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.bench_subjects import Cost
from scripts.bench_work import MEBI, Line

_TITLES = {"orionfs": "our session", "documented": "documented calls only"}
_HEAD = ("", "", "requests", "most", "daemon", "seconds", "arrived", "/floor", "/bare", "MiB/s", "MiB got")


@dataclass(frozen=True)
class Result:
    """A line on a subject. Ratios are of our seconds: to the budget's round trips, to a bare client.

    `arrived_s` is when all of it was on the server, `fetched_bytes` what came as contents.
    """

    line: str
    title: str
    subject: str
    seconds: float | None
    requests: int | None
    requests_most: int | None
    by_kind: dict[str, int] | None
    daemon_calls: dict[str, int] | None
    floor_s: float | None
    to_floor: float | None
    bare_s: float | None
    to_bare: float | None
    mib_a_second: float | None
    arrived_s: float | None
    fetched_bytes: int | None

    @property
    def is_over(self) -> bool:
        """Whether it cost more requests than the budget allows."""
        if self.requests is None or self.requests_most is None:
            return False
        return self.requests > self.requests_most


def result(line: Line, subject: str, cost: Cost, latency_s: float) -> Result:
    """What a measurement says of a line."""
    floor_s = line.round_trips * latency_s if line.round_trips else None
    return Result(
        line=line.name,
        title=line.title,
        subject=subject,
        seconds=cost.seconds,
        requests=None if cost.requests is None else len(cost.requests),
        requests_most=line.most(subject),
        by_kind=None if cost.requests is None else dict(Counter(cost.requests)),
        daemon_calls=None if cost.daemon_calls is None else dict(cost.daemon_calls),
        floor_s=floor_s,
        to_floor=_ratio(cost.seconds, floor_s),
        bare_s=cost.bare_s,
        to_bare=_ratio(cost.seconds, cost.bare_s),
        mib_a_second=_ratio(line.moved_bytes / MEBI, cost.seconds) if line.moved_bytes else None,
        arrived_s=cost.arrived_s,
        fetched_bytes=cost.fetched_bytes,
    )


def _ratio(value: float | None, to: float | None) -> float | None:
    return value / to if value is not None and to else None


def head_text(head: Mapping[str, Any]) -> str:
    """Above the lines."""
    return f"{where(head)}\n'!' is more requests than the budget allows\n{_columns(_HEAD)}"


def where(head: Mapping[str, Any]) -> str:
    """When and where it was measured, in a sentence."""
    latency = f"{head['latency_s'] * 1000:.0f} ms a round trip"
    return f"{head['date']}, {latency}, {head['machine']}, load {head['load']:.1f} at the beginning"


def line_text(found: Result) -> str:
    """One line, as soon as it is measured."""
    cells = (
        found.subject,
        found.title,
        _text(found.requests) + ("!" if found.is_over else ""),
        _text(found.requests_most),
        _text(_calls(found)),
        _seconds(found, ".3f"),
        _text(found.arrived_s, ".3f"),
        _text(found.to_floor, ".1f"),
        _text(found.to_bare, ".1f"),
        _text(found.mib_a_second, ".0f"),
        _text(found.fetched_bytes / MEBI if found.fetched_bytes else None, ".1f"),
    )
    return _columns(cells)


def markdown(results: Sequence[Result]) -> str:
    """A table with a row a line: seconds of each subject, then what the first of them cost."""
    subjects = list(dict.fromkeys(each.subject for each in results))
    found = {(each.line, each.subject): each for each in results}
    titles = [_TITLES.get(subject, subject) for subject in subjects]
    rows = [["", *titles, "requests", "kernel calls", "to bare client"]]
    rows.append(["---", *["--:"] * (len(subjects) + 3)])
    title = ""
    for line in dict.fromkeys(each.line for each in results):
        those = [found.get((line, subject)) for subject in subjects]
        first = next(each for each in those if each is not None)
        # Indented titles go on with the one above.
        is_more = first.title.startswith(" ")
        title = title if is_more else first.title.removesuffix(", cold")
        costs = [_text(first.requests), _text(_calls(first)), _text(first.to_bare, ".1f")]
        shown = f"{title}, {first.title.strip()}" if is_more else first.title
        rows.append([shown, *(_times(each) for each in those), *costs])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _calls(found: Result) -> int | None:
    return None if found.daemon_calls is None else sum(found.daemon_calls.values())


def _seconds(found: Result | None, form: str) -> str:
    if found is None:
        return ""
    return "fails" if found.seconds is None else f"{found.seconds:{form}}"


def _times(found: Result | None) -> str:
    """Seconds of the command; and how many until all was on the server, where that took longer."""
    if found is None or found.arrived_s is None or found.seconds is None:
        return _seconds(found, ".2f")
    return f"{found.seconds:.2f} ({found.arrived_s:.2f})"


def _text(value: float | None, form: str = ",") -> str:
    return "" if value is None else f"{value:{form}}"


def _columns(cells: Sequence[str]) -> str:
    subject, title, *numbers = cells
    return f"{subject:<11}{title:<50}" + "".join(f"{number:>9}" for number in numbers)

"""What observations mean: one small pure function for each question that looking alone can answer.

`Evidence` is what was seen of a stack, in the order it was seen. A question's function gives the value
of the field of `StackFacts` with its name, or None with the reason why it stays open. Reasons are
fixed texts: they go into a report that holds no data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orionfs.models import Kind
from orionfs.probe.answers import (
    Listing,
    Row,
    has_details,
    has_tags,
    has_time,
    id_of,
    kind_of,
    literal_of,
    name_of,
    size_of,
    spelling_of,
    style_of,
)

NEEDS_WRITE = "unknown (needs --write)"
NEEDS_RANGES = "unknown (needs --ranges)"
OUT_OF_TIME = "unknown (this stack is slow: no time was left to try)"

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question (a field of `StackFacts`), and how it was found or why it was not."""

    name: str
    value: Value | None
    why: str


@dataclass(frozen=True, slots=True)
class Paged:
    """One folder that was asked for two pages of one row each; it holds at least two."""

    first: Listing
    second: Listing


@dataclass(frozen=True, slots=True)
class Filtered:
    """One folder with several names that was asked for one of them."""

    name: str
    answer: Listing


@dataclass(frozen=True, slots=True)
class Cut:
    """A listing that was asked for more rows than it gave, although there are more."""

    rows: int
    asked: int


@dataclass(slots=True)
class Evidence:
    """What was seen so far."""

    listings: list[Listing] = field(default_factory=list)
    stats: list[Row] = field(default_factory=list)
    tagged: set[int] = field(default_factory=set)  # ids of items that are known to carry tags
    tag_rows: list[Row] = field(default_factory=list)
    paged: list[Paged] = field(default_factory=list)
    filtered: list[Filtered] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)

    def rows(self, kind: Kind | None = None) -> Iterator[Row]:
        """Rows of all listings, of one kind or of any."""
        return (
            row for listing in self.listings for row in listing.rows if kind is None or kind_of(row) is kind
        )

    def literals(self) -> dict[Kind, str]:
        """The literal of each kind that was seen."""
        found: dict[Kind, str] = {}
        for row in [*self.rows(), *self.stats]:
            if kind_of(row) is not Kind.OTHER:
                found.setdefault(kind_of(row), literal_of(row))
        return found


def envelope(seen: Evidence) -> Finding:
    """In what the rows of a listing come."""
    kinds = {listing.envelope for listing in seen.listings if listing.rows}
    if not kinds:
        return Finding("envelope", None, "unknown (no folder with something in it was seen)")
    if None in kinds or len(kinds) > 1:
        return Finding("envelope", None, "another one than those that are known: see the report")
    return Finding("envelope", kinds.pop(), f"seen in {_times(len(seen.listings), 'listing')}")


def keys(seen: Evidence) -> Finding:
    """How the keys of rows are spelled."""
    rows = [*seen.rows(), *seen.stats]
    found = spelling_of(rows)
    why = f"seen in {_times(len(rows), 'row')}" if found else "unknown (rows tell too little)"
    return Finding("keys", found, why)


def literals(seen: Evidence) -> Finding:
    """How resource_type is written."""
    found = seen.literals()
    why = f"seen for {_times(len(found), 'type')}" if found else "unknown (nothing was seen)"
    return Finding("literals", style_of(found), why)


def folder_ids(seen: Evidence) -> Finding:
    """Whether rows of folders have an id."""
    answers = ["no" if id_of(row) is None else "yes" for row in seen.rows(Kind.FOLDER)]
    return _agreed("folder_ids", answers, "row", "unknown (no folder was seen)")


def list_sizes(seen: Evidence) -> Finding:
    """Whether rows of Files have a size."""
    answers = ["no" if size_of(row) is None else "yes" for row in seen.rows(Kind.FILE)]
    return _some("list_sizes", answers, "File", "unknown (no File was seen)")


def list_times(seen: Evidence) -> Finding:
    """Whether rows tell when their item was made; those of folders count where no item was seen."""
    items = [row for row in seen.rows() if kind_of(row) is not Kind.FOLDER] or list(seen.rows())
    answers = ["yes" if has_time(row) else "no" for row in items]
    return _some("list_times", answers, "row", "unknown (nothing was seen)")


def list_tags(seen: Evidence) -> Finding:
    """Whether rows tell tags; an item without any may be shown without."""
    answers = [
        "yes" if has_tags(row) else "no" for row in seen.rows() if has_tags(row) or id_of(row) in seen.tagged
    ]
    return _some("list_tags", answers, "row", "unknown (no item with a tag was seen)")


def stat_details(seen: Evidence) -> Finding:
    """Whether stat tells more than it promises."""
    answers = ["yes" if has_details(row) else "no" for row in seen.stats]
    return _some("stat_details", answers, "answer", "unknown (nothing could be asked for)")


def duplicate_names(seen: Evidence) -> Finding:
    """Allowed where two items of one folder share a name; a stack without such a pair may refuse them."""
    for listing in seen.listings:
        names = Counter(name_of(row) for row in listing.rows if kind_of(row) is not Kind.FOLDER)
        if any(count > 1 for name, count in names.items() if name):
            return Finding("duplicate_names", "allowed", "two items with one name were seen")
    return Finding("duplicate_names", None, NEEDS_WRITE)


def paging(seen: Evidence) -> Finding:
    """Whether limit and offset count."""
    answers = [_paging_of(pair) for pair in seen.paged]
    return _agreed("paging", answers, "folder", "unknown (no folder with two items was seen)")


def _paging_of(pair: Paged) -> str | None:
    if len(pair.first.rows) > 1:
        return "all"
    is_next = len(pair.second.rows) == 1 and name_or_id(pair.first.rows[0]) != name_or_id(pair.second.rows[0])
    return "pages" if is_next else None


def name_or_id(row: Row) -> tuple[str, str, int | None]:
    """What tells a row from the others of its folder."""
    return (literal_of(row), name_of(row), id_of(row))


def filters(seen: Evidence) -> Finding:
    """Whether a filter counts."""
    answers = [_filters_of(each) for each in seen.filtered]
    return _agreed("filters", answers, "folder", "unknown (no folder with two names was seen)")


def _filters_of(each: Filtered) -> str | None:
    names = {name_of(row) for row in each.answer.rows}
    if names == {each.name}:
        return "honoured"
    return "ignored" if names else None


def page_max(seen: Evidence) -> Finding:
    """How many rows the largest page has."""
    if not seen.cuts:
        return Finding("page_max", None, "unknown (no listing was cut)")
    return Finding("page_max", max(cut.rows for cut in seen.cuts), "seen: there are more rows than it gave")


SEEN: Sequence[Callable[[Evidence], Finding]] = (
    envelope,
    keys,
    literals,
    folder_ids,
    list_sizes,
    list_times,
    list_tags,
    stat_details,
    duplicate_names,
    paging,
    page_max,
    filters,
)
"""The questions that looking can answer."""


def look_at(seen: Evidence) -> dict[str, Finding]:
    """What evidence says, by question."""
    found = (question(seen) for question in SEEN)
    return {finding.name: finding for finding in found}


def chosen(
    seen: Mapping[str, Finding], tried: Mapping[str, Finding], others: Mapping[str, str]
) -> list[Finding]:
    """One finding a question: what was tried before what was seen, `others` with their reasons."""
    rest = {name: Finding(name, None, why) for name, why in others.items()}
    found = {**rest, **seen}
    for name, finding in tried.items():
        if finding.value is not None or found[name].value is None:
            found[name] = finding
    return list(found.values())


def _agreed(name: str, answers: Sequence[str | None], what: str, unknown: str) -> Finding:
    """The value that all answers give."""
    told = {answer for answer in answers if answer is not None}
    if len(told) == 1:
        return Finding(name, told.pop(), f"seen in {_times(len(answers), what)}")
    return Finding(name, None, "unknown (the answers do not agree)" if told else unknown)


def _some(name: str, answers: Sequence[str], what: str, unknown: str) -> Finding:
    """Yes where one answer says so: what a stack tells of one thing it need not tell of all."""
    if not answers:
        return Finding(name, None, unknown)
    return Finding(name, "yes" if "yes" in answers else "no", f"seen in {_times(len(answers), what)}")


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"

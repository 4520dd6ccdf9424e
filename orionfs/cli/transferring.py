"""What `put` and `get` have in common at the terminal: progress, what is said of each item, the status."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from orionfs.cli.locating import Located, account_of
from orionfs.cli.terminal import printable
from orionfs.config import state_folder
from orionfs.errors import ExitStatus, OrionFsError, StartupError, TimedOut
from orionfs.profiles import load_profile

if TYPE_CHECKING:
    from orionfs.transfers import Listener, Outcome, Transfers

AT_ONCE = 8
# An upload that is under way can't be broken off: it is left where it is, and found by the next attempt.
_INTERRUPT_GRACE_S = 3.0
_INTERRUPTED = 128 + signal.SIGINT


def transfers_for(profile_name: str | None, places: Sequence[Located]) -> Transfers:
    """Transfers of the account that is meant: a profile's, else that of the mount where a place is."""
    from orionfs.transfers import Transfers

    mounted = account_of(places) if profile_name is None else None
    profile = load_profile(profile_name if mounted is None else mounted.profile)
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Transfers(profile, folder) if mounted is None else Transfers(profile, folder, mounted.check)


def carried_out(
    transfer: Callable[[Listener], list[Outcome]], total: int, words: str, *, as_json: bool
) -> int:
    """Carry a transfer out, with progress; say what became of each item; the exit status."""
    from orionfs.transfers import Status

    with _interruptible(), _progress(total, words, as_json=as_json) as listener:
        try:
            outcomes = transfer(listener)
        except BaseExceptionGroup as group:
            raise _what_ended_it(group) from group
    counts = [(status, sum(each.status is status for each in outcomes)) for status in Status]
    if not as_json:
        click.echo(", ".join(f"{count} {status.value}" for status, count in counts if count))
    has_failed = any(each.status is Status.FAILED for each in outcomes)
    return ExitStatus.FAILED if has_failed else ExitStatus.OK


def _what_ended_it(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What is told of all that tasks ended with."""
    leaves = list(_leaves(group))
    for kind in (KeyboardInterrupt, StartupError, OrionFsError):
        found = next((error for error in leaves if isinstance(error, kind)), None)
        if isinstance(found, OrionFsError):
            is_away = isinstance(found, TimedOut)
            return StartupError(str(found), ExitStatus.UNREACHABLE if is_away else ExitStatus.FAILED)
        if found is not None:
            return found
    return group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def told(outcome: Outcome) -> dict[str, Any]:
    """An outcome for scripts."""
    key = outcome.key
    return {
        "source": outcome.source,
        "target": outcome.target,
        "status": outcome.status.value,
        "uri": None if key is None else f"{key.kind.value}://{key.id}",
        "size": outcome.size,
        "error": outcome.words if outcome.status.value == "failed" else None,
    }


@dataclass(slots=True)
class _Lines:
    """Says a line for each item that ends; knows how far things are."""

    as_json: bool
    show: Callable[[int, str], None] = lambda _done, _words: None
    say: Callable[[str], None] = click.echo
    complain: Callable[[str], None] = lambda line: click.echo(line, err=True)
    done: int = 0

    def begins(self, source: str) -> None:
        """An item is begun."""
        self.show(self.done, source)

    def goes_on(self, source: str, done: int, total: int) -> None:
        """Of an item that has parts, so many are done."""
        self.show(self.done, f"{source}: {done} of {total}")

    def ends(self, outcome: Outcome) -> None:
        """An item has ended, in whatever way."""
        self.done += 1
        self.show(self.done, outcome.source)
        if self.as_json:
            self.say(json.dumps(told(outcome)))
        elif outcome.status.value == "failed":
            self.complain(printable(f"orionfs: {outcome.source}: {outcome.words}"))
        elif outcome.words:
            self.say(printable(f"{outcome.source}: {outcome.words}: {outcome.target}"))
        else:
            self.say(printable(f"{outcome.source} -> {outcome.target}"))


@contextmanager
def _progress(total: int, words: str, *, as_json: bool) -> Iterator[Listener]:
    """A bar, if somebody is looking."""
    lines = _Lines(as_json)
    if not sys.stderr.isatty():
        yield lines
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = (TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    current = TextColumn("{task.description}")
    with Progress(*columns, current, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=total)
        lines.show = lambda done, now: progress.update(
            bar, completed=done, description=escape(printable(now))
        )
        above_the_bar = partial(progress.console.print, soft_wrap=True)
        lines.complain = lambda line: above_the_bar(Text(line))
        if sys.stdout.isatty():
            lines.say = lines.complain
        yield lines


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP end the block: in order if that goes quickly."""

    def interrupt(_number: int, _frame: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, _INTERRUPT_GRACE_S)
        raise KeyboardInterrupt

    def leave(_number: int, _frame: object) -> None:
        os._exit(_INTERRUPTED)

    handlers = {signal.SIGALRM: leave, signal.SIGTERM: interrupt, signal.SIGHUP: interrupt}
    before: list[tuple[int, Any]] = [(number, signal.signal(number, do)) for number, do in handlers.items()]
    try:
        yield
    except KeyboardInterrupt:
        click.echo("orionfs: interrupted; what is done is not done again the next time", err=True)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)

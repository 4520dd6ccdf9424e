"""What `orionfs status` shows to people: a block a mount, a line a thing that waits; in words, with commands.

Gets plain data, asks nothing. On a terminal it is coloured, elsewhere it is plain text of any width.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from orionfs.cli.surveying import ANSWERS, DEAD, UNHEARD
from orionfs.cli.terminal import counted, own_command, printable, shell_word

if TYPE_CHECKING:
    from rich.console import RenderableType

LINES_MAX = 10  # of uploads, kept files and so on, each

Row = tuple[str, str, str]
"""What it is about, what there is to say, and how that is: a style of rich's, or nothing."""

GOOD, BAD, QUIET = "green", "bold red", "dim"


def show(survey: Mapping[str, Any]) -> None:
    """Print a survey: with colours where somebody looks, else in plain lines that break no path."""
    if not sys.stdout.isatty():
        click.echo("\n\n".join(_plain(heading, rows) for heading, rows in blocks(survey)))
        return
    from rich.console import Console

    Console(highlight=False).print(_rendered(survey))


def _plain(heading: str, rows: Sequence[Row]) -> str:
    width = max((len(what) for what, _, _ in rows), default=0)
    return "\n".join([heading, *(f"  {what:<{width}}  {words}" for what, words, _ in rows)])


@contextmanager
def watching(as_json: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show one survey after another, in the same place; as JSON one below the other."""
    if as_json or not sys.stdout.isatty():
        yield lambda survey: click.echo(json.dumps(survey)) if as_json else show(survey)
        return
    from rich.live import Live

    with Live(auto_refresh=False, screen=True) as live:
        yield lambda survey: live.update(_rendered(survey), refresh=True)


def _rendered(survey: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for heading, rows in blocks(survey):
        parts.append(Text(heading, style="bold"))
        table = Table.grid(padding=(0, 2))
        for what, words, style in rows:
            table.add_row(Text(f"  {what}", style=QUIET), Text(words, style=style))
        parts += [table, Text()]
    return Group(*parts[:-1])


def blocks(survey: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    """What is shown: headings, each with its rows. Every text is harmless on a terminal."""
    now_s = float(survey["at"])
    found = [
        (printable(f"{mount['mountpoint']}  {mount['source'] or ''}".rstrip()), _mount_rows(mount, now_s))
        for mount in survey["mounts"]
    ]
    if not found:
        found = [("nothing of orionfs is mounted", [])]
    left = [row for leftover in survey["left"] for row in _left_rows(leftover)]
    return [*found, *([("left by earlier mounts", left)] if left else [])]


# -- a mount -------------------------------------------------------------------------------------


def _mount_rows(mount: Mapping[str, Any], now_s: float) -> list[Row]:
    if mount["state"] == UNHEARD:
        words = "it answers; its control socket lies where another XDG_RUNTIME_DIR says, so no more is known"
        return [("health", words, "")]
    if mount["state"] != ANSWERS:
        where = shell_word(str(mount["mountpoint"]))
        advice = f"mount {where}" if mount["state"] == DEAD else f"umount --force {where}"
        is_so = "its daemon is gone" if mount["state"] == DEAD else "it does not answer"
        return [("health", f"{is_so}; mend it with: {own_command()} {advice}", BAD)]
    rows = [_health_row(mount, now_s), *_account_rows(mount, now_s), _cache_row(mount)]
    rows += [("requests", words, "") for words in _traffic(mount.get("metrics"))]
    rows += [_waiting_row(mount)]
    rows += _bounded([_upload_row(upload, now_s) for upload in mount.get("uploads", ())])
    rows += _bounded([_kept_row(kept) for kept in mount.get("kept", ())])
    rows += _bounded([_setback_row(setback, now_s) for setback in mount.get("setbacks", ())])
    return [(what, printable(words), style) for what, words, style in rows]


def _health_row(mount: Mapping[str, Any], now_s: float) -> Row:
    health = str(mount.get("health"))
    since_s, cause = mount.get("health_since"), mount.get("health_cause")
    since = "" if since_s is None else f" for {_lasting(now_s - since_s)}"
    return "health", f"{health}{since}{f': {cause}' if cause else ''}", GOOD if health == "online" else BAD


def _account_rows(mount: Mapping[str, Any], now_s: float) -> list[Row]:
    modes = [name for name, is_on in (("read-only", "read_only"), ("write-back", "write_back"))
             if mount.get(is_on)]  # fmt: skip
    who = f"{mount.get('user')} in {mount.get('project')}, profile {mount.get('profile')}"
    return [
        ("account", ", ".join([who, *modes, *([f"root {mount['root']}"] if mount.get("root") else [])]), ""),
        ("stack", str(mount.get("stack")), ""),
        ("daemon", f"pid {mount.get('pid')}, version {mount.get('version')}, "
                   f"mounted for {_lasting(now_s - float(mount.get('since', now_s)))}", ""),
    ]  # fmt: skip


def _cache_row(mount: Mapping[str, Any]) -> Row:
    cache = mount.get("cache") or {}
    used, limit = sized(cache.get("used_bytes", 0)), sized(cache.get("limit_bytes", 0))
    return "cache", f"{used} of {limit} in {cache.get('folder')}", ""


def _traffic(metrics: object) -> list[str]:
    """Calls to Orion and bytes of contents, as far as the mount counts them."""
    if not isinstance(metrics, Mapping):
        return []
    calls = metrics.get("requests")
    count = sum(int(call["count"]) for call in calls.values()) if isinstance(calls, Mapping) else 0
    down, up = (sized(metrics.get(f"{way}loaded_bytes", 0)) for way in ("down", "up"))
    return [f"{count:,}; {down} of contents down, {up} up"]


def _waiting_row(mount: Mapping[str, Any]) -> Row:
    pending = int(mount.get("pending", 0))
    if not pending:
        return "to upload", "nothing: all is on Orion", GOOD
    return "to upload", f"{counted(pending, 'change')}, {sized(mount.get('pending_bytes', 0))}", ""


def _upload_row(upload: Mapping[str, Any], now_s: float) -> Row:
    size, sent = int(upload["bytes"]), int(upload["sent_bytes"])
    share = f"{100 * sent // size} % of {sized(size)}" if sent and size else sized(size)
    why = f": {upload['error']}" if upload.get("error") else ""
    words = f"{upload['path']}  {share}, {upload['state']} for {_lasting(now_s - upload['since'])}{why}"
    return "", words, BAD if why else ""


def _kept_row(kept: Mapping[str, Any]) -> Row:
    incomplete = ", of which a part is missing" if kept.get("has_gaps") else ""
    return "kept", (
        f"{sized(kept['bytes'])}{incomplete}, written {_moment(kept['modified'])} and never closed;"
        f" fetch it with: cp {shell_word(kept['file'])} ."
    ), BAD  # fmt: skip


def _setback_row(setback: Mapping[str, Any], now_s: float) -> Row:
    return "before", f"{_lasting(now_s - setback['at'])} ago: {setback['message']}", BAD


def _bounded(rows: Sequence[Row]) -> list[Row]:
    more = len(rows) - LINES_MAX
    return [*rows[:LINES_MAX], *([("", f"and {more} more", QUIET)] if more > 0 else [])]


# -- what earlier mounts have left ---------------------------------------------------------------


def _left_rows(left: Mapping[str, Any]) -> list[Row]:
    who = f"{left['account']} at {left['stack']}"
    if left["is_this_host"]:
        where, next_step = "this host", f"the next mount of {who} finishes it"
    else:
        where = f"host {left['host']}"
        next_step = f"mount there, or take it over with: {own_command()} adopt {shell_word(left['host'])}"
    if left["in_use"]:
        words = f"in use there by {who}" if not left["is_this_host"] else f"in use by {who}"
        return [(where, printable(words), QUIET)]
    rows = []
    if left["pending"]:
        rows.append((where, f"{counted(left['pending'], 'change')} of {who} wait: {next_step}", ""))
    rows += _bounded([(where, words, style) for _, words, style in map(_kept_row, left["kept"])])
    return [(what, printable(words), style) for what, words, style in rows]


# -- words ---------------------------------------------------------------------------------------


def sized(count: float) -> str:
    """A number of bytes in words, in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _lasting(duration_s: float) -> str:
    """So long, in the two largest units that tell something."""
    left = max(0, int(duration_s))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, length in units:
        count, left = divmod(left, length)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def _moment(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))

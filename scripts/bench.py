"""The request budget, line by line, on real mounts of a server whose answers are late.

Started by `scripts/bench`. Nothing is asserted: a machine under load is slower. Requests are the
server's own count, daemon calls the daemon's. Everything lies in a temporary folder that is removed at
the end. rclone and sshfs do the same beside it where they are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts import bench_hook, bench_report, bench_resident
from scripts.bench_lines import SIZES, chosen, groups, make_local, make_tree
from scripts.bench_peers import Peer, peers_here
from scripts.bench_report import Result
from scripts.bench_subjects import Ours, Subject
from scripts.bench_work import Group, Line
from tests.mount.server import Server
from tests.mount.stand import Client

IMPORT_S = 600.0
CLIENTS = {"orionfs": Client.OWN, "documented": Client.DOCUMENTED}


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    latency_s: float
    sizes: str
    lines: list[str]
    subjects: list[str]


def run(options: Options) -> Iterator[Result]:
    """Measure; each result as soon as there is one."""
    sizes = SIZES[options.sizes]
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="orionfs-bench-"))
        stack.callback(shutil.rmtree, folder)
        make_tree(folder / "tree", sizes)
        make_local(folder / "local", sizes)
        server = _server(folder, stack) if CLIENTS.keys() & set(options.subjects) else None
        for name in options.subjects:
            with contextlib.closing(_subject(name, folder, server, options.latency_s)) as subject:
                for group, lines in chosen(groups(sizes), options.lines):
                    yield from _measure(subject, group, lines, options.latency_s)


def _server(folder: Path, stack: contextlib.ExitStack) -> Server:
    (folder / "server").mkdir()
    server = Server(folder / "server", import_dir=folder / "tree", start_timeout_s=IMPORT_S)
    stack.callback(server.close)
    return server


def _subject(name: str, folder: Path, server: Server | None, latency_s: float) -> Subject:
    if name in CLIENTS:
        assert server is not None
        return Ours(folder / name, folder / "local", server, CLIENTS[name], latency_s)
    (peer,) = [peer for peer in peers_here() if peer.name == name]
    return peer(folder / name, folder / "local", folder / "tree", latency_s)


def _measure(
    subject: Subject, group: Group, lines: list[tuple[Line, bool]], latency_s: float
) -> Iterator[Result]:
    is_peer = isinstance(subject, Peer)
    lines = [(line, is_wanted) for line, is_wanted in lines if line.is_for_peers or not is_peer]
    if not lines or (group.writes_back and not subject.can_write_back):
        return
    subject.make_cold(writes_back=group.writes_back)
    group.prepare(subject)
    for line, is_wanted in lines:
        line.before(subject)
        cost = subject.measure(partial(line.work, subject), line.bare, line.arrives)
        if is_wanted:
            yield bench_report.result(line, subject.name, cost, latency_s)


def machine() -> str:
    """Where it was measured, in a line."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {memory_gib:.0f} GiB,"
        f" Linux {platform.release()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    """Entry point."""
    known = [line.name for group in groups(SIZES["full"]) for line in group.lines]
    subjects = [*CLIENTS, *(peer.name for peer in peers_here())]
    options, form = _parsed(known, subjects)
    head = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "latency_s": options.latency_s,
        "load": os.getloadavg()[0],
    }
    results = []
    if form == "text":
        print(bench_report.head_text(head), flush=True)
    for result in run(options):
        results.append(result)
        if form == "text":
            print(bench_report.line_text(result), flush=True)
    if form == "json":
        print(json.dumps({**head, "results": [asdict(result) for result in results]}, indent=1))
    elif form == "markdown":
        print(f"{bench_report.where(head)}\n\n{bench_report.markdown(results)}")


def _parsed(known: list[str], subjects: list[str]) -> tuple[Options, str]:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--latency", type=float, default=0.04, metavar="SECONDS", help="a round trip (0.04)")
    parser.add_argument("--sizes", choices=SIZES, default="full", help="how much there is of everything")
    parser.add_argument("--lines", default="", metavar="NAME,...", help=f"of {', '.join(known)} (all)")
    parser.add_argument(
        "--subjects", default=",".join(subjects), metavar="NAME,...", help=f"of {', '.join(subjects)} (all)"
    )
    parser.add_argument("--resident", action="store_true", help="measure resident memory, and nothing else")
    parser.add_argument(
        "--hook", action="store_true", help="measure what figures cost a call, and nothing else"
    )
    forms = parser.add_mutually_exclusive_group()
    for form in ("json", "markdown"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form)
    given = parser.parse_args()
    if given.hook:
        bench_hook.main()
        parser.exit()
    if given.resident:
        bench_resident.main([])
        parser.exit()
    for word, names, those in (("line", given.lines, known), ("subject", given.subjects, subjects)):
        unknown = set(filter(None, names.split(","))) - set(those)
        if unknown:
            parser.error(f"unknown {word}: {', '.join(sorted(unknown))}")
    lines, chosen_subjects = (list(filter(None, names.split(","))) for names in (given.lines, given.subjects))
    return Options(given.latency, given.sizes, lines, chosen_subjects), given.form or "text"


if __name__ == "__main__":
    main()

"""`serve`: one call that opens a data folder, listens, and returns when the server has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from orionfs.server.app import make_app
from orionfs.server.connections import listen, run
from orionfs.server.exchange import open_access_log
from orionfs.server.faults import FaultPlan
from orionfs.server.problems import ServeError
from orionfs.server.sample import import_tree, load_sample
from orionfs.server.site import open_site
from orionfs.server.switches import parse_switches
from orionfs.server.tree import show_all


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `orionfs serve` can be told; field by field its options."""

    data: Path
    port: int = 0
    host: str = "127.0.0.1"
    token_file: Path | None = None
    latency_s: float = 0.0
    access_log: Path | None = None
    faults: Path | None = None
    import_dir: Path | None = None
    users: Path | None = None
    switches: Mapping[str, str] = field(default_factory=dict)
    until_eof: bool = False
    sample: bool = False
    ready: Callable[[str], None] = lambda _base_url: None

    @property
    def token_path(self) -> Path:
        """Where the first user's token is: the token file, else `token` in the data folder."""
        return self.data / "token" if self.token_file is None else self.token_file


def serve(options: ServeOptions) -> None:
    """Serve until SIGINT or SIGTERM (in the main thread), or the end of stdin if `until_eof`.

    Calls `ready` with the base URL once it listens. ServeError, before that, for whatever keeps it
    from starting.
    """
    switches = parse_switches(options.switches)
    if not 0 <= options.latency_s < 3600:
        raise ServeError(f"a latency of {options.latency_s} seconds makes no sense")
    with ExitStack() as stack:
        try:
            plan = FaultPlan(options.faults)
            site = stack.enter_context(open_site(options.data, options.token_path, options.users, switches))
            if options.sample:
                load_sample(site)
            if options.import_dir is not None:
                import_tree(site, options.import_dir)
            if switches.read_lag_s:
                site.database.write(show_all)
            log = stack.enter_context(open_access_log(options.access_log))
        except OSError as error:
            where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
            raise ServeError(f"the server can't start: {error.strerror}{where}") from error
        listener, base_url = listen(options.host, options.port)
        stack.callback(listener.close)
        app = make_app(site, plan, options.latency_s, log)
        run(app, listener, lambda: options.ready(base_url), until_eof=options.until_eof)

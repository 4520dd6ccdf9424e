"""The embedded Orion: a small, real server of this project's dialect, for first tries, CI and development.

`serve(ServeOptions(...))` runs it; `describe_switches` and `describe_settings` list for help texts what it
can be told about its behaviour. Metadata in SQLite, contents as plain files; survives restarts and
kill -9. Of the rest of orionfs it knows the version number only, and nothing outside the command line
knows it.
"""

from __future__ import annotations

from orionfs.server.problems import ServeError
from orionfs.server.serving import ServeOptions, serve
from orionfs.server.switches import Switches, describe_settings, describe_switches

__all__ = [
    "ServeError",
    "ServeOptions",
    "Switches",
    "describe_settings",
    "describe_switches",
    "serve",
]

"""What tests of the probe share: its pace, running it, and what a server holds afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from orionfs.bridge import SessionCalls
from orionfs.orion.sessions import connect, connect_as_stranger, stack_name
from orionfs.probe import Outcome, Pace, Plan, Probe
from orionfs.profiles import Profile

HOME = "/project/1/user/demo"
PACE = Pace(absence_s=0.1, rows=1_010, sleep=lambda pause_s: time.sleep(pause_s / 50))
SMALL_PACE = Pace(absence_s=0.1, rows=130, sleep=lambda pause_s: time.sleep(pause_s / 50))


def probed(
    profile: Profile, folder: str | None = HOME, *, ranges: bool = False, pace: Pace = PACE
) -> Outcome:
    """The outcome of a probe that has taken everything away again."""
    stranger = connect_as_stranger(profile)
    with closing(connect(profile, 60)) as calls:
        probe = Probe(calls, stranger, Plan(stack_name(profile), folder, ranges, pace), lambda _: None)
        outcome = probe.run("0")
        assert probe.left() == []
        if folder is not None:
            assert marked(calls) == []
    if stranger is not None:
        stranger.close()
    return outcome


def marked(calls: SessionCalls) -> list[str]:
    """Names with the mark of unfinished things that are still in the scratch place or at home."""
    found = repr(calls.ls_path(HOME)).split("'")
    return sorted({text for text in found if text.startswith(".orionfs-")})


class Meddling:
    """A session's calls; `before` and `after` hear the verb of each, and may raise in its place."""

    def __init__(
        self,
        calls: SessionCalls,
        before: Callable[[str], None] = lambda _: None,
        after: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._calls, self._before, self._after = calls, before, after
        self.ranged = calls.ranged

    def __getattr__(self, verb: str) -> Any:
        call = getattr(self._calls, verb)

        def meddled(*args: Any) -> Any:
            self._before(verb)
            answer = call(*args)
            self._after(verb)
            return answer

        return meddled

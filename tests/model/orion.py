"""What the model tests draw of Orion: its switches, how long its calls take, which of them fail."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st

from orionfs.outgoing.early import Pressure
from tests.component.fake_orion import Failure, FakeCalls, failure
from tests.component.virtual import threads_in_turn

LATENCIES_S = [0.0, 0.0, 0.0, 0.01, 0.3, 2.0]
# No refusals: who is refused for good gives up, and then Orion may hold what the model does not.
TROUBLE: list[dict[str, Any]] = [
    {"error": "OrionServiceError", "status": 500},
    {"error": "OrionServiceError", "status": 504, "has_effect": True},
    {"error": "OrionConnectionError", "has_effect": True},
    {"error": "OrionTimeout"},
    {"error": "RateLimitedResponse", "status": 429, "retry_after": "1"},
    {"error": "BadResponse", "has_effect": True},
]


@dataclass(frozen=True)
class Habits:
    """How this Orion is, and how long its calls take."""

    duplicate_names: bool
    ranged: bool
    tells_sizes: bool
    tells_tags: bool
    page_max: int
    read_lag_s: float
    metadata_ttl_s: float
    seed: int
    part_bytes: int = 2**23

    @property
    def pressure(self) -> Pressure:
        """Files leave as soon as they are two parts long, and writers wait for them."""
        return Pressure(2 * self.part_bytes, 3 * self.part_bytes, parts_at_once=2)

    def fake(self) -> FakeCalls:
        """An Orion of these habits."""
        fake = FakeCalls()
        fake.duplicate_names, fake.ranged = self.duplicate_names, self.ranged
        fake.tells_sizes, fake.tells_tags = self.tells_sizes, self.tells_tags
        fake.page_max, fake.read_lag_s = self.page_max, self.read_lag_s
        fake.part_bytes = self.part_bytes
        return fake


def habits(lags: list[float]) -> st.SearchStrategy[Habits]:
    """Any habits, with one of these lags of its replicas (seconds)."""
    return st.builds(
        Habits,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from([1000, 2]),
        st.sampled_from(lags),
        st.sampled_from([30.0, 1.0]),
        st.integers(0, 1000),
        st.sampled_from([2, 2**23]),
    )


def threads(draw: random.Random) -> Callable[[], Any]:
    """Calls in threads take this long, by chance."""
    return partial(threads_in_turn, lambda: draw.choice(LATENCIES_S))


def trouble(draw: random.Random, share: float) -> Callable[[str], Failure | None]:
    """One call of so many fails."""

    def chaos(verb: str) -> Failure | None:
        if draw.random() >= share:
            return None
        chosen = dict(draw.choice(TROUBLE))
        has_effect = chosen.pop("has_effect", False)
        return Failure(verb, failure(**chosen).info, has_effect=has_effect)

    return chaos


def in_every_trouble(test: Callable[..., object]) -> Callable[..., object]:
    """A long test of histories: with each share of failing calls, and with and without lagging replicas."""
    marks = (
        pytest.mark.long,
        pytest.mark.timeout(5400),
        pytest.mark.parametrize("share", [0.0, 0.1, 0.3]),
        pytest.mark.parametrize("lag_s", [0.0, 8.0]),
    )
    return functools.reduce(lambda marked, mark: mark(marked), reversed(marks), test)

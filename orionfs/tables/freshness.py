"""For how long answers are believed; pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long answers are believed, seconds; `read_lag_s` is how far a replica may lag behind us.

    For `unheard_s` somebody may have to wait, where an answer that shows nothing of a change proves nothing.
    """

    metadata_ttl_s: float = 30.0
    absence_ttl_s: float = 5.0
    read_lag_s: float = 10.0
    unheard_s: float = 10.0

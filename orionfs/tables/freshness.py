"""For how long answers are believed; pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long answers are believed, seconds; `read_lag_s` is how far a replica may lag behind us.

    For `unheard_s` somebody may have to wait, where an answer that shows nothing of a change proves nothing.
    An answer asked for until `early_until_s`, a moment, may not know what an earlier daemon has done.
    """

    metadata_ttl_s: float = 30.0
    absence_ttl_s: float = 5.0
    read_lag_s: float = 10.0
    unheard_s: float = 10.0
    early_until_s: float = -inf

    def ends_at_s(self, asked_at_s: float, holds_s: float) -> float:
        """Until when an answer asked for at a moment is believed, if it usually holds for so long."""
        is_early = asked_at_s <= self.early_until_s
        return min(asked_at_s + holds_s, self.early_until_s) if is_early else asked_at_s + holds_s

"""The session in the workers of the contract: it tries a 503 again at once, and nothing else."""

from __future__ import annotations

from orionfs.client import OrionSession, get_session


def make_session() -> OrionSession:
    """On the server and with the token of the environment."""
    return OrionSession(requests_session=get_session({503: 2}, backoff_dict={503: (0.01, 0.02)}))

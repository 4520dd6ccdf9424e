"""The fourteen documented exceptions."""

from orionfs.client.errors import *  # noqa: F403

"""A client for Orion stacks that speak this project's dialect: `OrionSession` and its types.

A library on its own, on `requests` and `msgspec`; nothing of the file system is needed to use it:

    from orionfs.client import File, OrionSession, SessionConfig
    session = OrionSession(config=SessionConfig(url="http://127.0.0.1:8000", token="..."))
    File.upload(session, "notes.txt", "/home/me/notes.txt")
"""

from __future__ import annotations

from . import errors, types
from .http import CONNECTION_FAILED, get_session, user_agent
from .links import OrionLink, RecordLink, ShardLink
from .place import in_orion
from .profiles import SessionConfig, get_profile_config
from .session import APISession, OrionSession
from .types import (
    CurrentBalance,
    Dataset,
    File,
    Folder,
    GrowingFile,
    OrionUser,
    Project,
    Shard,
    ShardCollection,
    UserProfile,
    WorkFloeSpec,
)

__version__ = user_agent().partition("/")[2]

__all__ = [
    "CONNECTION_FAILED",
    "APISession",
    "CurrentBalance",
    "Dataset",
    "File",
    "Folder",
    "GrowingFile",
    "OrionLink",
    "OrionSession",
    "OrionUser",
    "Project",
    "RecordLink",
    "SessionConfig",
    "Shard",
    "ShardCollection",
    "ShardLink",
    "UserProfile",
    "WorkFloeSpec",
    "errors",
    "get_profile_config",
    "get_session",
    "in_orion",
    "types",
]

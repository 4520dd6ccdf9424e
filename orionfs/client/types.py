"""Resources of an Orion stack as Python objects, all in one place.

Attributes are what the server last said; changing one changes nothing there
(`OrionSession.update_resource` does). Programs import from here; each group has a module of its own.
"""

from __future__ import annotations

from .datasets import Dataset
from .files import File, Folder, GrowingFile
from .people import CurrentBalance, OrionUser, Project, UserProfile
from .resource import Resource
from .shards import Shard, ShardCollection
from .workfloes import WorkFloeSpec

__all__ = [
    "CurrentBalance",
    "Dataset",
    "File",
    "Folder",
    "GrowingFile",
    "OrionUser",
    "Project",
    "Resource",
    "Shard",
    "ShardCollection",
    "UserProfile",
    "WorkFloeSpec",
]

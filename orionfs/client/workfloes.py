"""Workfloe specifications.

Part of `types`. Must not know routes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from . import records
from .resource import Resource

if TYPE_CHECKING:
    import msgspec

    from .session import OrionSession

__all__ = ["WorkFloeSpec"]


@dataclass(eq=False, slots=True)
class WorkFloeSpec(Resource):
    """What can be started as a job. `state` is "ready" or "deprecated".

    `specification` is empty in a listing: `OrionSession.refresh_resource` fills it.
    """

    resource_type: ClassVar[str] = "workfloe"
    record: ClassVar[type[msgspec.Struct]] = records.WorkFloeRecord

    id: int | None = None
    uuid: str = ""
    name: str = ""
    title: str = ""
    description: str = ""
    state: str = ""
    owner: int | None = None
    project: int | None = None
    created: str = ""
    tags: list[str] = field(default_factory=list)
    specification: dict[str, Any] = field(default_factory=dict, repr=False)
    session: OrionSession | None = field(default=None, repr=False)

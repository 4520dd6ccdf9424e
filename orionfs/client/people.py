"""Who there is and what they have: users, projects, the balance.

Part of `types`. Must not know routes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from . import records
from .errors import ValidationError
from .resource import Resource

if TYPE_CHECKING:
    import msgspec

    from .session import OrionSession

__all__ = ["CurrentBalance", "OrionUser", "Project", "UserProfile", "project_id"]


@dataclass(eq=False, slots=True)
class Project(Resource):
    """A project; `owner` is a user's id."""

    resource_type: ClassVar[str] = "project"
    record: ClassVar[type[msgspec.Struct]] = records.ProjectRecord

    id: int | None = None
    name: str = ""
    owner: int | None = None
    created: str = ""
    session: OrionSession | None = field(default=None, repr=False)


@dataclass(eq=False, slots=True)
class OrionUser(Resource):
    """Any user of the stack."""

    resource_type: ClassVar[str] = "user"
    record: ClassVar[type[msgspec.Struct]] = records.UserRecord

    id: int | None = None
    username: str = ""
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    session: OrionSession | None = field(default=None, repr=False)


@dataclass(eq=False, slots=True)
class UserProfile(Resource):
    """The user whose token the session holds; `default_project` is a project's id."""

    resource_type: ClassVar[str] = "profile"
    record: ClassVar[type[msgspec.Struct]] = records.ProfileRecord

    id: int | None = None
    username: str = ""
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    default_project: int | None = None
    session: OrionSession | None = field(default=None, repr=False)


@dataclass(eq=False, slots=True)
class CurrentBalance(Resource):
    """What the organization has left at the moment `as_of` (ISO 8601), in `currency`."""

    resource_type: ClassVar[str] = "balance"
    record: ClassVar[type[msgspec.Struct]] = records.BalanceRecord

    balance: Decimal = Decimal(0)
    currency: str = ""
    as_of: str = ""
    session: OrionSession | None = field(default=None, repr=False)


def project_id(project: Project | int) -> int:
    """The id of a project that is given as an object or as an id."""
    found = project.id if isinstance(project, Project) else project
    if not isinstance(found, int) or isinstance(found, bool):
        raise ValidationError(f"not a project: {project!r}")
    return found

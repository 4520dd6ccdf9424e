"""What a dialect offers for which type of resource.

Used by the calls of the session. Raises ValidationError where there is nothing, before anything is sent.
"""

from __future__ import annotations

from .errors import ValidationError
from .resource import Resource
from .transport import Transport
from .wire import ResourceRoutes, Route

__all__ = ["offered", "routes_of", "type_name"]


def routes_of(transport: Transport, resource: Resource | type[Resource]) -> ResourceRoutes:
    """What can be done to a type of resource. Raises ValidationError for what is no resource."""
    word = getattr(resource, "resource_type", None)
    found = transport.wire.resources.get(word) if isinstance(word, str) else None
    if found is None:
        raise ValidationError(f"{type_name(resource)} can't be asked for in this dialect")
    return found


def offered(route: Route | None, resource: object, verb: str) -> Route:
    """A route that there is. Raises ValidationError where the dialect has none."""
    if route is None:
        raise ValidationError(f"this dialect has no way to {verb} a {type_name(resource)}")
    return route


def type_name(resource: object) -> str:
    """What a type of resource is called; it may be given by one of its objects."""
    if isinstance(resource, Resource):
        return type(resource).__name__
    return resource.__name__ if isinstance(resource, type) else repr(resource)

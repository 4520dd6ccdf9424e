"""The other side of `wire=renamed`: a thin client of the renamed dialect, and the table of it."""

from __future__ import annotations

import dataclasses
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from orionfs.client.wire import DIALECT, ResourceRoutes, Route, Wire
from orionfs.client.wire_file import dump_wire
from orionfs.server.renaming import (
    own_json,
    renamed_header,
    renamed_json,
    renamed_key,
    renamed_path,
    renamed_segment,
)
from tests.server.process import Api

if TYPE_CHECKING:
    from typing import Self

    import requests

# Entries of the table's keys that are no names of anything, but what is said.
_SAID = ("server_name", "link_name")
_TOKEN_FORM = "Bearer {token}"


class RenamedApi(Api):
    """Says the same as `Api` in the renamed dialect; `own(answer)` is what an answer would be in ours."""

    def __init__(self, url: str, token: str | None) -> None:
        super().__init__(url, None)
        if token is not None:
            self.session.headers["Authorization"] = _TOKEN_FORM.format(token=token)

    def __enter__(self) -> Self:
        return self

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        if not path.startswith("/blobs/"):
            path = renamed_path(path)
            for place in ("params", "json"):
                if options.get(place) is not None:
                    options[place] = renamed_json(json.loads(json.dumps(options[place])))
        answer = super().request(method, path, **options)
        answer.json = _own_reader(answer)  # type: ignore[method-assign]
        return answer


def _own_reader(answer: requests.Response) -> Any:
    read = answer.json
    return lambda: read() if answer.status_code >= 400 else own_json(read())


def renamed_wire_toml() -> str:
    """The table of the renamed dialect as a file that the client reads."""
    return dump_wire(renamed_wire())


def renamed_wire(wire: Wire = DIALECT) -> Wire:
    """The table of the renamed dialect."""
    return dataclasses.replace(
        wire,
        routes=dataclasses.replace(wire.routes, **_renamed_routes(wire.routes)),
        keys=dataclasses.replace(wire.keys, **_renamed_keys(wire)),
        filters=MappingProxyType({name: renamed_key(key) for name, key in wire.filters.items()}),
        resources=MappingProxyType({kind: _renamed_resource(it) for kind, it in wire.resources.items()}),
        records=MappingProxyType(
            {
                record: MappingProxyType({name: renamed_key(key) for name, key in keys.items()})
                for record, keys in wire.records.items()
            }
        ),
    )


def _renamed_routes(routes: Any) -> dict[str, Any]:
    found = {entry.name: getattr(routes, entry.name) for entry in dataclasses.fields(routes)}
    return {
        name: Route(route.method, renamed_path(route.path))
        for name, route in found.items()
        if isinstance(route, Route)
    }


def _renamed_keys(wire: Wire) -> dict[str, str]:
    names = {}
    for entry in dataclasses.fields(wire.keys):
        own = getattr(wire.keys, entry.name)
        if entry.name == "token_form":
            names[entry.name] = _TOKEN_FORM
        elif entry.name.endswith("_header"):
            names[entry.name] = renamed_header(own)
        elif entry.name not in _SAID and not entry.name.startswith("state_"):
            names[entry.name] = renamed_key(own)
    return names


def _renamed_resource(resource: ResourceRoutes) -> ResourceRoutes:
    return dataclasses.replace(resource, plural=renamed_segment(resource.plural), **_renamed_routes(resource))

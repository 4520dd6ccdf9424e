"""What every documented method of a session must do, as data: one `Contract` a method.

`good` does it right and asserts what came of it; `missing`, `denied` and `wrong` are calls and the
documented exception that they end with. A text in their place says why there is no such case. `route`
is where the method's first request goes: there a failing server is tried. Subjects are anything with the
documented methods; the world is asked beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from orionfs.client import Dataset, File, OrionUser, Project, ShardCollection, errors
from tests.contract.world import ABSENT, PASSWORD, World, as_plain

Call = Callable[[Any, World], object]
Failing = tuple[Call, type[errors.OrionError]]


@dataclass(frozen=True)
class Contract:
    """One documented method: what it does, and how it fails."""

    method: str
    does: str
    good: Call
    missing: Failing | str
    denied: Failing | str
    wrong: Failing | str
    route: str
    """Regular expression of the path that the call's request goes to; empty: it asks nothing."""
    also: tuple[type[errors.OrionError], ...] = ()
    """What else it raises, each with a test of its own in `test_contract`."""

    @property
    def raises(self) -> list[str]:
        """Names of the exceptions, in the order of the cases; those of the session itself come on top."""
        cases = (self.missing, self.denied, self.wrong)
        kinds = [*(case[1] for case in cases if not isinstance(case, str)), *self.also]
        return list(dict.fromkeys(kind.__name__ for kind in kinds))


def _absent(kind: Any = File) -> Any:
    made = kind()
    made.id = ABSENT
    return made


# -- paths -----------------------------------------------------------------------------------------


def _assignment(item: Any, folder: str, **more: Any) -> dict[str, Any]:
    return {"resource_type": "file", "id": item.id, "path": folder, **more}


def assigns(s: Any, w: World) -> None:
    item, folder, name = w.new_file(), w.new_folder(), w.fresh_name()
    assert s.assign_paths(_assignment(item, folder, name=name)) is None
    assert w.alice.stat_path(f"{folder}/{name}")["id"] == item.id


def creates_folders(s: Any, w: World) -> None:
    folder = w.new_folder()
    assert s.create_paths(f"{folder}/a", f"{folder}/b") is None
    names = [row["name"] for row in w.alice.ls_path(folder)["results"]]
    assert sorted(names) == ["a", "b"]


def removes(s: Any, w: World) -> None:
    folder = w.new_folder()
    assert s.remove_paths(folder) is None
    assert folder.rpartition("/")[2] not in str(w.alice.ls_path(w.home(), {"limit": 1000}))


def stats(s: Any, w: World) -> None:
    item = w.new_file()
    found = s.stat_path(f"{w.home()}/{item.name}")
    assert (found["id"], found["resource_type"]) == (item.id, "file")
    assert found["path"] == f"{w.home()}/{item.name}"


def lists_folder(s: Any, w: World) -> None:
    folder = w.new_folder()
    w.alice.create_paths(f"{folder}/inner")
    item, dataset = w.new_file(), w.new_dataset()
    w.alice.assign_paths(
        _assignment(item, folder), {"resource_type": "dataset", "id": dataset.id, "path": folder}
    )
    rows = s.ls_path(folder)["results"]
    assert {(row["resource_type"], row["name"]) for row in rows} == {
        ("folder", "inner"),
        ("file", item.name),
        ("dataset", dataset.name),
    }
    assert [row["name"] for row in s.ls_path(folder, {"name": item.name})["results"]] == [item.name]


def tells_paths(s: Any, w: World) -> None:
    item, dataset = w.new_file(), w.new_dataset()
    told = as_plain(s.get_paths(item, dataset))
    found = {(row["resource_type"], row["path"]) for row in told["results"]}
    assert found == {("file", f"{w.home()}/{item.name}"), ("dataset", f"{w.home()}/{dataset.name}")}


# -- resources -------------------------------------------------------------------------------------


def creates_resource(s: Any, w: World) -> None:
    name = w.fresh_name()
    made = s.create_resource(Dataset, {"name": name})
    assert made.id is not None
    assert w.alice.get_resource(Dataset, made.id).name == name


def gets_resource(s: Any, w: World) -> None:
    item = w.new_file(contents=b"12345")
    found = s.get_resource(File, item.id)
    assert (found.id, found.name, found.size, found.state) == (item.id, item.name, 5, "ready")


def lists_resources(s: Any, w: World) -> None:
    item = w.new_file()
    assert [each.id for each in s.list_resources(File, {"name": item.name})] == [item.id]
    assert [each.name for each in islice(s.list_resources(Project), 3)] == ["Demo"]


def refreshes(s: Any, w: World) -> None:
    item = w.new_file()
    mine = s.get_resource(File, item.id)
    name = w.fresh_name()
    w.alice.update_resource(item, {"name": name})
    assert s.refresh_resource(mine) is None
    assert mine.name == name


def refreshes_until(s: Any, w: World) -> None:
    collection = s.get_resource(ShardCollection, w.new_collection().id)
    assert s.refresh_resource_until(collection, "state", "open", timeout=30, sleep_time=1) is None
    assert collection.state == "open"


def updates(s: Any, w: World) -> None:
    item = s.get_resource(File, w.new_file().id)
    name = w.fresh_name()
    assert s.update_resource(item, {"name": name}) is None
    assert item.name == name
    assert w.alice.get_resource(File, item.id).name == name


def deletes(s: Any, w: World) -> None:
    item = w.new_file()
    assert s.delete_resource(s.get_resource(File, item.id)) is True
    assert w.alice.get_resource(File, item.id).deleted


# -- tags, shares, links ---------------------------------------------------------------------------


def tags(s: Any, w: World) -> None:
    item = w.new_file()
    assert s.tag_resource(item, "PDB: 1abc", "lead, maybe") is None
    assert sorted(tag["name"] for tag in w.alice.list_tags(item)) == ["PDB: 1abc", "lead, maybe"]


def untags(s: Any, w: World) -> None:
    item = w.new_file()
    w.alice.tag_resource(item, "a", "b")
    assert s.untag_resource(item, "a", "never there") is None
    assert [tag["name"] for tag in w.alice.list_tags(item)] == ["b"]


def lists_tags(s: Any, w: World) -> None:
    item = w.new_file()
    w.alice.tag_resource(item, "a", "b")
    assert sorted(tag["name"] for tag in s.list_tags(item)) == ["a", "b"]


def shares(s: Any, w: World) -> None:
    item = w.new_file()
    assert s.share_resource(item, w.user("bob")) is None
    assert w.sessions["bob"].get_resource(File, item.id or 0).name == item.name


def unshares(s: Any, w: World) -> None:
    item, bob = w.new_file(), w.user("bob")
    w.alice.share_resource(item, bob, permissions=["read"])
    assert s.unshare_resource(item, bob) is None
    refused = _raises(lambda: w.sessions["bob"].get_resource(File, item.id or 0))
    assert isinstance(refused, errors.AuthorizationRequired)


def links(s: Any, w: World) -> None:
    item = w.new_file()
    link = s.create_link(item)
    assert as_plain(link) == link
    assert w.alice.get_link(link).get().id == item.id


def reads_link(s: Any, w: World) -> None:
    item = w.new_file()
    link = s.get_link(w.alice.create_link(item))
    assert type(link).__name__ == "OrionLink"


def _raises(call: Callable[[], object]) -> errors.OrionError | None:
    try:
        call()
    except errors.OrionError as error:
        return error
    return None


# -- people ----------------------------------------------------------------------------------------


def tells_profile(s: Any, _w: World) -> None:
    assert s.get_user_profile().username == "alice"


def tells_project(s: Any, _w: World) -> None:
    found = s.get_current_project()
    assert (found.id, found.name) == (1, "Demo")


def is_authenticated(s: Any, _w: World) -> None:
    assert s.is_authenticated() is True
    assert s.is_authenticated(reconnect=True) is True


def tells_balance(s: Any, _w: World) -> None:
    assert float(s.get_current_balance().balance) >= 0


def gives_token(s: Any, w: World) -> None:
    token = s.retrieve_token("alice", PASSWORD)
    assert isinstance(token, str)
    assert token != w.token("alice")


CONTRACTS = (
    Contract(
        "assign_paths",
        "puts items into folders, under new names where asked",
        assigns,
        missing=(lambda s, w: s.assign_paths(_assignment(_absent(), w.home())), errors.NotFoundResponse),
        denied=(
            lambda s, w: s.assign_paths(_assignment(w.new_file("mallory"), w.home())),
            errors.AuthorizationRequired,
        ),
        wrong=(lambda s, w: s.assign_paths({"id": w.new_file().id}), errors.ValidationError),
        route="/paths/assign$",
    ),
    Contract(
        "create_paths",
        "makes folders",
        creates_folders,
        missing=(lambda s, w: s.create_paths(f"{w.home()}/never/there"), errors.NotFoundResponse),
        denied=(lambda s, w: s.create_paths(f"{w.home('mallory')}/mine"), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.create_paths("no/slash/first"), errors.ValidationError),
        route="/paths/create$",
    ),
    Contract(
        "remove_paths",
        "removes what is at paths",
        removes,
        missing=(lambda s, w: s.remove_paths(f"{w.home()}/never"), errors.NotFoundResponse),
        denied=(lambda s, w: s.remove_paths(w.new_folder("mallory")), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.remove_paths(""), errors.ValidationError),
        route="/paths/remove$",
    ),
    Contract(
        "stat_path",
        "tells what is at a path",
        stats,
        missing=(lambda s, w: s.stat_path(f"{w.home()}/never"), errors.NotFoundResponse),
        denied=(lambda s, w: s.stat_path(w.home("mallory")), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.stat_path("relative"), errors.ValidationError),
        route="/paths/stat$",
    ),
    Contract(
        "ls_path",
        "lists a folder, one page, filtered and ordered",
        lists_folder,
        missing=(lambda s, w: s.ls_path(f"{w.home()}/never"), errors.NotFoundResponse),
        denied=(lambda s, w: s.ls_path(w.home("mallory")), errors.NotFoundResponse),
        wrong=(lambda s, w: s.ls_path(w.home(), {"limit": "many"}), errors.ValidationError),
        route="/paths/ls$",
    ),
    Contract(
        "get_paths",
        "tells where items lie",
        tells_paths,
        missing=(lambda s, w: s.get_paths(_absent()), errors.NotFoundResponse),
        denied=(lambda s, w: s.get_paths(w.new_file("mallory")), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.get_paths(File()), errors.ValidationError),
        route="/paths/get$",
    ),
    Contract(
        "create_resource",
        "makes a resource of any type that can be made",
        creates_resource,
        missing=(
            lambda s, w: s.create_resource(Dataset, {"name": "x", "folder_path": f"{w.home()}/never"}),
            errors.NotFoundResponse,
        ),
        denied=(
            lambda s, w: s.create_resource(Dataset, {"name": "x", "folder_path": w.home("mallory")}),
            errors.AuthorizationRequired,
        ),
        wrong=(lambda s, w: s.create_resource(Dataset, {}), errors.ValidationError),
        route="/storage/datasets$",
    ),
    Contract(
        "get_resource",
        "gets a resource by its id",
        gets_resource,
        missing=(lambda s, w: s.get_resource(File, ABSENT), errors.NotFoundResponse),
        denied=(lambda s, w: s.get_resource(File, w.new_file("mallory").id), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.get_resource(File, "seven"), errors.ValidationError),
        route=r"/storage/files/\d+$",
    ),
    Contract(
        "list_resources",
        "lists all of a type, page by page, filtered",
        lists_resources,
        missing="what is not there is not listed: an empty iterator, asserted with the good case of filters",
        denied="what may not be read is not listed",
        wrong=(lambda s, w: list(s.list_resources(File, {"order_by": "colour"})), errors.ValidationError),
        route="/storage/files$",
    ),
    Contract(
        "refresh_resource",
        "completes a resource, or brings it up to date",
        refreshes,
        missing=(lambda s, w: s.refresh_resource(_absent()), errors.NotFoundResponse),
        denied=(lambda s, w: s.refresh_resource(w.new_file("mallory")), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.refresh_resource(File()), errors.ValidationError),
        route=r"/storage/files/\d+$",
    ),
    Contract(
        "refresh_resource_until",
        "refreshes until an attribute has a value",
        refreshes_until,
        missing=(
            lambda s, w: s.refresh_resource_until(_absent(), "state", "ready", timeout=1),
            errors.NotFoundResponse,
        ),
        denied=(
            lambda s, w: s.refresh_resource_until(w.new_file("mallory"), "state", "ready", timeout=1),
            errors.AuthorizationRequired,
        ),
        wrong=(
            lambda s, w: s.refresh_resource_until(w.new_file(), "colour", "red", timeout=1),
            errors.ValidationError,
        ),
        route=r"/storage/collections/\d+$",
        also=(errors.OrionTimeout,),
    ),
    Contract(
        "update_resource",
        "changes attributes",
        updates,
        missing=(lambda s, w: s.update_resource(_absent(), {"name": "x"}), errors.NotFoundResponse),
        denied=(
            lambda s, w: s.update_resource(w.new_file("mallory"), {"name": "x"}),
            errors.AuthorizationRequired,
        ),
        wrong=(lambda s, w: s.update_resource(w.new_file(), {"colour": "red"}), errors.ValidationError),
        route=r"/storage/files/\d+$",
    ),
    Contract(
        "delete_resource",
        "deletes, the soft way or for good",
        deletes,
        missing=(lambda s, w: s.delete_resource(_absent()), errors.NotFoundResponse),
        denied=(lambda s, w: s.delete_resource(w.new_file("mallory")), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.delete_resource(File()), errors.ValidationError),
        route=r"/storage/files/\d+$",
    ),
    Contract(
        "tag_resource",
        "adds tags",
        tags,
        missing=(lambda s, w: s.tag_resource(_absent(), "a"), errors.NotFoundResponse),
        denied=(lambda s, w: s.tag_resource(w.new_file("mallory"), "a"), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.tag_resource(w.new_file(), ""), errors.ValidationError),
        route=r"/storage/files/\d+/tags$",
    ),
    Contract(
        "untag_resource",
        "removes tags",
        untags,
        missing=(lambda s, w: s.untag_resource(_absent(), "a"), errors.NotFoundResponse),
        denied=(lambda s, w: s.untag_resource(w.new_file("mallory"), "a"), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.untag_resource(w.new_file(), ""), errors.ValidationError),
        route=r"/storage/files/\d+/tags$",
    ),
    Contract(
        "list_tags",
        "lists tags",
        lists_tags,
        missing=(lambda s, w: list(s.list_tags(_absent())), errors.NotFoundResponse),
        denied=(lambda s, w: list(s.list_tags(w.new_file("mallory"))), errors.AuthorizationRequired),
        wrong=(lambda s, w: list(s.list_tags(File())), errors.ValidationError),
        route=r"/storage/files/\d+/tags$",
    ),
    Contract(
        "share_resource",
        "shares with a user or a project",
        shares,
        missing=(lambda s, w: s.share_resource(_absent(), w.user("bob")), errors.NotFoundResponse),
        denied=(
            lambda s, w: s.share_resource(w.new_file("mallory"), w.user("bob")),
            errors.AuthorizationRequired,
        ),
        wrong=(
            lambda s, w: s.share_resource(w.new_file(), w.user("bob"), permissions=["sing"]),
            errors.ValidationError,
        ),
        route=r"/storage/files/\d+/shares$",
    ),
    Contract(
        "unshare_resource",
        "ends a share",
        unshares,
        missing=(lambda s, w: s.unshare_resource(_absent(), w.user("bob")), errors.NotFoundResponse),
        denied=(
            lambda s, w: s.unshare_resource(w.new_file("mallory"), w.user("bob")),
            errors.AuthorizationRequired,
        ),
        wrong=(lambda s, w: s.unshare_resource(w.new_file(), OrionUser()), errors.ValidationError),
        route=r"/storage/files/\d+/shares$",
    ),
    Contract(
        "create_link",
        "makes a link that can be kept",
        links,
        missing=(lambda s, w: s.create_link(_absent()), errors.NotFoundResponse),
        denied=(lambda s, w: s.create_link(w.new_file("mallory")), errors.AuthorizationRequired),
        wrong=(lambda s, w: s.create_link(File()), errors.ValidationError),
        route="/storage/links$",
    ),
    Contract(
        "get_link",
        "reads such a link",
        reads_link,
        missing="a link is read without asking; what it means is asked for by its get()",
        denied="as missing: get() is refused, not the link",
        wrong=(lambda s, w: s.get_link({"link": "garbage"}), errors.OrionLinkError),
        route="",
    ),
    Contract(
        "get_user_profile",
        "tells who one is",
        tells_profile,
        missing="there is a profile wherever there is a token",
        denied="with a token that is not valid: asserted for every method",
        wrong="it takes no arguments",
        route="/users/me$",
    ),
    Contract(
        "get_current_project",
        "tells the project of the session",
        tells_project,
        missing="asserted in tests/client: a project that the account is not in is refused",
        denied="with a token that is not valid: asserted for every method",
        wrong="it takes no arguments",
        route="/projects/current$",
    ),
    Contract(
        "is_authenticated",
        "tells whether the token is good",
        is_authenticated,
        missing="there is an answer wherever there is a server",
        denied="False is the answer, asserted with a token that is not valid",
        wrong="every value of reconnect means true or false",
        route="/users/me$",
    ),
    Contract(
        "get_current_balance",
        "tells the balance of the organization",
        tells_balance,
        missing="one organization, one balance",
        denied="without the capability: BadResponse, asserted below",
        wrong="it takes no arguments",
        route="/organization/balance$",
        also=(errors.BadResponse,),
    ),
    Contract(
        "retrieve_token",
        "gives a token for name and password",
        gives_token,
        missing=(lambda s, w: s.retrieve_token("nobody", PASSWORD), errors.InvalidCredentials),
        denied=(lambda s, w: s.retrieve_token("alice", "wrong"), errors.InvalidCredentials),
        wrong=(lambda s, w: s.retrieve_token("", ""), errors.ValidationError),
        route="/token$",
    ),
)

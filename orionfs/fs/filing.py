"""What is done by path: find, make, put in place, move, remove. Decides what may be done to what.

Joins the tree, which says what is where, and the changes, which know places on Orion only; tells the tree
what has changed. Raises OrionFsError throughout. Must not know fsspec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orionfs.errors import (
    AccessDenied,
    DirectoryNotEmpty,
    InvalidCall,
    IsADirectory,
    NameExists,
    NoSuchName,
    NotADirectory,
    OrionFsError,
    ReadOnly,
)
from orionfs.fs import paths
from orionfs.fs.access import Access
from orionfs.fs.tree import Node
from orionfs.models import Item, Kind
from orionfs.tables.names import true_name


@dataclass(frozen=True, slots=True)
class Filing:
    """Works by stripped paths in one account.

    Listings older than `max_age_s` seconds are not believed; `makes_parents`: folders that something new
    lacks are made.
    """

    access: Access
    max_age_s: float
    makes_parents: bool

    # Finding

    def node(self, path: str) -> Node:
        """What is at a path. Raises NoSuchName, NotADirectory."""
        return self.access.tree.resolve(path, self.max_age_s)

    def try_node(self, path: str) -> Node | None:
        """What is at a path, or None."""
        try:
            return self.node(path)
        except NoSuchName:
            return None

    def children(self, folder: Node) -> list[Node]:
        """What is in a folder or a collection, by name."""
        return self.access.tree.children(folder, self.max_age_s)

    def list_ahead(self, path: str, depth_max: int | None) -> None:
        """List all folders below a path, those of one depth at the same time, so that it is known."""
        top = self.try_node(path)
        level, depth = [] if top is None else [top], 0
        while level and (depth_max is None or depth < depth_max):
            folders = [node for node in level if node.is_folder]
            listings = self.access.asking.together([partial(self._listed, folder) for folder in folders])
            level, depth = [node for listing in listings for node in listing], depth + 1

    def _listed(self, folder: Node) -> list[Node]:
        try:
            return self.children(folder)
        except OrionFsError:
            return []  # who walks there hears of it

    def folder_for(self, path: str) -> Node:
        """The folder of something that is to be put to a path. Raises AccessDenied, ReadOnly, NoSuchName."""
        parent = paths.parent_of(path)
        if parent == paths.ROOT:
            raise AccessDenied(f"{path}: what is at the top is given by the profile")
        folder = self.node(parent)
        if folder.item.kind is Kind.COLLECTION:
            raise ReadOnly(f"{path}: collections are read here; a mount writes them")
        if not folder.is_folder:
            raise NotADirectory(f"{parent} is a {folder.item.kind.value}")
        return folder

    def place_for(
        self, path: str, *, is_new: bool = False, kind: Kind = Kind.FILE
    ) -> tuple[Node, str, Item | None]:
        """Where something is to go: its folder, its true name, and what has the name there."""
        there = self.try_node(path)
        if there is None and self.makes_parents:
            self.make_folders(paths.parent_of(path))
        folder = self.folder_for(path)
        name = true_name(kind, paths.name_of(path))
        if there is None:
            return folder, name, None
        if is_new:
            raise NameExists(f"{path} is there already")
        if there.is_folder:
            raise IsADirectory(f"{path} is a {there.item.kind.value}")
        if kind in (Kind.FOLDER, Kind.COLLECTION):
            raise NameExists(f"{path} is there already")
        if there.item.kind is not kind:
            raise AccessDenied(f"{path} is a {there.item.kind.value}: `orionfs put --as` replaces it")
        return folder, there.item.name, there.item

    # Making

    def put(self, local: Path, path: str, *, is_new: bool, keeps_local: bool) -> None:
        """Upload a local file; what had the name gives way.

        Unless it is to be kept, the local file becomes what is cached of the new version.
        """
        folder, name, over = self.place_for(path, is_new=is_new)
        size, access = local.stat().st_size, self.access
        try:
            made = access.changes.put(local, size, folder.place, name, over)
        finally:
            access.tree.changed(_below(folder, name))
        if not keeps_local and made.key is not None:
            access.contents.adopt(made.key, local, size)
        if over is not None and over.key is not None:
            access.contents.forget(over.key)

    def copy(self, node: Node, path: str) -> None:
        """A new item with the same contents: Orion has no call for that, so they come and go."""
        contents = self.access.contents
        with contents.opened(node.item) as version:
            contents.ensure(version, 0, version.size)
            self.put(version.held.path, path, is_new=False, keeps_local=True)

    def make_folder(self, path: str) -> None:
        """Make one folder. Raises NameExists."""
        place = _below(self.folder_for(path), true_name(Kind.FOLDER, paths.name_of(path)))
        try:
            self.access.changes.make_folder(place)
        finally:
            self.access.tree.changed(place)

    def make_folders(self, path: str) -> bool:
        """See that there is a folder, with what is above it; False if it was there. Raises NameExists."""
        there = self.try_node(path)
        if there is not None and there.is_folder:
            return False
        if there is not None:
            raise NameExists(f"{path} is a {there.item.kind.value}")
        self.make_folders(paths.parent_of(path))
        try:
            self.make_folder(path)
        except NameExists:  # somebody else was faster
            if not self.node(path).is_folder:
                raise
            return False
        return True

    # Removing

    def remove_item(self, node: Node) -> None:
        """Remove a file, a dataset, or a collection with all that is in it."""
        _check_changeable(node)
        try:
            self.access.changes.remove(node.item)
        finally:
            self.access.tree.changed(node.place)
        if node.item.key is not None:
            self.access.contents.forget(node.item.key)

    def remove_folder(self, node: Node) -> None:
        """Remove a folder or a collection. Raises DirectoryNotEmpty."""
        _check_changeable(node)
        if not node.is_folder:
            raise NotADirectory(f"{node.path} is a {node.item.kind.value}")
        if self.access.tree.fresh_names(node):
            raise DirectoryNotEmpty(f"{node.path} is not empty")
        if node.item.kind is Kind.COLLECTION:
            self.remove_item(node)
            return
        try:
            self.access.changes.remove_folder(node.place)
        finally:
            self.access.tree.changed(node.place)

    def remove_all(self, node: Node) -> None:
        """Remove an item, or a folder with all that is in it as it is now."""
        if node.item.kind is not Kind.FOLDER:
            self.remove_item(node)
            return
        _check_changeable(node)
        self.access.tree.forget(node.place)
        within = self.children(node)
        items = [each for each in within if each.item.kind is not Kind.FOLDER]
        removals: list[Callable[[], None]] = [partial(self.remove_item, each) for each in items]
        self.access.asking.together(removals)
        for each in within:
            if each.item.kind is Kind.FOLDER:
                self.remove_all(each)
        self.remove_folder(node)

    # Moving

    def move(self, node: Node, path: str) -> None:
        """Give what is there another path; a file that has the name gives way."""
        _check_changeable(node)
        if node.is_folder and paths.is_below(path, node.path):
            raise InvalidCall(f"{node.path} can't be moved into itself")
        origin = self.folder_for(node.path)
        folder, name, over = self.place_for(path, kind=node.item.kind)
        try:
            if node.item.kind is Kind.FOLDER:
                self._move_folder(node, origin, folder, path)
            else:
                self.access.changes.move(node.item, origin.place, folder.place, name, over)
        finally:
            self.access.tree.changed(_below(folder, name))
            self.access.tree.changed(node.place)

    def _move_folder(self, node: Node, origin: Node, folder: Node, path: str) -> None:
        """In one call where Orion can; else another folder is made, and all in it is moved."""
        assignable = self.access.asking.facts.folders_assignable
        if node.item.key is not None and assignable != "no":
            name = true_name(Kind.FOLDER, paths.name_of(path))
            try:
                self.access.changes.move(node.item, origin.place, folder.place, name, None)
                return
            except InvalidCall:
                if assignable == "yes":
                    raise
        self._move_within(node, path)

    def _move_within(self, node: Node, path: str) -> None:
        self.make_folder(path)
        there = self.node(path)
        within = self.access.tree.children(node, 0.0)
        items = [each.item for each in within if each.item.kind is not Kind.FOLDER]
        self.access.changes.move_all(items, there.place)
        self.access.tree.forget(node.place)
        for each in within:
            if each.item.kind is Kind.FOLDER:
                self._move_within(each, paths.child_of(path, paths.name_of(each.path)))
        self.remove_folder(node)


def _below(folder: Node, name: str) -> str:
    return f"{folder.place.rstrip('/')}/{name}"


def _check_changeable(node: Node) -> None:
    if paths.parent_of(node.path) == paths.ROOT:
        raise AccessDenied(f"{node.path}: what is at the top is given by the profile")
    if node.item.kind is Kind.SHARD:
        raise ReadOnly(f"{node.path}: collections are read here; a mount writes them")

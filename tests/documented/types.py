"""Types of the documented session: plain attributes and the two documented methods of a File."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orionfs.client import types as own
from tests.documented.strict import check_call, refuse, signature

_MAKING = object()
_FILE_UPLOAD = signature("session, name, path")
_FILE_DOWNLOAD = signature("path")
_DATASET_DOWNLOAD = signature("filename")
_DATASET_UPLOAD = signature("session, name, filename, project=None")
_DATASET_RECORDS = signature("record_ids=None, offset=None, limit=None, format='binary', fieldlist=None")
_COLLECTION_CREATE = signature("session, name, metadata=None")
_SHARD_CREATE = signature("collection, name, metadata=None")
_SHARD_UPLOAD = signature("path")


class _Strict(type):
    def __getattr__(cls, name: str) -> Any:
        refuse(cls.__name__, name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if args[:1] != (_MAKING,):
            raise AssertionError(f"{cls.__name__} is made by the session only, not with {args} {kwargs}")
        return super().__call__(*args[1:], **kwargs)


class _Resource(metaclass=_Strict):
    shown: tuple[str, ...] = ()

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._show()

    def __getattr__(self, name: str) -> Any:
        refuse(type(self).__name__, name)

    def _show(self) -> None:
        self.__dict__.update({name: getattr(self._inner, name) for name in self.shown})


class File(_Resource):
    """A File as far as it is documented."""

    shown = ("id", "name", "path", "created", "size", "owner", "project", "state", "deleted")

    @classmethod
    def upload(cls, *args: Any, **kwargs: Any) -> File:
        check_call("File.upload", _FILE_UPLOAD, args, kwargs)
        given = dict(zip(("session", "name", "path"), args, strict=False)) | kwargs
        with given["session"]._one_thread("File.upload"):
            made = own.File.upload(given["session"]._inner, given["name"], given["path"])
        return make(cls, made)

    def download_to_file(self, *args: Any, **kwargs: Any) -> None:
        check_call("File.download_to_file", _FILE_DOWNLOAD, args, kwargs)
        self._inner.download_to_file(*args, **kwargs)


class Dataset(_Resource):
    """A Dataset as far as the bridge needs it."""

    shown = (
        "id",
        "name",
        "path",
        "description",
        "dirty",
        "created",
        "count",
        "owner",
        "project",
        "systemtags",
        "deleted",
    )

    @classmethod
    def upload(cls, *args: Any, **kwargs: Any) -> Dataset:
        check_call("Dataset.upload", _DATASET_UPLOAD, args, kwargs)
        session, *more = args
        with session._one_thread("Dataset.upload"):
            return make(cls, own.Dataset.upload(session._inner, *more, **kwargs))

    def download(self, *args: Any, **kwargs: Any) -> bytes:
        check_call("Dataset.download", _DATASET_RECORDS, args, kwargs)
        contents: bytes = self._inner.download(*args, **kwargs)
        return contents

    def download_to_file(self, *args: Any, **kwargs: Any) -> None:
        check_call("Dataset.download_to_file", _DATASET_DOWNLOAD, args, kwargs)
        self._inner.download_to_file(*args, **kwargs)


class ShardCollection(_Resource):
    """A collection."""

    shown = ("id", "name", "state", "metadata")

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> ShardCollection:
        check_call("ShardCollection.create", _COLLECTION_CREATE, args, kwargs)
        session, *more = args
        return make(cls, own.ShardCollection.create(session._inner, *more, **kwargs))

    def list_shards(self) -> Iterator[Shard]:
        return (make(Shard, each) for each in self._inner.list_shards())

    def open(self) -> None:
        self._inner.open()
        self._show()

    def close(self) -> None:
        self._inner.close()
        self._show()


class _StrictShard(_Strict):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if args[:1] == (_MAKING,):
            return super().__call__(*args, **kwargs)
        assert not args, "a shard is made with keywords"
        assert set(kwargs) <= {"collection", "id"}, f"Shard({kwargs}) is not documented"
        inner = own.Shard(collection=kwargs["collection"]._inner, id=kwargs.get("id"))
        return super().__call__(_MAKING, inner)


class Shard(_Resource, metaclass=_StrictShard):
    """A shard; no length of it is documented."""

    shown = ("id", "name", "state", "metadata")

    @classmethod
    def create(cls, *args: Any, **kwargs: Any) -> Shard:
        check_call("Shard.create", _SHARD_CREATE, args, kwargs)
        collection, *more = args
        return make(cls, own.Shard.create(collection._inner, *more, **kwargs))

    def upload_file(self, *args: Any, **kwargs: Any) -> None:
        check_call("Shard.upload_file", _SHARD_UPLOAD, args, kwargs)
        self._inner.upload_file(*args, **kwargs)
        self._show()

    def download_to_file(self, *args: Any, **kwargs: Any) -> None:
        check_call("Shard.download_to_file", _FILE_DOWNLOAD, args, kwargs)
        self._inner.download_to_file(*args, **kwargs)

    def close(self) -> None:
        self._inner.close()
        self._show()


class WorkFloeSpec(_Resource):
    """A workflow's description."""

    shown = ("id", "name", "title", "state", "specification")


class OrionUser(_Resource):
    """Any user."""

    shown = ("id", "username")


class CurrentBalance(_Resource):
    """The balance of the organization."""

    shown = ("balance",)


class Project(_Resource):
    """A project."""

    shown = ("id", "name")


class UserProfile(_Resource):
    """The user."""

    shown = ("id", "username")


OWN: dict[type, type[own.Resource]] = {
    CurrentBalance: own.CurrentBalance,
    Dataset: own.Dataset,
    File: own.File,
    OrionUser: own.OrionUser,
    Shard: own.Shard,
    ShardCollection: own.ShardCollection,
    WorkFloeSpec: own.WorkFloeSpec,
    Project: own.Project,
    UserProfile: own.UserProfile,
}


def make(kind: type | Shard, inner: Any) -> Any:
    """What only the session may do; a shard may be asked for by one that stands for its collection."""
    return (kind if isinstance(kind, type) else type(kind))(_MAKING, inner)


def __getattr__(name: str) -> Any:
    refuse("types", name)

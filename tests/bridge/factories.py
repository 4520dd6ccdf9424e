"""Sessions for tests of the bridge; run in workers, so standard library and syntax of Python 3.8."""

from __future__ import annotations

import datetime
import os
import sys
import time
from typing import Any


class NotFoundResponse(Exception):
    """As a vendor's exception: known by its name, carries its answer."""

    def __init__(self, response):
        super().__init__("not found, Token:0123456789abcdef")
        self.response = response


class Response:
    """As much of an answer as is looked at."""

    def __init__(self, status_code, headers=None, answer=None):
        self.status_code = status_code
        self.headers = headers or {}
        self._answer = answer

    def json(self):
        if self._answer is None:
            raise ValueError("not JSON")
        return self._answer


class File:
    """A type with plain attributes."""

    def __init__(self, id, name="a"):
        self.id = id
        self.name = name
        self.created = datetime.datetime(2026, 1, 2, 3, 4, 5)
        self.tags = ["x", "y"]
        self.metadata = {"size_bytes": 5}
        self.session = object()
        self._private = "no"

    @classmethod
    def upload(cls, session, name, path):
        with open(path) as stream:
            return cls(len(stream.read()), name)

    def download_to_file(self, path):
        with open(path, "w") as stream:
            stream.write(f"contents of {self.id}")


class Slotted:
    """A type that keeps its attributes elsewhere."""

    __slots__ = ("id", "username")

    def __init__(self):
        self.id = 2**60 + 1
        self.username = "somebody"


class Types:
    """A module of types, as far as a session has them."""

    File = File


class Session:
    """Does what its paths say."""

    types: Any = Types

    def __init__(self):
        self.asked = []

    def get_user_profile(self):
        return Slotted()

    def get_current_project(self):
        return File(3, "a project")

    def stat_path(self, path):
        if path.startswith("/sleep/"):
            time.sleep(float(path.rpartition("/")[2]))
        elif path == "/die":
            os._exit(3)
        elif path == "/print":
            print("said on stdout")
            sys.stdout.flush()
            os.write(1, b"said on descriptor 1\n")
            os.write(2, b"said on descriptor 2 \x1b[31m\xff\n")
        elif path == "/pid":
            return {"pid": os.getpid()}
        elif path == "/missing":
            raise NotFoundResponse(
                Response(404, {"X-Request-Id": "r1"}, {"detail": "not here", "code": "gone"})
            )
        elif path == "/bug":
            raise KeyError("a bug of the session")
        elif path == "/long":
            return {"text": "x" * 3000000}
        elif path == "/odd":
            return {"object": object()}
        elif path == "/env":
            return dict(os.environ)
        return {"path": path}

    def ls_path(self, path, query_params=None):
        return {"path": path, "query": query_params}

    def create_paths(self, *paths):
        self.asked.append(("create", paths))

    def remove_paths(self, *paths):
        self.asked.append(("remove", paths))

    def assign_paths(self, *assignments):
        self.asked.append(("assign", assignments))

    def get_resource(self, resource_type, resource_id, timeout=None):
        self.asked.append(("get", resource_id))
        return resource_type(resource_id)

    def list_resources(self, resource, filters=None):
        self.asked.append(("list", filters))
        number = 0
        while True:
            yield resource(number)
            number += 1

    def delete_resource(self, resource):
        return resource.id != 13

    def list_tags(self, resource):
        return iter([{"name": f"t{resource.id}"}])

    def tag_resource(self, resource, *tags, project=None):
        self.asked.append(("tag", resource.id, tags))

    def untag_resource(self, resource, *tags, project=None):
        self.asked.append(("untag", resource.id, tags))


class Direct(File):
    """A File that can be made from its id, and read in ranges."""

    def __init__(self, id=None, session=None):
        super().__init__(id)

    def read_into(self, fd, fd_offset, offset, length, progress=None):
        count = os.pwrite(fd, b"r" * min(length, 10), fd_offset)
        if progress is not None:
            progress(count)
        return count


class DirectTypes:
    """Types with our extensions."""

    File = Direct


class DirectSession(Session):
    """A session with our extensions."""

    types = DirectTypes
    direct_resources = True
    instance = "abc"


ready_made = Session()


def make():
    return Session()


make.types = Types  # type: ignore[attr-defined]


def fail():
    raise NotFoundResponse(Response(404))


def hang():
    time.sleep(60)


def leave():
    os._exit(4)

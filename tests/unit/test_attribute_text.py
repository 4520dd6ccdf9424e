"""Names and values of `user.orion.*` as bytes and as what they mean."""

from __future__ import annotations

import json

import pytest

from orionfs import errors
from orionfs.durable.share_rows import Share
from orionfs.models import Kind
from orionfs.xattrs import attribute_text as text


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"user.orion.tags", "tags"),
        (b"user.orion.tag.a.b", "tag.a.b"),
        ("user.orion.tag.β".encode(), "tag.β"),
        (b"user.orion.", ""),
        (b"user.orion", None),
        (b"user.comment", None),
    ],
)
def test_own_names_are_told_from_others_of_users(raw, name) -> None:
    assert text.own_name(raw) == name


@pytest.mark.parametrize(
    "raw", [b"security.selinux", b"system.posix_acl_access", b"trusted.x", b"os2.x", b"user"]
)
def test_name_of_another_namespace_is_not_supported(raw) -> None:
    with pytest.raises(errors.NotSupported):
        text.own_name(raw)


@pytest.mark.parametrize(
    ("value", "permissions"),
    [
        (b"", ("read",)),
        (b"read", ("read",)),
        (b"write", ("read", "write")),
        (b"share, delete\nWRITE read", ("read", "write", "delete", "share")),
        (b" ,write,, ", ("read", "write")),
    ],
)
def test_permissions_are_words_in_any_order_and_reading_goes_with_each(value, permissions) -> None:
    assert text.parse_permissions(value) == permissions
    assert text.parse_permissions(text.format_permissions(permissions).encode()) == permissions


@pytest.mark.parametrize("value", [b"admin", b"read,wri te", b"read;write"])
def test_other_words_are_no_permissions(value) -> None:
    with pytest.raises(errors.InvalidCall, match="permissions are read, write, delete, share"):
        text.parse_permissions(value)


def test_permissions_that_are_no_text_are_refused() -> None:
    with pytest.raises(errors.NotUnicode):
        text.parse_permissions(b"\xff")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("share.user.alice", ("user", "alice")),
        ("share.user.a.b@example.org", ("user", "a.b@example.org")),
        ("share.project.3", ("project", "3")),
        ("share.user.", None),
        ("share.user", None),
        ("share.group.x", None),
        ("shares", None),
        ("user.alice", None),
    ],
)
def test_name_of_a_share_says_with_whom(name, named) -> None:
    found = text.named_in(name)
    assert (None if found is None else (found.partner, found.name)) == named


def test_shares_are_told_as_json_with_who_knows_them() -> None:
    shares = [Share("user", 7, ("read", "write"), "naïve"), Share("project", 3, ("read",))]
    told = text.format_shares(shares, is_all=False)
    assert "naïve" in told
    assert json.loads(told) == [
        {"with": "user", "id": 7, "name": "naïve", "permissions": ["read", "write"], "told_by": "this mount"},
        {"with": "project", "id": 3, "name": "", "permissions": ["read"], "told_by": "this mount"},
    ]
    assert text.format_shares([], is_all=True) == "[]"


@pytest.mark.parametrize(
    ("path", "audience"),
    [
        ("/project/1/user/demo", "private"),
        ("/project/1/user/demo/team/x", "private"),
        ("/project/1/team", "team"),
        ("/project/1/team/user/x", "team"),
        ("/project/1/workspace/7", "workspace: Kinases"),
        ("/project/1/workspace/7/a/b", "workspace: Kinases"),
        ("/organization", "organization"),
        ("/organization/project/1/team", "organization"),
        ("/project/1/workspace", None),
        ("/project/1/user", None),
        ("/project/1", None),
        ("/project", None),
        ("/", None),
        ("/other/1/team", None),
    ],
)
def test_audience_follows_from_the_path(path, audience) -> None:
    workspace = text.workspace_of(path)
    assert workspace == ("7" if audience == "workspace: Kinases" else None)
    assert text.audience_of(path, "Kinases" if workspace else None) == audience


@pytest.mark.parametrize(
    ("kind", "uri"),
    [
        (Kind.FILE, "file://5"),
        (Kind.DATASET, "dataset://5"),
        (Kind.COLLECTION, "collection://5"),
        (Kind.SHARD, None),
        (Kind.FOLDER, None),
        (Kind.OTHER, None),
    ],
)
def test_uri_is_that_of_parameters_of_jobs(kind, uri) -> None:
    assert text.format_uri(kind, 5) == uri
    assert text.format_uri(kind, None) is None


def test_time_is_told_in_utc_with_microseconds() -> None:
    assert text.format_time(1_787_483_100_123_456_000) == "2026-08-23T11:05:00.123456Z"
    assert text.format_time(1_000_000_000) == "1970-01-01T00:00:01.000000Z"


def test_names_that_do_not_fit_are_not_listed() -> None:
    assert text.listed(["id", f"tag.{'x' * 240}", f"tag.{'x' * 241}", f"tag.{'β' * 121}"]) == [
        b"user.orion.id",
        b"user.orion.tag." + b"x" * 240,
    ]
    many = text.listed(f"tag.{number:05}{'x' * 200}" for number in range(1000))
    assert sum(len(name) + 1 for name in many) <= text.VALUE_MAX_BYTES
    assert len(many) > 250


def test_value_that_does_not_fit_is_too_long() -> None:
    assert len(text.bytes_of("tags", "x" * text.VALUE_MAX_BYTES, "/f")) == text.VALUE_MAX_BYTES
    with pytest.raises(errors.TooLong, match=r"user\.orion\.tags of /f has 65538 bytes"):
        text.bytes_of("tags", "β" * (text.VALUE_MAX_BYTES // 2 + 1), "/f")

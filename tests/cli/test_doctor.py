"""`orionfs doctor` as a program: for anybody, with a server and without one, in words and for scripts."""

from __future__ import annotations

import json
import os

import pytest

from orionfs import profiles
from tests.cli.processes import PLAIN_UID
from tests.client.fake import Reply, running_fake


@pytest.fixture(autouse=True)
def no_proxies(orionfs) -> None:
    """What the machine of the tests has set up is not ours."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        orionfs.environment.pop(name, None)


def test_server_token_and_clock_are_looked_at(orionfs, home) -> None:
    with running_fake() as fake:
        user = {"id": 1, "username": "ada", "default_project": 2}
        fake.on("GET", "/api/v1/users/me", Reply(json=user))
        fake.on("GET", "/api/v1/projects/current", Reply(json={"id": 2, "name": "Kinases\x1b"}))
        profiles.write_profile("default", {"url": fake.url, "token": "the-secret"})
        done = orionfs("doctor", "--json")
        checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
        assert checks["token"]["message"].startswith("accepted: ada in Kinases")
        assert checks["clock"]["message"] == "as the server's"
        shown = orionfs("doctor", home / "orion").stdout
    assert "\x1b" not in shown
    assert "the-secret" not in done.stdout + shown
    assert "mount point" in shown


def test_what_is_bad_is_the_exit_status(orionfs, home) -> None:
    done = orionfs("doctor")  # the profile's server is not there
    assert done.returncode == 1
    assert "\nbad   server " in done.stdout
    assert "mend it with: see whether it is the network" in done.stdout
    profiles.config_path().unlink()
    done = orionfs("doctor", "--json")
    verdicts = {each["name"]: each["verdict"] for each in json.loads(done.stdout)["checks"]}
    assert (done.returncode, verdicts["profile"], verdicts["server"]) == (1, "bad", "warn")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
@pytest.mark.started
def test_plain_user_is_told_what_mounts_for_him(orionfs, home, plain_home) -> None:
    orionfs.become_plain_user(plain_home)
    done = orionfs("doctor", "--json")
    assert done.stderr == ""
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert "libfuse runs" in checks["fusermount3"]["message"] or checks["fusermount3"]["verdict"] != "ok"
    assert checks["state"]["message"].startswith(str(plain_home))
    assert [path for path in plain_home.rglob("*") if path.stat().st_uid != PLAIN_UID] == []
    assert "the-secret" not in done.stdout

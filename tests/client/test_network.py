"""Networks as they are: a CA of one's own, a proxy, many threads, a server in trouble."""

from __future__ import annotations

import logging
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from orionfs.client import File, OrionSession, errors, get_session
from tests.client.conftest import Connect
from tests.client.fake import INFO, INFO_PATH, Fake, Reply, Seen, running_fake

PROFILE = "/api/v1/users/me"
STAT = "/api/v1/storage/paths/stat"
ME = Reply(json={"id": 1, "username": "ada"})


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ca(tmp_path: Path) -> tuple[trustme.CA, str]:
    """A CA of our own, and the file that it lies in."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made, str(tmp_path / "ca.pem")


@pytest.fixture
def secure(ca: tuple[trustme.CA, str]) -> Iterator[Fake]:
    """A server with a certificate of that CA; so is the host of contents."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca[0].issue_cert("127.0.0.1").configure_cert(context)
    with running_fake(context) as running:
        running.on("GET", PROFILE, ME)
        running.on("GET", "/blob", Reply(body=b"contents"))
        where = Reply(302, headers={"Location": f"{running.url}/blob?s=1"})
        running.on("GET", "/api/v3/storage/files/7/download", where)
        yield running


def test_ca_of_the_environment_is_trusted_for_calls_and_contents(
    secure: Fake, connect: Connect, ca: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca[1])
    session = connect(secure.url)
    assert session.get_user_profile().username == "ada"
    File(id=7, session=session).download_to_file(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"contents"


def test_ca_that_nobody_knows_is_a_connection_error_that_sent_nothing(secure: Fake, connect: Connect) -> None:
    with pytest.raises(errors.OrionConnectionError) as raised:
        connect(secure.url).get_user_profile()
    assert raised.value.nothing_sent
    assert secure.requests == []


def test_certificate_of_another_host_is_refused(
    secure: Fake, connect: Connect, ca: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca[1])
    with pytest.raises(errors.OrionConnectionError):
        connect(secure.url.replace("127.0.0.1", "localhost")).get_user_profile()
    assert secure.requests == []


def test_ca_bundle_that_is_missing_is_said_in_one_line(
    secure: Fake, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(errors.OrionConnectionError, match="CA") as raised:
        connect(secure.url).get_user_profile()
    assert "\n" not in str(raised.value)


class Proxy:
    """Forwards plain requests and tunnels others; remembers the first line of each connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.seen: list[str] = []
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._handle, args=(client,)))
            self._threads[-1].start()

    def _handle(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                received = client.recv(65536)
                if not received:
                    return
                head += received
            line, rest = head.split(b"\r\n", 1)
            method, target, _ = line.decode().split(" ")
            self.seen.append(f"{method} {target}")
            host, port = target.removeprefix("http://").partition("/")[0].split(":")
            with socket.create_connection((host, int(port))) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=_copy, args=(server, client))
                    back.start()
                    _copy(client, server)
                    back.join()
                    return
                path = "/" + target.removeprefix("http://").partition("/")[2]
                server.sendall(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode() + rest)
                _copy(server, client)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one side has gone


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    running = Proxy()
    yield running
    running.close()


def test_proxy_of_the_environment_is_used(
    fake: Fake, connect: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    for path, answer in ((INFO_PATH, INFO), (PROFILE, {"id": 1, "username": "ada"})):
        fake.on("GET", path, Reply(json=answer, headers={"Connection": "close"}))
    session = connect(fake.url)
    assert session.get_user_profile().username == "ada"
    session.close()
    assert f"GET {fake.url}{PROFILE}" in proxy.seen


def test_proxy_sees_nothing_of_a_secure_connection_but_the_host(
    secure: Fake, connect: Connect, ca: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca[1])
    monkeypatch.setenv("https_proxy", proxy.url)
    session = connect(secure.url)
    assert session.get_user_profile().username == "ada"
    session.close()
    assert set(proxy.seen) == {f"CONNECT {secure.url.removeprefix('https://')}"}


def test_proxy_that_breaks_off_may_have_passed_the_request_on(
    fake: Fake, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change behind it is then unclear, and must not be taken for one that never happened."""
    fake.on("GET", PROFILE, ME)
    session = connect(fake.url)
    session.transport.server()
    with running_fake() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        proxy.on("POST", "/api/v1/storage/paths/create", Reply(is_reset=True))
        with pytest.raises(errors.OrionConnectionError) as raised:
            session.create_paths("/p/a")
    assert not raised.value.nothing_sent


def test_proxy_that_refuses_a_tunnel_sent_nothing(
    secure: Fake, connect: Connect, ca: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca[1])
    with running_fake() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(errors.OrionConnectionError) as raised:
            connect(secure.url).get_user_profile()
    assert raised.value.nothing_sent


def test_hosts_that_need_no_proxy_are_asked_directly(
    fake: Fake, connect: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fake.on("GET", PROFILE, ME)
    assert connect(fake.url).get_user_profile().username == "ada"
    assert proxy.seen == []


def test_proxy_that_is_down_is_a_connection_error_that_sent_nothing(
    fake: Fake, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://somebody:secret@127.0.0.1:1")
    with pytest.raises(errors.OrionConnectionError) as raised:
        connect(fake.url).get_user_profile()
    assert raised.value.nothing_sent
    assert "secret" not in str(raised.value)


def test_a_hundred_threads_keep_as_many_connections_and_discard_none(
    fake: Fake, session: OrionSession, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 warns of each connection that finds no place in the pool, and closes it."""
    caplog.set_level(logging.DEBUG, "urllib3")
    session.transport.server()
    everybody = threading.Barrier(101)

    def stat(seen: Seen) -> Reply:
        return Reply(json={"id": 1, "resource_type": "file", "path": seen.query["path"][0]})

    fake.on("GET", STAT, stat)

    def work(number: int) -> None:
        for turn in range(3):
            everybody.wait(30)
            assert session.stat_path(f"/p/{number}/{turn}")["path"] == f"/p/{number}/{turn}"

    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        everybody.wait(30)
    for thread in threads:
        thread.join()
    assert len(fake.seen(STAT)) == 300
    assert fake.connections <= 101
    assert "pool is full" not in caplog.text


def _troubled(seen: Seen) -> Reply:
    """One answer in ten is none: 503, 429 in both forms of Retry-After, a reset."""
    good = Reply(json={"id": 1, "resource_type": "file", "path": seen.query["path"][0]})
    faults = [
        Reply(503),
        Reply(429, headers={"Retry-After": "0"}),
        Reply(503, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}),
        Reply(is_reset=True),
    ]
    return random.choice(faults) if random.random() < 0.1 else good


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.long)])
def test_thirty_two_threads_ride_out_a_server_in_trouble(fake: Fake, connect: Connect, seconds: int) -> None:
    fake.on("GET", STAT, _troubled)
    retries = dict.fromkeys((0, 429, 503), 20)
    backoff = dict.fromkeys(retries, (0.001, 0.01))
    session = connect(fake.url, requests_session=get_session(retries, 5, backoff_dict=backoff))
    deadline = time.monotonic() + seconds
    outcomes: Counter[bool] = Counter()
    lock = threading.Lock()

    def work(number: int) -> None:
        turn = 0
        while time.monotonic() < deadline:
            turn += 1
            path = f"/p/{number}/{turn}"
            is_right = session.stat_path(path)["path"] == path
            with lock:
                outcomes[is_right] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    resets = fake.connections - fake.open_connections
    assert set(outcomes) == {True}
    assert outcomes[True] > 100 * seconds
    assert fake.open_connections <= 33, f"{resets} were reset"

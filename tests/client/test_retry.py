"""`get_session`: counts and waits per status, Retry-After, limits in time; no test waits for real."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from orionfs.client import http
from orionfs.client.http import CONNECTION_FAILED, Retryable, TotalTimeout, get_session
from tests.client.fake import Fake, Reply


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def patient(clock: Clock) -> Iterator[Any]:
    """Makes requests sessions with an injected clock."""
    made: list[requests.Session] = []

    def make(retry_dict: dict[int, int], **options: Any) -> requests.Session:
        session = requests.Session()
        defaults = {"sleep": clock.sleep, "clock": clock, "jitter": lambda: 1.0, "request_timeout": 5}
        session.mount("http://", Retryable(retry_dict, **{**defaults, **options}))
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()


def test_status_in_the_table_is_tried_again_so_often(fake: Fake, patient: Any, clock: Clock) -> None:
    fake.on("GET", "/x", Reply(503))
    response = patient({503: 2}).get(fake.url + "/x")
    assert response.status_code == 503
    assert len(fake.seen("/x")) == 3
    assert len(clock.slept) == 2


def test_status_outside_the_table_is_not_tried_again(fake: Fake, patient: Any) -> None:
    fake.on("GET", "/x", Reply(500))
    assert patient({503: 2}).get(fake.url + "/x").status_code == 500
    assert len(fake.seen("/x")) == 1


def test_counts_are_kept_per_status(fake: Fake, patient: Any) -> None:
    fake.on("GET", "/x", Reply(503), Reply(404), Reply(503), Reply(404), Reply(200, body=b"there"))
    response = patient({503: 2, 404: 1}).get(fake.url + "/x")
    assert response.status_code == 404
    assert len(fake.seen("/x")) == 4


def test_success_after_failures_is_returned_with_its_body(fake: Fake, patient: Any) -> None:
    fake.on("GET", "/x", Reply(503), Reply(502), Reply(200, body=b"there"))
    assert patient({503: 1, 502: 1}).get(fake.url + "/x").content == b"there"


def test_waits_grow_from_base_to_cap_per_status(fake: Fake, patient: Any, clock: Clock) -> None:
    fake.on("GET", "/x", Reply(503), Reply(503), Reply(503), Reply(503), Reply(429))
    patient({503: 4, 429: 1}, backoff_dict={503: (2, 10), 429: (7, 7)}).get(fake.url + "/x")
    assert clock.slept == [2, 4, 8, 10, 7]


@pytest.mark.parametrize(("jitter", "waited"), [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)])
def test_jitter_spreads_a_wait_over_its_upper_half(
    fake: Fake, patient: Any, clock: Clock, jitter: float, waited: float
) -> None:
    fake.on("GET", "/x", Reply(503), Reply(200))
    patient({503: 1}, backoff_dict={503: (2, 10)}, jitter=lambda: jitter).get(fake.url + "/x")
    assert clock.slept == [waited]


def test_retry_after_in_seconds_is_the_least_wait(fake: Fake, patient: Any, clock: Clock) -> None:
    fake.on("GET", "/x", Reply(429, headers={"Retry-After": "17"}), Reply(200))
    assert patient({429: 1}).get(fake.url + "/x").status_code == 200
    assert clock.slept == [17]


def test_retry_after_as_a_date_is_measured_against_the_answer_s_own_date(
    fake: Fake, patient: Any, clock: Clock
) -> None:
    later = email.utils.formatdate(time.time() + 23.5, usegmt=True)
    fake.on("GET", "/x", Reply(503, headers={"Retry-After": later}), Reply(200))
    # a clock of ours that is an hour late changes nothing
    patient({503: 1}, wall_clock=lambda: time.time() - 3600).get(fake.url + "/x")
    assert len(clock.slept) == 1
    assert 21 <= clock.slept[0] <= 25


@pytest.mark.parametrize("value", ["soon", "-5", "", "Fri, 99 Foo 2026", "1.5"])
def test_retry_after_that_makes_no_sense_is_ignored(
    fake: Fake, patient: Any, clock: Clock, value: str
) -> None:
    fake.on("GET", "/x", Reply(503, headers={"Retry-After": value}), Reply(200))
    patient({503: 1}, backoff_dict={503: (1, 1)}).get(fake.url + "/x")
    assert clock.slept == [1]


def test_wait_beyond_the_total_time_is_not_begun(fake: Fake, patient: Any, clock: Clock) -> None:
    fake.on("GET", "/x", Reply(503, headers={"Retry-After": "1000000"}))
    assert patient({503: 5}, retry_timeout=600).get(fake.url + "/x").status_code == 503
    assert clock.slept == []
    assert len(fake.seen("/x")) == 1


def test_total_time_ends_retries_before_the_count_does(fake: Fake, patient: Any, clock: Clock) -> None:
    fake.on("GET", "/x", Reply(503))
    patient({503: 100}, retry_timeout=60, backoff_dict={503: (10, 10)}).get(fake.url + "/x")
    assert sum(clock.slept) <= 60
    assert len(fake.seen("/x")) == 6


def test_total_timeout_of_one_request_bounds_its_retries(fake: Fake, patient: Any, clock: Clock) -> None:
    fake.on("GET", "/x", Reply(503))
    session = patient({503: 100}, backoff_dict={503: (2, 2)})
    session.get(fake.url + "/x", timeout=TotalTimeout(7))
    assert clock.slept == [2, 2, 2]


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_connection_lost_before_the_answer_is_tried_again_for_repeatable_requests(
    fake: Fake, patient: Any, method: str
) -> None:
    fake.on(method, "/x", Reply(is_reset=True), Reply(200))
    assert patient({CONNECTION_FAILED: 1}).request(method, fake.url + "/x").status_code == 200


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
def test_connection_lost_after_a_change_was_sent_is_not_tried_again(
    fake: Fake, patient: Any, method: str
) -> None:
    fake.on(method, "/x", Reply(is_reset=True), Reply(200))
    with pytest.raises(requests.ConnectionError):
        patient({CONNECTION_FAILED: 3}).request(method, fake.url + "/x")
    assert len(fake.seen("/x")) == 1


def test_body_that_breaks_off_counts_as_a_lost_connection(fake: Fake, patient: Any) -> None:
    fake.on("GET", "/x", Reply(200, body=b"12345678", cut_after=3), Reply(200, body=b"12345678"))
    assert patient({CONNECTION_FAILED: 1}).get(fake.url + "/x").content == b"12345678"


def test_refused_connection_is_tried_again_for_changes_too(patient: Any, clock: Clock) -> None:
    with pytest.raises(requests.ConnectionError) as raised:
        patient({CONNECTION_FAILED: 2}).post("http://127.0.0.1:1/x", data=b"a")
    assert len(clock.slept) == 2
    assert http.is_nothing_sent(raised.value)


def test_bytes_body_is_sent_again_whole(fake: Fake, patient: Any) -> None:
    fake.on("POST", "/x", Reply(503), Reply(200))
    patient({503: 1}).post(fake.url + "/x", data=b"the body")
    assert [each.body for each in fake.seen("/x")] == [b"the body", b"the body"]


def test_body_from_an_iterator_is_not_sent_a_second_time(fake: Fake, patient: Any) -> None:
    fake.on("PUT", "/x", Reply(503), Reply(200))
    body = iter([b"abc", b"def"])
    response = patient({503: 1}).put(fake.url + "/x", data=body, headers={"Content-Length": "6"})
    assert response.status_code == 503
    assert len(fake.seen("/x")) == 1


def test_request_timeout_is_used_where_none_is_given(fake: Fake, patient: Any) -> None:
    release = threading.Event()
    fake.on("GET", "/x", Reply(200, held_until=release))
    with pytest.raises(requests.Timeout):
        patient({}, request_timeout=0.05).get(fake.url + "/x")
    release.set()


def test_get_session_has_the_documented_parameters_and_one_large_pool() -> None:
    session = get_session({500: 1}, request_timeout=7, retry_timeout=8, backoff_dict={500: (1, 2)})
    adapter = session.get_adapter("https://example.invalid/")
    assert isinstance(adapter, Retryable)
    assert adapter is session.get_adapter("http://example.invalid/")
    assert (adapter.retry_dict, adapter.request_timeout, adapter.retry_timeout) == ({500: 1}, 7, 8)
    assert adapter.backoff_dict == {500: (1, 2)}
    assert (vars(adapter)["_pool_maxsize"], vars(adapter)["_pool_block"]) == (1024, False)
    session.close()


def test_empty_retry_dict_means_never_and_none_means_the_defaults() -> None:
    never, usual = get_session({}), get_session()
    never_adapter, usual_adapter = (s.get_adapter("http://x.invalid") for s in (never, usual))
    assert isinstance(never_adapter, Retryable)
    assert isinstance(usual_adapter, Retryable)
    assert never_adapter.retry_dict == {}
    assert usual_adapter.retry_dict == dict(http.DEFAULT_RETRIES)


def test_user_agent_names_the_project_or_what_was_given(fake: Fake) -> None:
    fake.on("GET", "/x", Reply(200))
    for session in (get_session({}), get_session({}, agent="other/2")):
        with session:
            session.get(fake.url + "/x")
    usual, given = (each.headers["user-agent"] for each in fake.seen("/x"))
    assert usual.startswith("orionfs/")
    assert given == "other/2"


@pytest.mark.expect_log(r"GET /x: 500, headers {'X-Amz-Id-2': 'abc'}")
def test_headers_of_failures_are_logged_on_request(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    fake.on("GET", "/x", Reply(500, headers={"X-Amz-Id-2": "abc", "Set-Cookie": "secret=1"}))
    with get_session({}, log_failed_headers=True) as session:
        session.get(fake.url + "/x")
    assert "'X-Amz-Id-2': 'abc'" in caplog.text
    assert "secret" not in caplog.text


def test_cookies_are_not_kept(fake: Fake) -> None:
    fake.on("GET", "/x", Reply(200, headers={"Set-Cookie": "a=1"}))
    with get_session({}) as session:
        session.get(fake.url + "/x")
        session.get(fake.url + "/x")
    assert all("cookie" not in each.headers for each in fake.seen("/x"))

"""What is measured, and how Prometheus is told."""

from __future__ import annotations

import importlib
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orionfs.daemon import exporter
from orionfs.errors import StartupError
from orionfs.metrics import BUCKETS, Figures, Hits, Queue, Timing, Timings, Traffic

NS = 10**9


def figures() -> Figures:
    operations, traffic = Timings(), Traffic()
    for took_ns in (500, 3_000, 3_000, 2 * NS):
        operations["lookup"].add(took_ns)
    operations["lookup"].errors["ETIMEDOUT"] += 1
    traffic.calls["ls_path"].add(40_000_000)
    traffic.downloaded_bytes, traffic.uploaded_bytes = 10, 20
    queues = {"metadata": Queue(1, 2, 16)}
    return Figures("/mnt/a", "1.0", True, operations, traffic, Hits(3, 4), 5, queues, 6, 7, 8)


def scraped(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Sample name and label values -> value."""
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("took_ns", "end_s"), [(0, 1e-6), (999, 1e-6), (1000, 2e-6), (3_999, 4e-6), (10**9, 2**20 / 1e6)]
)
def test_time_counts_below_the_next_power_of_two(took_ns, end_s) -> None:
    timing = Timing()
    timing.add(took_ns)
    below = dict(timing.below_s())
    assert below[end_s] == 1
    assert below.get(end_s / 2, 0) == 0


def test_time_beyond_all_buckets_counts_in_the_sum_alone() -> None:
    timing = Timing()
    timing.add(10**6 * NS)
    assert timing.below_s()[-1][1] == 0
    assert (timing.count, timing.max_s, len(timing.buckets)) == (1, 1e6, BUCKETS)


def test_figures_for_status_are_plain_numbers() -> None:
    told = figures().as_json()
    assert told["operations"] == {
        "lookup": {
            "count": 4,
            "seconds": 2.000007,
            "max_seconds": 2.0,
            "below": {"1e-06": 1, "4e-06": 3, "2.09715": 4},
            "errors": {"ETIMEDOUT": 1},
        }
    }
    assert told["content_reads"] == {"hits": 3, "misses": 4}
    assert told["queues"] == {"metadata": {"in_flight": 1, "waiting": 2, "places": 16}}


def test_figures_for_prometheus_are_the_same() -> None:
    answer = exporter._answer_to("GET /metrics HTTP/1.1\r\nHost: x", exporter.make_registry(figures)).decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=")
    assert f"Content-Length: {len(body)}" in head
    found = scraped(body)
    assert found["orionfs_operation_seconds_count", ("lookup",)] == 4
    assert found["orionfs_operation_seconds_sum", ("lookup",)] == pytest.approx(2.0000065)
    assert found["orionfs_operation_seconds_bucket", ("4e-06", "lookup")] == 3
    assert found["orionfs_operation_seconds_bucket", ("+Inf", "lookup")] == 4
    assert found["orionfs_operation_errors_total", ("ETIMEDOUT", "lookup")] == 1
    assert found["orionfs_request_max_seconds", ("ls_path",)] == 0.04
    assert found["orionfs_downloaded_bytes_total", ()] == 10
    assert found["orionfs_content_reads_total", ("hit",)] == 3
    assert found["orionfs_calls_waiting", ("metadata",)] == 2
    assert found["orionfs_pending_changes", ()] == 6
    assert found["orionfs_online", ()] == 1
    assert found["orionfs_info", ("/mnt/a", "1.0")] == 1
    assert found["process_open_fds", ()] > 0


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    head = "GET / HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0"
    answer = exporter._answer_to(head, exporter.make_registry(figures)).decode()
    assert "Content-Type: application/openmetrics-text" in answer
    assert answer.endswith("# EOF\n")


@pytest.mark.parametrize("head", ["POST /metrics HTTP/1.1", "GET /etc/passwd HTTP/1.1", "", "\x00\xff"])
def test_nothing_else_is_answered(head) -> None:
    answer = exporter._answer_to(head or " ", exporter.make_registry(figures))
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_head_of_an_answer_alone_has_no_body() -> None:
    answer = exporter._answer_to("HEAD /metrics HTTP/1.1", exporter.make_registry(figures))
    assert answer.endswith(b"\r\n\r\n")


def test_library_that_is_missing_is_named_with_the_command_that_installs_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(StartupError, match=r"pip install 'orionfs\[metrics\]'"):
        exporter.make_registry(figures)
    assert importlib.import_module("orionfs.daemon")  # which needs no such library

"""Spans on their way to a collector: what arrives, and what happens while the collector does not take them."""

import logging
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from empla import otlp, telemetry
from empla.otlp import Exporter
from tests.collector import Collector, collecting, rejecting

PATIENCE = 60.0


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@contextmanager
def exporting(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, *, flush: float = PATIENCE, **fields: object
) -> Iterator[Exporter]:
    """Export the spans of this process for the block, whose end takes up to `flush` seconds."""
    monkeypatch.setattr(otlp, "FLUSH_SECONDS", flush)
    provider = TracerProvider(resource=Resource({"service.name": "tests", "employee": "ada"}), shutdown_on_exit=False)
    exporter = Exporter(telemetry.Collector.model_validate({"endpoint": collector.endpoint, **fields}))
    provider.add_span_processor(exporter)
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("tests"))
    try:
        yield exporter
    finally:
        provider.shutdown()


def until(look: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def make(number: int, name: str = "one") -> None:
    for _ in range(number):
        with telemetry.span(name):
            pass


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "empla.otlp"]


def test_a_span_arrives_with_its_ids_its_parent_and_what_it_says(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    remote = f"00-{'ab' * 16}-{'cd' * 8}-01"
    with exporting(collector, monkeypatch, headers={"x-key": "k e y"}):
        with telemetry.span("above", remote, message_id="m", attempt=2) as above, telemetry.span("below") as below:
            telemetry.annotate(outcome="succeeded")
        until(lambda: len(collector.spans) == 2, "both arrive while the process goes on")
    lower, upper = collector.spans
    assert (upper.trace_id, upper.span_id, upper.parent) == ("ab" * 16, telemetry.span_id(above), "cd" * 8)
    assert (lower.trace_id, lower.span_id, lower.parent) == ("ab" * 16, telemetry.span_id(below), upper.span_id)
    assert (upper.name, upper.attributes) == ("above", {"message_id": "m", "attempt": 2})
    assert (lower.name, lower.attributes) == ("below", {"outcome": "succeeded"})
    assert upper.process == {"service.name": "tests", "employee": "ada"}
    assert {headers["x-key"] for headers in collector.headers} == {"k e y"}
    assert {headers["content-type"] for headers in collector.headers} == {"application/x-protobuf"}


def test_of_an_error_its_type_arrives_and_nothing_that_it_quotes(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        with telemetry.span("fails"):
            raise ValueError("the sender wrote: hunter2")

    with exporting(collector, monkeypatch):
        with pytest.raises(ValueError, match="hunter2"):
            fail()
        with telemetry.span("goes on"):
            telemetry.failed(ValueError("hunter2"))
    assert [(span.failed, span.error) for span in collector.spans] == [(True, "ValueError")] * 2
    assert not any(b"hunter2" in body for body in collector.bodies)


def test_what_a_trace_outlives_belongs_to_no_trace(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    with exporting(collector, monkeypatch), telemetry.span("message"):
        telemetry.leave()
        assert telemetry.traceparent() == ""
        make(1, "renewal")
    assert {span.name: span.parent for span in collector.spans} == {"renewal": "", "message": ""}
    assert len({span.trace_id for span in collector.spans}) == 2


def test_below_a_span_that_nobody_gets_there_is_none(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    with exporting(collector, monkeypatch):
        with telemetry.span("step", f"00-{'ab' * 16}-{'cd' * 8}-00") as ids, telemetry.span("capability"):
            assert telemetry.trace_id(ids) == "ab" * 16
        make(1)
    assert [span.name for span in collector.spans] == ["one"]


def test_many_spans_go_in_batches_and_the_last_ones_at_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with exporting(collector, monkeypatch):
        make(otlp.MAX_BATCH + 1)
    assert len(collector.spans) == otlp.MAX_BATCH + 1
    assert len(collector.requests) == 2
    assert told(caplog) == []


def test_who_ends_a_span_never_waits_and_what_finds_no_room_is_counted(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    collector.free.clear()
    with exporting(collector, monkeypatch):
        make(otlp.MAX_WAITING + 7)
        assert collector.requests == []  # nobody was answered, and here we are
        collector.free.set()
        until(lambda: len(collector.spans) == otlp.MAX_WAITING, "what had room arrives")
    assert told(caplog) == ["7 spans were not exported, 7 in all"]


@pytest.mark.parametrize("status", [503, 429])
def test_a_batch_that_a_busy_collector_refuses_is_sent_again(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(otlp, "BACKOFF_SECONDS", (0.01,) * 3)
    collector.answers = [(status, b"")] * 3
    with exporting(collector, monkeypatch):
        make(2)
        until(lambda: len(collector.spans) == 2, "the fourth try is taken")
    assert len(collector.bodies) == 4
    assert told(caplog) == [
        f"the collector at 127.0.0.1 takes no spans: it answers {status}",
        "the collector takes spans again",
    ]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((401, b""), "it answers 401"),
        ((307, b""), "it answers 307"),
        ((200, b"<html>"), "what it answers is no OTLP: is it a collector?"),
    ],
)
def test_a_batch_that_is_refused_for_good_is_dropped_counted_and_told_once(
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: tuple[int, bytes],
    why: str,
):
    collector.answer = answer
    with exporting(collector, monkeypatch, headers={"authorization": "hunter2"}):
        make(3)
        until(lambda: len(collector.bodies) == 1, "it is asked")
        until(lambda: len(told(caplog)) == 2, "it is told")
        make(2)
    assert len(collector.bodies) == 2
    assert told(caplog) == [
        f"the collector at 127.0.0.1 takes no spans: {why}",
        "3 spans were not exported, 3 in all",
        "2 spans were not exported, 5 in all",
    ]
    assert "hunter2" not in caplog.text


def test_what_a_collector_rejects_of_a_batch_is_counted(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    collector.answer = rejecting(2, "too old")
    with exporting(collector, monkeypatch):
        make(3)
    assert told(caplog) == ["the collector rejects 2 spans: too old", "2 spans were not exported, 2 in all"]


def test_with_nobody_there_a_process_ends_all_the_same(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    collector.endpoint = "http://127.0.0.1:1/v1/traces"
    with exporting(collector, monkeypatch):
        make(4)
        until(lambda: told(caplog), "it is told")
    assert told(caplog)[0].startswith("the collector at 127.0.0.1 takes no spans: ConnectError")
    assert told(caplog)[1:] == ["4 spans were not exported, 4 in all"]


def test_with_a_collector_that_hangs_a_process_ends_all_the_same(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    collector.free.clear()
    with exporting(collector, monkeypatch, flush=0.5):
        make(4)
    assert told(caplog) == ["4 spans were not exported, 4 in all"]


def test_over_https_a_collector_is_believed_only_if_somebody_vouches_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(certificate, key)
    with collecting(secure) as collector:
        with exporting(collector, monkeypatch):
            make(1, "unknown")
            until(lambda: told(caplog), "it is told")
        assert "CERTIFICATE_VERIFY_FAILED" in told(caplog)[0]
        with exporting(collector, monkeypatch, certificate=str(certificate)):
            make(1, "known")
        assert [span.name for span in collector.spans] == ["known"]


FORKING = """
import os, sys
from empla import otlp, telemetry

otlp.FLUSH_SECONDS = 60.0

def child(name):
    with telemetry.started(name, collector=telemetry.Collector(endpoint=sys.argv[1])), telemetry.span(name):
        pass
    os._exit(0)

for name in ("first", "second"):
    if not (pid := os.fork()):
        child(name)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_children_of_a_parent_that_has_imported_it_export_each_for_itself(collector: Collector):
    subprocess.run([sys.executable, "-c", FORKING, collector.endpoint], check=True, timeout=PATIENCE)
    assert [(span.name, span.process["service.name"]) for span in collector.spans] == [("first",) * 2, ("second",) * 2]
    assert len({span.trace_id for span in collector.spans}) == 2


def test_without_a_collector_nothing_of_it_is_imported_and_no_thread_begun():
    program = """
import sys, threading
from empla import telemetry
with telemetry.started("off"), telemetry.span("one") as ids:
    assert int(telemetry.trace_id(ids), 16) and int(telemetry.span_id(ids), 16)
    assert not int(ids[-2:], 16) & 1  # is sampled
assert threading.active_count() == 1
assert not {"empla.otlp", "httpx2", "opentelemetry.proto"} & set(sys.modules)
"""
    # Whatever the environment says: a process is told by its settings.
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE, env=environment)

"""A collector of traces on loopback: takes OTLP over HTTP, keeps the spans, and can be away, busy, slow or choosy."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass(frozen=True)
class Received:
    """A span as it came; ids in hexadecimal, `parent` '' for a root, `error` the description of a failed one."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    attributes: dict[str, Any]
    process: dict[str, Any]
    failed: bool
    error: str


@dataclass
class Collector:
    """What came, and how to answer what comes: with `answers` first, one each, then with `answer`."""

    endpoint: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    answer: tuple[int, bytes] = (200, b"")
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """Of every request, also of those that were refused."""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    """Those that were taken."""
    free: threading.Event = field(default_factory=threading.Event)
    """Not set: it answers nobody."""

    @property
    def spans(self) -> list[Received]:
        return [span for request in list(self.requests) for span in _spans(request)]


def rejecting(spans: int, why: str) -> tuple[int, bytes]:
    """An answer that takes a batch but for so many of its spans."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans, answer.partial_success.error_message = spans, why
    return 200, answer.SerializeToString()


@contextmanager
def collecting(secure: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """A collector for the block, over HTTPS if it is `secure`."""
    collector = Collector()
    collector.free.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.bodies.append(body)
            collector.free.wait()
            status, answer = collector.answers.pop(0) if collector.answers else collector.answer
            if status == 200:
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
            with suppress(ConnectionError):  # whoever sent it has ended
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                if status in (301, 302, 307):
                    self.send_header("Location", collector.endpoint)
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        if secure:
            http.socket = secure.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
        collector.endpoint = f"http{'s' if secure else ''}://127.0.0.1:{http.server_port}/v1/traces"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            collector.free.set()
            http.shutdown()
            thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for group in request.resource_spans:
        process = {pair.key: _plain(pair.value) for pair in group.resource.attributes}
        for span in (span for scope in group.scope_spans for span in scope.spans):
            yield Received(
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                name=span.name,
                attributes={pair.key: _plain(pair.value) for pair in span.attributes},
                process=process,
                failed=span.status.code == span.status.STATUS_CODE_ERROR,
                error=span.status.message,
            )


def _plain(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))

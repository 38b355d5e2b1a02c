"""Logs and traces, the same in every process: one JSON object a line, W3C trace context across process boundaries.

A span has ids, numbers and names, and of an error its type: nothing that anybody wrote, and no secret.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import BaseModel, ConfigDict, Field

_PROPAGATOR = TraceContextTextMapPropagator()
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

_log: ContextVar[TextIO | None] = ContextVar("empla_log", default=None)

tracer = trace.get_tracer("empla")


class Collector(BaseModel):
    """Who takes spans: a URL, headers that may hold a key, and a file with the roots of its certificate."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: str = Field(repr=False)
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    certificate: str | None = None


class JsonFormatter(logging.Formatter):
    """One line of JSON: time, level, logger, message, the ids of the trace, and whatever `extra` held."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record` as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class LogHandler(logging.StreamHandler[TextIO]):
    """Lines for the stream that the record's context has, else for the process's own."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`; under the handler's lock, as always."""
        own = self.stream
        if (other := _log.get()) is not None and not other.closed:
            self.stream = other
        try:
            super().emit(record)
        finally:
            self.stream = own

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as logging names it
        """Drop a line that cannot be written, as where the disk is full: no log could tell of it either."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


@contextmanager
def logging_to(stream: TextIO) -> Iterator[None]:
    """Log to another `stream` what the block logs, with the tasks and threads that it begins."""
    before = _log.set(stream)
    try:
        yield
    finally:
        _log.reset(before)


@contextmanager
def started(
    service: str,
    *,
    level: str = "INFO",
    stream: TextIO = sys.stderr,
    collector: Collector | None = None,
    **resource: str,
) -> Iterator[None]:
    """Log to `stream`, trace, and export to a `collector` if there is one; entered once, by a process's entry point.

    `resource` says more of the process with each of its spans. Leaving the block takes up to two seconds, for the last ones.
    """
    logging.basicConfig(level=level, handlers=[LogHandler(stream)], force=True)
    logging.captureWarnings(True)
    for noisy in ("httpx", "httpx2", "asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    provider = TracerProvider(
        # Spans that nobody gets are ids alone, and tell those below them, in other processes too, to be no more.
        sampler=None if collector else ALWAYS_OFF,
        # Not Resource.create, which looks through all packages that are installed for detectors, at each start.
        resource=Resource({"service.name": service, **resource}),
        shutdown_on_exit=False,
    )
    if collector is not None:
        from empla.otlp import Exporter  # noqa: PLC0415 - it takes as long to import as all else here, and few export

        provider.add_span_processor(Exporter(collector))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def traceparent() -> str:
    """The current trace context as a W3C `traceparent`, or '' outside a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


def remote_context(parent: str) -> Context:
    """The context that a `traceparent` names; an empty or broken one begins a new trace."""
    return _PROPAGATOR.extract({"traceparent": parent})


def trace_id(parent: str) -> str:
    """The 32 hex digits of the trace in a `traceparent`, or ''."""
    parts = parent.split("-")
    return parts[1] if len(parts) == 4 else ""


def span_id(parent: str) -> str:
    """The 16 hex digits of the span in a `traceparent`, or ''."""
    parts = parent.split("-")
    return parts[2] if len(parts) == 4 else ""


@contextmanager
def span(name: str, parent: str = "", **attributes: str | int | float | bool) -> Iterator[str]:
    """Run a block as the span `name`, below the `traceparent` `parent` if given; yields the span's own."""
    context = remote_context(parent) if parent else None
    with tracer.start_as_current_span(
        name, context=context, attributes=attributes, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield traceparent()
        except Exception as error:
            failed(error)
            raise


def annotate(**attributes: str | int | float | bool) -> None:
    """Add to the span that is current."""
    trace.get_current_span().set_attributes(attributes)


def failed(error: Exception) -> None:
    """Mark the span that is current as one that failed of `error`: of its type alone, for a message may quote anything."""
    trace.get_current_span().set_status(Status(StatusCode.ERROR, type(error).__name__))


def leave() -> None:
    """Have what this task does from now on belong to no trace, when it outlives what it was begun for."""
    attach(Context())

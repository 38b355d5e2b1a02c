"""The way of spans to a collector: OTLP over HTTP, in batches, by a thread of its own.

Whoever ends a span never waits: what finds the queue full, or cannot be sent within some tries, is dropped, counted, and
said in the log. A process that forks must not have one; its children each begin their own.
"""

import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from urllib.parse import urlsplit

import httpx2
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from empla.telemetry import Collector

MAX_WAITING, MAX_BATCH = 2048, 512
"""As many as the standard's batching processor: opentelemetry.io/docs/specs/otel/trace/sdk."""
DELAY_SECONDS = 1.0
"""How long a batch is collected, and so what the death of a process loses."""
SEND_SECONDS = 10.0
BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Between the tries of one batch, while others wait in the queue."""
AGAIN = frozenset({429, 502, 503, 504})
"""Answers after which a batch may be sent again: opentelemetry.io/docs/specs/otlp."""
FLUSH_SECONDS = 2.0
"""At the end of a process, which has three before it is killed."""
TELL_SECONDS = 60.0
"""Between two lines of the log about what was dropped."""

log = logging.getLogger(__name__)


class NotTaken(Exception):
    """The collector did not take a batch; `again`: it may take it later."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


class Exporter(SpanProcessor):
    """Sends what ends to a collector; `shutdown` gives the rest two seconds."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._waiting: deque[ReadableSpan] = deque()
        self._changed = threading.Condition()
        self._closed, self._failing = False, False
        self._dropped, self._told, self._told_at = 0, 0, 0.0
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, or count it as dropped."""
        with self._changed:
            if self._closed or len(self._waiting) >= MAX_WAITING:
                self._dropped += 1
                return
            self._waiting.append(span)
            if len(self._waiting) in (1, MAX_BATCH):
                self._changed.notify()

    def shutdown(self) -> None:
        """Send what waits, within two seconds; what is left then is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(FLUSH_SECONDS)
        self._drop(len(self._waiting))
        self._tell(last=True)

    def _run(self) -> None:
        try:
            with self._client() as client:
                while batch := self._next():
                    self._send(client, batch)
                    self._done(batch)
                    self._tell()
        except Exception:
            log.exception("spans are exported no more")
            with self._changed:
                self._closed = True

    def _client(self) -> httpx2.Client:
        # A proxy of the environment would be there for the control plane only.
        secure, roots = self._collector.endpoint.startswith("https:"), self._collector.certificate
        verify = ssl.create_default_context(cafile=roots) if secure else False
        headers = {**self._collector.headers, "content-type": "application/x-protobuf"}
        return httpx2.Client(verify=verify, trust_env=False, timeout=SEND_SECONDS, headers=headers)

    def _next(self) -> list[ReadableSpan]:
        """The next batch, as soon as it is full or old enough; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(lambda: len(self._waiting) >= MAX_BATCH or self._closed, DELAY_SECONDS)
            return list(islice(self._waiting, MAX_BATCH))

    def _done(self, batch: Sequence[ReadableSpan]) -> None:
        with self._changed:
            for _ in batch:
                self._waiting.popleft()

    def _send(self, client: httpx2.Client, batch: Sequence[ReadableSpan]) -> None:
        content = encode_spans(batch).SerializeToString()
        for pause in (*BACKOFF_SECONDS, None):
            try:
                self._took(self._post(client, content))
            except NotTaken as error:
                self._failed(error)
                if error.again and pause is not None and self._paused(pause):
                    continue
                self._drop(len(batch))
            return

    def _post(self, client: httpx2.Client, content: bytes) -> ExportTraceServiceResponse:
        try:
            answer = client.post(self._collector.endpoint, content=content)
        except httpx2.HTTPError as error:
            raise NotTaken(f"{type(error).__name__}: {error}", again=True) from error
        if not answer.is_success:  # nor a redirect: nobody configured where that leads
            raise NotTaken(f"it answers {answer.status_code}", again=answer.status_code in AGAIN)
        try:
            return ExportTraceServiceResponse.FromString(answer.content)
        except DecodeError as error:
            raise NotTaken("what it answers is no OTLP: is it a collector?", again=False) from error

    def _took(self, answer: ExportTraceServiceResponse) -> None:
        if self._failing:
            log.info("the collector takes spans again")
            self._failing = False
        if rejected := answer.partial_success.rejected_spans:
            log.warning("the collector rejects %d spans: %s", rejected, answer.partial_success.error_message[:500])
            self._drop(rejected)

    def _failed(self, error: NotTaken) -> None:
        if not self._failing:
            log.warning("the collector at %s takes no spans: %s", urlsplit(self._collector.endpoint).hostname, error)
            self._failing = True

    def _paused(self, seconds: float) -> bool:
        """Wait; False when it is time to end."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._closed, seconds)

    def _drop(self, spans: int) -> None:
        with self._changed:
            self._dropped += spans

    def _tell(self, *, last: bool = False) -> None:
        with self._changed:
            dropped, news = self._dropped, self._dropped - self._told
            if not news or (not last and time.monotonic() - self._told_at < TELL_SECONDS and self._told):
                return
            self._told, self._told_at = dropped, time.monotonic()
        log.warning("%d spans were not exported, %d in all", news, dropped)

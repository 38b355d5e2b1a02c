"""Users who write to employees and wait for the reply: over gRPC and through signed webhooks, against a running system.

`make load` runs this; by hand: `locust -f loadtests/locustfile.py`, with the EMPLA_* variables that the command line reads.
The system must run on this machine, for replies to webhooks come to loopback.
"""

# ruff: noqa: E402 - gRPC must know of gevent before anything opens a channel

import grpc.experimental.gevent

grpc.experimental.gevent.init_gevent()

import json
import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import gevent.event  # type: ignore[import-untyped]
import gevent.pywsgi  # type: ignore[import-untyped]
from locust import HttpUser, User, constant_throughput, events, task
from locust.env import Environment

from controlplane.cli.client import connected
from controlplane.cli.target import local_target
from empla.v1 import control_pb2
from loadtests.staff import Desk, dismiss, hire
from loadtests.system import System, running_system

EMPLOYEES = int(os.environ.get("EMPLA_LOAD_EMPLOYEES", "5"))
REPLY_SECONDS = 60.0
PER_USER = constant_throughput(1)
"""Messages a second that one user writes, as long as replies come sooner than that."""


class Office:
    """What all users of this process share: the system, its employees, and the callback that replies come to."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.desks: list[Desk] = []
        self._waiting: dict[str, gevent.event.Event] = {}
        self._server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), self._take, log=None)

    def open(self) -> None:
        self._server.start()
        with connected(local_target(self.system.settings)) as stub:
            self.desks = hire(stub, EMPLOYEES, f"http://127.0.0.1:{self._server.server_port}/", capped=False)

    def close(self) -> None:
        self._server.stop()
        with connected(local_target(self.system.settings)) as stub:
            dismiss(stub, self.desks)

    def expect(self, event_id: str) -> gevent.event.Event:
        """Set when the reply to that event comes."""
        self._waiting[event_id] = gevent.event.Event()
        return self._waiting[event_id]

    def _take(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        reply = json.loads(environ["wsgi.input"].read())
        if waiting := self._waiting.pop(reply["event_id"], None):
            waiting.set()
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]


class Wrong(Exception):
    """A message that did not come to its reply."""


OFFICE: list[Office] = []


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _open(**_: Any) -> None:
    system = running_system()
    if system is None:
        raise SystemExit(
            "no system answers: start one with `empla up`, or set EMPLA_HTTP_ADDRESS and EMPLA_GRPC_ADDRESS"
        )
    OFFICE.append(Office(system))
    OFFICE[-1].open()


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _close(**_: Any) -> None:
    OFFICE.pop().close()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _fail_when_idle(environment: Environment, **_: Any) -> None:
    if environment.stats.total.num_requests == 0:
        environment.process_exit_code = 1


class GrpcUser(User):
    """Writes over gRPC and waits for the reply in the same call."""

    wait_time = PER_USER

    def on_start(self) -> None:
        self._connection = connected(local_target(OFFICE[-1].system.settings))
        self._stub = self._connection.__enter__()

    def on_stop(self) -> None:
        self._connection.__exit__(None, None, None)

    @task
    def write(self) -> None:
        desk = random.choice(OFFICE[-1].desks)
        request = control_pb2.SendMessageRequest(employee=desk.employee, text="What files do you have?", wait_ms=60_000)
        with _timed(self.environment, "gRPC", "message → reply"):
            message = self._stub.SendMessage(request, timeout=REPLY_SECONDS + 5)
            if message.state != "answered":
                raise Wrong(f"{message.state} {message.reason}")


class WebhookUser(HttpUser):
    """Writes through a signed webhook and waits for the callback."""

    wait_time = PER_USER
    host = "http://webhook"  # each request names the whole URL

    @task
    def write(self) -> None:
        office, event_id = OFFICE[-1], uuid4().hex
        desk = random.choice(office.desks)
        body, headers = desk.request(event_id, event_id, "What files do you have?")
        reply = office.expect(event_id)
        url = f"http://{office.system.http_address}{desk.receive_path}"
        with _timed(self.environment, "webhook", "message → reply"):
            answer = self.client.post(url, data=body, headers=headers, name="webhook → acknowledged")
            if answer.status_code != 202:
                raise Wrong(f"answered {answer.status_code}")
            if not reply.wait(REPLY_SECONDS):
                raise Wrong(f"no reply within {REPLY_SECONDS:g} s")


class _timed:  # noqa: N801 - reads as a statement
    """Reports a block to locust as one request; its exception is the request's failure and goes no further."""

    def __init__(self, environment: Environment, kind: str, name: str) -> None:
        self._environment, self._kind, self._name = environment, kind, name

    def __enter__(self) -> None:
        self._before = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        self._environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type=self._kind,
            name=self._name,
            response_time=(time.perf_counter() - self._before) * 1000,
            response_length=0,
            exception=error,
        )
        return True

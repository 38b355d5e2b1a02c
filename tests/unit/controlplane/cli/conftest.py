"""A small control plane that speaks the real protocol on loopback, and the command that talks to it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from controlplane.cli import main
from empla.rpc import StatusError, bearer
from empla.v1 import control_pb2, control_pb2_grpc

TOKEN = "a-token-of-this-test"
UNKNOWN = StatusError(grpc.StatusCode.NOT_FOUND, "EMPLOYEE_UNKNOWN", "there is no employee nobody")


@dataclass
class Call:
    method: str
    request: Any
    seconds_left: float | None


@dataclass
class Peer:
    """What the control plane answers, by method, and what it was asked."""

    address: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def refuse(self, method: str, code: grpc.StatusCode, reason: str, message: str, **details: Any) -> None:
        self.answers[method] = StatusError(code, reason, message, **details)

    def answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        """The prepared answer: a value, an error, or a function of the request that returns either."""
        self.calls.append(Call(method, request, context.time_remaining()))
        answer = self.answers.get(method)
        if callable(answer):
            answer = answer(request)
        if bearer(context.invocation_metadata()) != TOKEN:
            answer = StatusError(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN", "the token is not known")
        if isinstance(answer, StatusError):
            context.abort_with_status(answer.to_status())
        return answer

    @property
    def last(self) -> Call:
        return self.calls[-1]


def servicer(peer: Peer) -> control_pb2_grpc.ControlPlaneServicer:
    def unary(method: str) -> Callable[..., Any]:
        return lambda _, request, context: peer.answer(method, request, context)

    def streaming(method: str) -> Callable[..., Any]:
        def respond(_: object, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            ended = threading.Event()
            context.add_callback(ended.set)
            for response in peer.answer(method, request, context):
                if isinstance(response, StatusError):
                    context.abort_with_status(response.to_status())
                if isinstance(response, float):
                    ended.wait(response)
                else:
                    yield response

        return respond

    methods = control_pb2.DESCRIPTOR.services_by_name["ControlPlane"].methods
    served = {m.name: streaming(m.name) if m.server_streaming else unary(m.name) for m in methods}
    servicer: control_pb2_grpc.ControlPlaneServicer = type(
        "Servicer", (control_pb2_grpc.ControlPlaneServicer,), served
    )()
    return servicer


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """A control plane whose address and token the environment of this test names."""
    peer = Peer()
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        control_pb2_grpc.add_ControlPlaneServicer_to_server(servicer(peer), server)
        peer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        monkeypatch.setenv("EMPLA_GRPC_ADDRESS", peer.address)
        (tmp_path / "token").write_text(TOKEN + "\n")
        (tmp_path / "token").chmod(0o600)
        yield peer
        server.stop(grace=None).wait()


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of this test's own, nothing else configured, and nothing listening where the command looks."""
    for name in ("EMPLA_TOKEN", "EMPLA_DATABASE_URL", "EMPLA_MODEL_PROVIDER", "EMPLA_MODEL_NAME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("EMPLA_CONTEXT", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("EMPLA_HOME", str(tmp_path))
    monkeypatch.setenv("EMPLA_GRPC_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("EMPLA_HTTP_ADDRESS", "127.0.0.1:1")


Empla = Callable[..., Result]


@pytest.fixture
def empla() -> Empla:
    """Runs a command line in this process: `empla("send", "sales-ae", "Hello")`."""

    def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin, prog_name="empla")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def make_message(state: str = "answered", **fields: Any) -> control_pb2.Message:
    """A message that went all the way, unless `fields` say otherwise."""
    stages = [
        control_pb2.Stage(stage=stage, duration_ms=position + 0.5)
        for position, stage in enumerate(("receive", "analyze", "work", "merge", "send"))
    ]
    attempts = [
        control_pb2.Attempt(
            stage="analyze", step="classification", attempt=1, outcome="failed", duration_ms=3, error="no JSON",
            error_class="ModelRefused", cost_micros=0,
        ),
        control_pb2.Attempt(
            stage="analyze", step="classification", attempt=2, outcome="succeeded", duration_ms=40, queued_ms=2,
            model="a-model", tokens_in=12, tokens_out=7, cost_micros=4_200,
        ),
    ]  # fmt: skip
    effect = control_pb2.Effect(
        capability="workspace",
        action="read",
        arguments_json='{"path": "notes.md"}',
        state="succeeded",
        result_json="# No",
        places=[control_pb2.Place(place="sidecar 7", waited_ms=40, used_ms=1500, memory_bytes=2 << 30)],
    )
    reply = control_pb2.Reply(kind="reply", text="Three open deals.", state="sent")
    defaults: dict[str, Any] = {
        "message_id": "m-1", "employee": "sales-ae", "channel": "api", "conversation": "c-1", "sender": "tester",
        "text": "How many?", "elapsed_ms": 1234.5, "stages": stages, "attempts": attempts, "effects": [effect],
        "replies": [reply] if state == "answered" else [],
    }  # fmt: skip
    message = control_pb2.Message(state=state, **(defaults | fields))
    message.received_at.GetCurrentTime()
    return message


@pytest.fixture
def message() -> Callable[..., control_pb2.Message]:
    return make_message

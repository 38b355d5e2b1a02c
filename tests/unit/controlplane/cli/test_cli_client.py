"""How the command line reaches a control plane, and what it says when it does not."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


def test_a_missing_token_file_says_how_to_start(empla: Fixture) -> None:
    result = empla("employee", "list")
    assert result.exit_code == 3
    assert "start it with `empla up`" in result.stderr
    assert "EMPLA_HOME" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_nobody_at_the_address_says_how_to_start(empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPLA_TOKEN", "t")
    result = empla("employee", "list")
    assert (result.exit_code, "127.0.0.1:1" in result.stderr, "`empla up`" in result.stderr) == (3, True, True)


def test_another_control_plane_is_named_when_one_is_gone(empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPLA_TOKEN", "t")
    monkeypatch.setenv("EMPLA_GATEWAYS", "127.0.0.1:1, 127.0.0.1:2")
    assert "or ask another one: EMPLA_GRPC_ADDRESS=127.0.0.1:2\n" in empla("employee", "list").stderr


def hang_up(listening: socket.socket) -> None:
    """What a port that wants TLS does with who speaks in clear; until it is shut down."""
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1 << 16)


def test_whoever_listens_and_hangs_up_may_want_tls(empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPLA_TOKEN", "t")
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:
        threads.submit(hang_up, listening)
        address = "{}:{}".format(*listening.getsockname())
        monkeypatch.setenv("EMPLA_GRPC_ADDRESS", address)
        said = empla("employee", "list")
        empla("context", "add", "there", "--address", address, "--token-stdin", stdin="t")
        of_context = empla("--context", "there", "employee", "list")
        listening.shutdown(socket.SHUT_RDWR)
    assert (said.exit_code, of_context.exit_code) == (3, 3)
    assert "ended the connection; EMPLA_TLS_CA has it called by TLS" in said.stderr
    assert "`empla context add there` takes --ca FILE" in of_context.stderr


def test_the_environment_goes_before_the_file(
    peer: Any, empla: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse()
    monkeypatch.setenv("EMPLA_TOKEN", (tmp_path / "token").read_text())
    (tmp_path / "token").write_text("another")
    assert empla("employee", "list").exit_code == 0


@pytest.mark.parametrize("token", ["wrong", "ümlaut", "two\nlines", "   "])
def test_a_wrong_token_is_not_permitted(peer: Any, empla: Fixture, tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    result = empla("employee", "list")
    assert result.exit_code == 5
    assert "token" in result.stderr


def test_every_call_has_a_deadline(peer: Any, empla: Fixture) -> None:
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse()
    empla("employee", "list")
    assert peer.last.seconds_left == pytest.approx(30, abs=10)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (grpc.StatusCode.NOT_FOUND, 4),
        (grpc.StatusCode.PERMISSION_DENIED, 5),
        (grpc.StatusCode.UNAUTHENTICATED, 5),
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.FAILED_PRECONDITION, 1),
        (grpc.StatusCode.UNIMPLEMENTED, 1),
        (grpc.StatusCode.INTERNAL, 1),
    ],
)
def test_each_code_has_its_exit_code(peer: Any, empla: Fixture, code: grpc.StatusCode, exit_code: int) -> None:
    peer.refuse("GetEmployee", code, "A_REASON", "the message\nof two lines")
    result = empla("employee", "show", "nobody")
    assert result.exit_code == exit_code
    assert result.stderr.startswith("empla: the message of two lines")
    assert len(result.stderr.splitlines()) == 1


def test_violations_and_retries_are_told(peer: Any, empla: Fixture) -> None:
    code, fields = grpc.StatusCode.INVALID_ARGUMENT, {"name": "must be lower case"}
    peer.refuse("CreateEmployee", code, "NAME_INVALID", "refused", fields=fields, retry_after=1.5)
    result = empla("employee", "create", "Bad")
    assert (result.exit_code, result.stderr) == (2, "empla: refused; name: must be lower case; try again in 1.5 s\n")


def test_what_the_message_says_already_is_not_said_again(peer: Any, empla: Fixture) -> None:
    fields = {"text": "empty", "sender": "empty"}
    peer.refuse("SendMessage", grpc.StatusCode.INVALID_ARGUMENT, "INVALID", "text: empty; sender: empty", fields=fields)
    assert empla("send", "sales-ae", "x").stderr == "empla: text: empty; sender: empty\n"
    fields = {"cron": "'x' must have five fields"}
    message = "the schedule is impossible: 'x' must have five fields"
    peer.refuse("CreateSchedule", grpc.StatusCode.INVALID_ARGUMENT, "INVALID", message, fields=fields)
    assert empla("schedules", "create", "sales-ae", "w", "x", "--cron", "x").stderr == f"empla: {message}\n"


@pytest.mark.parametrize("command", [("employee", "list"), ("up", "--no-chat"), ("doctor",)])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMPLA_HEARTBEAT_MS", "abc"),
        ("EMPLA_HTTP_ADDRESS", "127.0.0.1:99999"),
        ("EMPLA_HTTP_ADDRESS", "unix:/tmp/x"),
        ("EMPLA_GRPC_ADDRESS", "nonsense"),
        ("EMPLA_LOG_LEVEL", "loud"),
        ("EMPLA_CALLBACK_NETWORKS", "10.0.0.0/8"),
        ("EMPLA_CALLBACK_NETWORKS", '["10.0.0.1/8"]'),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(
    empla: Fixture, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], name: str, value: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    result = empla(*command)
    assert (result.exit_code, result.stdout, "hunter2" in result.stderr) == (2, "", False)
    assert result.stderr.startswith(f"empla: the environment is not valid: {name}: ")
    assert len(result.stderr.splitlines()) == 1


def test_errors_are_json_on_request(peer: Any, empla: Fixture) -> None:
    code, fields = grpc.StatusCode.INVALID_ARGUMENT, {"name": "must be lower case"}
    peer.refuse("CreateEmployee", code, "NAME_INVALID", "refused", fields=fields)
    result = empla("employee", "create", "Bad", "--json")
    error = json.loads(result.stderr)["error"]
    assert result.stdout == ""
    assert (error["reason"], error["fields"], error["exit_code"]) == ("NAME_INVALID", fields, 2)


@pytest.mark.parametrize("arguments", [("send", "--json"), ("send", "a", "b", "--json", "--wait", "soon")])
def test_usage_errors_are_json_on_request(empla: Fixture, arguments: tuple[str, ...]) -> None:
    result = empla(*arguments)
    assert (result.exit_code, json.loads(result.stderr)["error"]["exit_code"]) == (2, 2)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [("HEARTBEAT_MS", "soon", "EMPLA_HEARTBEAT_MS"), ("CALLBACK_NETWORKS", "{", "EMPLA_CALLBACK_NETWORKS")],
)
def test_a_broken_environment_names_the_variable(
    empla: Fixture, monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str
) -> None:
    monkeypatch.setenv(f"EMPLA_{name}", value)
    result = empla("employee", "list")
    assert result.exit_code == 2
    assert field in result.stderr


@pytest.mark.parametrize(
    ("prices", "complaint"),
    [
        ("not json", "must be an object in JSON"),
        ("[]", "EMPLA_MODEL_PRICES: Input should be a valid dictionary"),
        ('{"gpt": {"input": -3}}', "EMPLA_MODEL_PRICES: gpt → input: Input should be greater than or equal to 0"),
        ('{"gpt": {"input": 3}}', "EMPLA_MODEL_PRICES: gpt → output: Field required"),
    ],
)
def test_broken_prices_name_the_place(
    empla: Fixture, monkeypatch: pytest.MonkeyPatch, prices: str, complaint: str
) -> None:
    monkeypatch.setenv("EMPLA_MODEL_PRICES", prices)
    assert complaint in empla("employee", "list").stderr


def test_a_proxy_is_not_asked_for_loopback(peer: Any, empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert empla("employee", "list").exit_code == 0


@pytest.mark.parametrize(
    ("command", "method", "field", "hint"),
    [
        (("message", "show"), "GetMessage", "message_id", "`empla message list`"),
        (("reviews", "approve"), "ResolveReview", "review_id", "`empla reviews list`"),
        (("tokens", "revoke"), "RevokeToken", "token_id", "`empla tokens list`"),
    ],
)
def test_what_is_no_id_is_told_with_where_ids_are(
    peer: Any, empla: Fixture, command: tuple[str, ...], method: str, field: str, hint: str
) -> None:
    peer.refuse(method, grpc.StatusCode.INVALID_ARGUMENT, "INVALID", "'x' is no id", fields={field: "a UUID"})
    result = empla(*command, "x")
    assert (result.exit_code, hint in result.stderr) == (2, True)

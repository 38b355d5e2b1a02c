"""Contexts: which control plane a command means, and where that is kept."""

import json
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.cli.target import chosen_target
from controlplane.settings import Settings
from empla.v1 import control_pb2, control_pb2_grpc
from tests.unit.controlplane.cli.conftest import TOKEN, Peer, servicer

Fixture = Callable[..., Any]


@pytest.fixture
def prod(peer: Any, empla: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The control plane as the context prod of somebody whose own machine has none."""
    monkeypatch.delenv("EMPLA_GRPC_ADDRESS")
    monkeypatch.setenv("EMPLA_HOME", str(tmp_path / "nothing-here"))
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse()
    added = empla("context", "add", "prod", "--address", peer.address, "--token-file", str(tmp_path / "token"))
    assert (added.exit_code, "empla context use prod" in added.stdout) == (0, True)
    return peer


@pytest.fixture
def contexts_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "empla" / "contexts.toml"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--context", "prod", "employee", "list"),
        ("employee", "list", "--context", "prod"),
        ("--context", "other", "employee", "list", "--context", "prod"),
    ],
)
def test_a_command_names_the_context(prod: Any, empla: Fixture, arguments: tuple[str, ...]) -> None:
    assert empla(*arguments).exit_code == 0
    assert prod.last.method == "ListEmployees"


def test_without_a_context_it_is_this_machine(prod: Any, empla: Fixture) -> None:
    result = empla("employee", "list")
    assert (result.exit_code, "nothing-here" in result.stderr, prod.calls) == (3, True, [])


def test_one_is_used_until_the_environment_or_the_command_say_otherwise(
    prod: Any, empla: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert empla("context", "use", "prod").exit_code == 0
    assert empla("employee", "list").exit_code == 0
    assert empla("--context", "local", "employee", "list").exit_code == 3
    monkeypatch.setenv("EMPLA_CONTEXT", "local")
    assert empla("employee", "list").exit_code == 3
    assert "this shell's environment says local" in empla("context", "use", "prod").stdout
    monkeypatch.delenv("EMPLA_CONTEXT")
    monkeypatch.setenv("EMPLA_GRPC_ADDRESS", "127.0.0.1:1")
    assert empla("employee", "list").exit_code == 3
    monkeypatch.setenv("EMPLA_CONTEXT", "prod")
    assert empla("employee", "list").exit_code == 0


def test_errors_say_which_one_is_meant(prod: Any, empla: Fixture, tmp_path: Path) -> None:
    prod.refuse("GetEmployee", grpc.StatusCode.NOT_FOUND, "EMPLOYEE_UNKNOWN", "there is no employee x")
    result = empla("--context", "prod", "employee", "show", "x")
    assert result.stderr == "empla: there is no employee x (context prod); `empla employee list` shows who there is\n"
    (tmp_path / "token").write_text("another")
    result = empla("--context", "prod", "employee", "list")
    assert (result.exit_code, "`empla context show prod`" in result.stderr) == (5, True)
    empla("context", "add", "gone", "--address", "127.0.0.1:1", "--token-stdin", stdin="t")
    result = empla("--context", "gone", "employee", "list")
    assert result.exit_code == 3
    assert result.stderr.startswith("empla: no control plane answers at 127.0.0.1:1 (context gone): ")
    result = empla("--context", "nope", "employee", "list", "--json")
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["reason"], "local, gone, prod" in error["message"]) == (4, "CONTEXT_UNKNOWN", True)


def test_the_file_is_its_owners_only_and_no_token_is_shown(prod: Any, empla: Fixture, contexts_file: Path) -> None:
    contexts_file.chmod(0o644)
    kept = empla("context", "add", "kept", "--address", prod.address, "--token-stdin", "--json", stdin=f"{TOKEN}\n")
    assert stat.S_IMODE(contexts_file.stat().st_mode) == 0o600
    assert (TOKEN in contexts_file.read_text(), TOKEN in kept.stdout) == (True, False)
    assert TOKEN not in empla("context", "show", "kept").stdout + empla("context", "list").stdout
    assert empla("--context", "kept", "employee", "list").exit_code == 0


def test_a_context_without_a_token_takes_that_of_the_environment(
    prod: Any, empla: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    empla("context", "add", "bare", "--address", prod.address)
    result = empla("--context", "bare", "employee", "list")
    assert (result.exit_code, "set EMPLA_TOKEN" in result.stderr) == (5, True)
    monkeypatch.setenv("EMPLA_TOKEN", TOKEN)
    assert empla("--context", "bare", "employee", "list").exit_code == 0


def test_the_token_of_this_machine_is_not_shown_to_another(
    prod: Any, empla: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPLA_TOKEN", "of-this-machine")
    assert empla("--context", "prod", "employee", "list").exit_code == 0


def test_they_are_listed_and_removed(prod: Any, empla: Fixture) -> None:
    empla("context", "use", "prod")
    listed = json.loads(empla("context", "list", "--json").stdout)
    assert [(row["name"], row["current"]) for row in listed] == [("local", False), ("prod", True)]
    assert prod.address in empla("context", "list").stdout
    assert empla("context", "add", "prod", "--address", "127.0.0.1:1").exit_code == 1
    assert json.loads(empla("context", "remove", "prod", "--json").stdout)["current"] == "local"
    assert empla("context", "remove", "prod").exit_code == 4
    assert empla("context", "use", "prod").exit_code == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("local", "--address", "127.0.0.1:1"), "choose another name"),
        (("a b", "--address", "127.0.0.1:1"), "no name"),
        (("x", "--address", "nonsense"), "host:port"),
        (("x", "--address", "127.0.0.1:1", "--ca", "/dev/null"), "no certificate"),
        (("x", "--address", "127.0.0.1:1", "--token-file", "f", "--token-stdin"), "one of"),
        (("x",), "--address"),
    ],
)
def test_what_is_no_context_is_refused(
    empla: Fixture, contexts_file: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = empla("context", "add", *arguments)
    assert (result.exit_code, said in result.stderr, contexts_file.exists()) == (2, True, False)


@pytest.mark.parametrize("content", ["[", "contexts = 3", "[contexts.x]\n", "[contexts.x]\naddress = 1", "current = 1"])
def test_a_broken_file_is_named(empla: Fixture, contexts_file: Path, content: str) -> None:
    contexts_file.parent.mkdir(parents=True)
    contexts_file.write_text(content)
    result = empla("context", "list")
    assert (result.exit_code, str(contexts_file) in result.stderr) == (2, True)


def test_what_is_of_this_machine_takes_no_context(empla: Fixture) -> None:
    result = empla("--context", "prod", "doctor")
    assert (result.exit_code, "takes no --context" in result.stderr) == (2, True)
    assert empla("doctor", "--context", "prod").exit_code == 2


def test_no_token_goes_to_another_machine_in_clear(empla: Fixture, tmp_path: Path) -> None:
    for name, address in (("far", "192.0.2.1:7400"), ("near", "127.0.0.1:7400")):
        empla("context", "add", name, "--address", address, "--token-stdin", stdin="t")
        target = chosen_target(Settings(context=name, xdg_config_home=str(tmp_path / "config")))
        assert (target.context, target.transport.tls) == (name, name == "far")


def certified(directory: Path, name: str) -> tuple[Path, Path]:
    """A key, and a certificate for this machine that vouches for itself."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


def test_a_ca_has_the_control_plane_called_by_tls(empla: Fixture, tmp_path: Path) -> None:
    key, certificate = certified(tmp_path, "ours")
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    peer = Peer(answers={"ListEmployees": control_pb2.ListEmployeesResponse()})
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        control_pb2_grpc.add_ControlPlaneServicer_to_server(servicer(peer), server)
        address = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
        server.start()
        for name, ca in (("tls", certificate), ("wrong", certified(tmp_path, "another")[1])):
            added = empla("context", "add", name, "--address", address, "--ca", str(ca), "--token-stdin", stdin=TOKEN)
            assert added.exit_code == 0
        assert empla("--context", "tls", "employee", "list").exit_code == 0
        refused = empla("--context", "wrong", "employee", "list")
        assert (refused.exit_code, "certificate" in refused.stderr.lower()) == (1, True)
        server.stop(grace=None).wait()

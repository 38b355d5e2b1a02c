"""The command line against a running system: what it prints for programs, and how it ends."""

import json
import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from agent.__main__ import BEHIND
from tests.e2e.system import EMPLOYEE, System


@pytest.fixture
def newcomer(system: System) -> Iterator[str]:
    """Another employee, attached."""
    name = f"temp-{uuid4().hex[:8]}"
    system.json("employee", "create", name)
    system.attached(name)
    yield name
    system.run("employee", "delete", name, "--yes", "--force")


def failure(system: System, *arguments: str, **environment: str) -> tuple[int, Any]:
    """How a command that must fail ends: exit code and reason."""
    ended = system.run(*arguments, "--json", **environment)
    assert ended.returncode != 0, ended
    assert ended.stdout == ""
    return ended.returncode, json.loads(ended.stderr)["error"].get("reason")


def test_an_employee_is_created_started_restarted_and_stopped(system: System):
    name = f"temp-{uuid4().hex[:8]}"
    created = system.json("employee", "create", name, "--no-start")
    assert (created["observed_state"], created["epoch"], created["pid"]) == ("stopped", 0, 0)
    assert failure(system, "employee", "create", name) == (1, "ALREADY_EXISTS")

    system.json("employee", "start", name)
    first = system.attached(name)
    assert {item["name"] for item in system.json("employee", "list")} >= {EMPLOYEE, name}
    restarted = system.json("employee", "restart", name)
    assert (restarted["observed_state"], restarted["epoch"]) == ("attached", first.epoch + 1)
    assert restarted["pid"] != first.pid
    niceness = os.getpriority(os.PRIO_PROCESS, restarted["pid"])
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, 0) + BEHIND)  # what serves everybody comes before it
    shown = system.json("employee", "show", name)
    assert (shown["pid"], shown["restarts"]) == (restarted["pid"], 0)

    stopped = system.json("employee", "stop", name)
    assert (stopped["observed_state"], stopped["pid"]) == ("stopped", 0)
    assert system.json("employee", "delete", name, "--yes") == {"employee": name, "deleted": True}
    assert failure(system, "employee", "show", name) == (4, "EMPLOYEE_UNKNOWN")


def test_employees_share_neither_files_nor_memory(system: System, newcomer: str):
    (system.workspace() / "secret.md").write_text("- Acme: open\n")
    system.send("Remember that the code word is rhubarb.")
    message = system.json("send", newcomer, "What is the code word, and what files do you have?")
    assert message["state"] == "answered"
    assert "rhubarb" not in message["reply"]
    assert "secret.md" not in message["reply"]


def test_an_employee_that_is_deleted_makes_its_name_free_and_its_process_end(system: System, newcomer: str):
    process = system.attached(newcomer).pid
    system.json("employee", "delete", newcomer, "--yes")
    assert process not in system.processes()
    again = system.json("employee", "create", newcomer)
    assert again["epoch"] == 0
    assert system.attached(newcomer).pid != process


def test_the_log_of_an_employee_is_lines_of_json(system: System):
    logged = system.run("employee", "logs", EMPLOYEE, "--lines", "20", "--json")
    assert logged.returncode == 0
    lines = [json.loads(line) for line in logged.stdout.splitlines()]
    assert 1 <= len(lines) <= 20
    assert all({"time", "level", "message"} <= line.keys() for line in lines)


def test_the_same_key_is_the_same_message(system: System):
    key = uuid4().hex
    first = system.json("send", EMPLOYEE, "Hello", "--key", key)
    again = system.json("send", EMPLOYEE, "Hello", "--key", key)
    assert again["message_id"] == first["message_id"]
    assert len(again["replies"]) == 1
    assert failure(system, "send", EMPLOYEE, "Good bye", "--key", key) == (1, "IDEMPOTENCY_KEY_REUSED")


def test_without_json_the_reply_alone_is_printed(system: System):
    ended = system.run("send", EMPLOYEE, "What is 17 * 23?")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "391" in ended.stdout


def test_failures_have_exit_codes_and_reasons(system: System):
    assert failure(system, "send", "nobody", "Hello") == (4, "EMPLOYEE_UNKNOWN")
    assert failure(system, "send", EMPLOYEE, "") == (2, "INVALID")  # the command line's own word
    assert failure(system, "message", "show", "1") == (2, "INVALID")
    assert failure(system, "message", "show", str(uuid4())) == (4, "UNKNOWN")
    assert failure(system, "employee", "list", EMPLA_TOKEN="wrong") == (5, "TOKEN_INVALID")
    assert failure(system, "employee", "list", EMPLA_GRPC_ADDRESS="127.0.0.1:1") == (3, "UNREACHABLE")


def test_the_doctor_finds_a_running_system_healthy(system: System):
    # What this shell would start with is not what runs.
    ended = system.run("doctor", "--json", EMPLA_HTTP_ADDRESS="127.0.0.1:1", OPENAI_API_KEY="k")
    assert ended.returncode == 0
    report = json.loads(ended.stdout)
    assert report["healthy"]
    found = {check["name"]: check for check in report["checks"]}
    assert found["control plane"]["status"] == "ok"
    assert "answers" in found["control plane"]["found"]
    assert {found[name]["status"] for name in ("kernel", "postgresql", "home", "secrets", "http", "database")} == {"ok"}
    assert found["model"]["status"] == "warn"  # the offline rules answer


def test_the_doctor_ends_with_1_and_says_what_to_do_when_something_must_be_done(system: System):
    token = system.home / "token"
    token.chmod(0o644)
    try:
        ended = system.run("doctor", "--json")
    finally:
        token.chmod(0o600)
    assert ended.returncode == 1
    [failed] = [check for check in json.loads(ended.stdout)["checks"] if check["status"] == "fail"]
    assert failed["name"] == "secrets"
    assert "chmod" in failed["advice"]

"""The command group: fast to start, honest about what it lacks."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import controlplane.cli
from controlplane.cli import errors

Fixture = Callable[..., Any]
HEAVY = ("aiohttp", "anthropic", "openai", "asyncpg", "opentelemetry.exporter")


def _modules_after(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_group_imports_no_command() -> None:
    loaded = _modules_after("import controlplane.cli")
    assert not loaded & {"grpc", "pydantic", "google.protobuf", "opentelemetry", *HEAVY}


@pytest.mark.parametrize(
    "command",
    ["send", "chat", "employee", "message", "reviews", "channel", "files", "compute", "egress", "doctor", "context"],
)
def test_commands_stay_light(command: str) -> None:
    assert not _modules_after(f"import controlplane.cli.{command}") & set(HEAVY)


def test_help_names_every_command(empla: Fixture) -> None:
    result = empla("--help")
    assert result.exit_code == 0
    for name in ("up", "doctor", "chat", "send", "employee", "message", "reviews", "channel", "egress", "compute"):
        assert f"\n  {name} " in result.stdout


def test_the_version_is_the_package_s(empla: Fixture) -> None:
    assert empla("--version").stdout.startswith("empla, version 0.")


def test_an_unknown_command_is_a_usage_error(empla: Fixture) -> None:
    result = empla("nonsense")
    assert (result.exit_code, "nonsense" in result.stderr) == (2, True)


def test_a_command_that_this_build_lacks_is_named(empla: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(controlplane.cli._COMMANDS, "absent", "Not there.")
    result = empla("absent")
    assert (result.exit_code, result.stderr) == (1, "empla: this build does not have the command `absent`\n")


def test_every_exit_code_is_documented() -> None:
    text = (Path(controlplane.cli.__file__).parents[2] / "docs" / "cli.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Failure)]
    codes = {kind.exit_code for kind in kinds}
    assert documented == {0, errors.WAITING, errors.STILL_IN_WORK, errors.CLOSED_PIPE} | codes

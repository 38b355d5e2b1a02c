"""Completion, by the shell itself where there is one."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from empla.v1 import control_pb2

Fixture = Callable[..., Any]


@pytest.fixture
def completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empla: Fixture) -> Callable[..., list[str]]:
    """What bash offers for a command line, once the completion is loaded."""
    program = tmp_path / "bin" / "empla"
    program.parent.mkdir()
    code = "import sys; from controlplane.cli import main; sys.argv[0] = 'empla'; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    script = empla("completion", "bash").stdout

    def offered(*words: str) -> list[str]:
        line = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _empla_completion empla; "
        shell = f'{script}\n{line} printf "%s\\n" "${{COMPREPLY[@]}}"'
        ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=True)
        assert ended.stderr == ""
        return ended.stdout.split()

    return offered


def test_bash_completes_commands_options_and_names(peer: Any, empla: Fixture, completed: Fixture) -> None:
    employees = [control_pb2.Employee(name=name) for name in ("sales-ae", "support")]
    peer.answers["ListEmployees"] = control_pb2.ListEmployeesResponse(employees=employees)
    empla("context", "add", "prod", "--address", peer.address, "--token-stdin", stdin="wrong")
    assert completed("empla", "em") == ["employee"]
    assert {"--watch", "--json", "--context"} <= set(completed("empla", "employee", "list", "--"))
    assert completed("empla", "send", "s") == ["sales-ae", "support"]
    assert completed("empla", "employee", "show", "su") == ["support"]
    assert completed("empla", "reviews", "list", "--employee", "sa") == ["sales-ae"]
    assert completed("empla", "--context", "p") == ["prod"]
    # The token of prod is wrong: nobody tells any names.
    assert completed("empla", "--context", "prod", "send", "s") == []
    assert peer.last.seconds_left <= 1


def test_nobody_there_is_nothing_to_offer(completed: Fixture) -> None:
    assert completed("empla", "send", "s") == []


@pytest.mark.parametrize(
    ("shell", "said"), [("bash", "complete -o"), ("zsh", "#compdef empla"), ("fish", "complete --")]
)
def test_each_shell_has_its_script(empla: Fixture, shell: str, said: str) -> None:
    result = empla("completion", shell)
    assert (result.exit_code, said in result.stdout, "_EMPLA_COMPLETE" in result.stdout) == (0, True, True)


def test_another_shell_is_refused(empla: Fixture) -> None:
    assert empla("completion", "tcsh").exit_code == 2

"""Messages that have a command run."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from pydantic import JsonValue

from tests.unit.agent.models.office import ALL_TOOLS, Office


@dataclass
class Terminal(Office):
    """An office whose commands end as they are told to."""

    tools: tuple[str, ...] = (*ALL_TOOLS, "run_command")
    end: str = "exited with code 0 after 0.12 s"

    def _run_command(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        if arguments["command"] == "fail":
            raise LookupError("NO_SIDECAR: nothing was begun, for there is no sidecar for it")
        return {"id": "x", "end": self.end, "exit_code": 0, "stdout": "42\n", "stderr": ""}


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("Run `wc -l a.csv`", {}),
        ("please execute the command `wc -l a.csv`. Thanks!", {}),
        ("Run the shell command: `wc -l a.csv` with 2 GB of memory", {"memory_mb": 2048}),
        ("Run `wc -l a.csv`. It needs at least 512 MB.", {"memory_mb": 512}),
        ("Run `wc -l a.csv` with 1.5 GiB of RAM; it can be run again", {"memory_mb": 1536, "repeatable": True}),
        ("Run ```wc -l a.csv```, it is safe to repeat.", {"repeatable": True}),
    ],
)
async def test_a_command_is_run_with_what_it_needs(message: str, arguments: dict[str, object]):
    reply = await Terminal(files={"a.csv": "x"}).ask(message)
    assert [(call.name, call.arguments) for call in reply.calls] == [
        ("run_command", {"command": "wc -l a.csv", **arguments})
    ]
    assert reply.text == "I ran `wc -l a.csv`, which exited with code 0.\n```\n42\n```"


@pytest.mark.parametrize(
    "message",
    ["Should I run `rm -rf .`?", "Do not run `rm -rf .`", "Write `run this` into a.md", "Run `a` or else delete a.csv"],
)
async def test_what_is_only_talked_about_is_not_run(message: str):
    reply = await Terminal(files={"a.csv": "x"}).ask(message)
    assert "run_command" not in reply.names()


async def test_what_went_wrong_is_said():
    assert "NO_SIDECAR: nothing was begun" in (await Terminal().ask("Run `fail`")).text
    assert "turns the capability compute off" in (await Office().ask("Run `true`")).text
    ended = await Terminal(end="exited with code 0 after 1.00 s; before that it ran out of memory after 0.20 s").ask(
        "Run `true`"
    )
    assert "which exited with code 0; before that it ran out of memory.\n" in ended.text

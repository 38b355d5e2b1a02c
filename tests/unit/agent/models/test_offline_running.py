"""Messages that have a command run."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from pydantic import JsonValue

from agent.models.interface import ChatMessage
from agent.models.offline.classify import classify
from agent.prompts import mark
from tests.unit.agent.models.office import ALL_TOOLS, Office


@dataclass
class Terminal(Office):
    """An office whose commands end as they are told to."""

    tools: tuple[str, ...] = (*ALL_TOOLS, "run_command")
    end: str = "exited with code 0 after 0.12 s"

    stdout: str = "42\n"

    def _run_command(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        if arguments["command"] == "fail":
            raise LookupError("NO_SIDECAR: nothing was begun, for there is no sidecar for it")
        code = 0 if "code 0" in self.end else 1
        return {"id": "x", "end": self.end, "exit_code": code, "stdout": self.stdout, "stderr": ""}


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
    [
        "Should I run `rm -rf .`?",
        "What is the output of `rm -rf .`?",
        "run rm -rf .",
        "Run `a` and `b`",
        "Do not run `rm -rf .`",
        "Write `run this` into a.md",
        "Run `a` or else delete a.csv",
    ],
)
async def test_what_is_only_talked_about_is_not_run(message: str):
    reply = await Terminal(files={"a.csv": "x"}).ask(message)
    assert "run_command" not in reply.names()


async def test_what_went_wrong_is_said():
    assert (await Terminal().ask("Run `fail`")).text.startswith("That did not work: nothing was begun")
    assert "turns the capability compute off" in (await Office().ask("Run `true`")).text
    ended = await Terminal(end="exited with code 0 after 1.00 s; before that it ran out of memory after 0.20 s").ask(
        "Run `true`"
    )
    assert "which exited with code 0; before that it ran out of memory.\n" in ended.text


@pytest.mark.parametrize(
    ("message", "commands", "left"),
    [
        ("Please run `wc -l a.csv` and tell me what it printed", ["wc -l a.csv"], {}),
        ("Run `wc -l a.csv` and save the output to out.txt", ["wc -l a.csv"], {"out.txt": "42\n"}),
        ("Can you run `a; b` in the sandbox and write the result into r.md?", ["a; b"], {"r.md": "42\n"}),
        ("Write the output of `ls` to out.txt", ["ls"], {"out.txt": "42\n"}),
        ("Run `a`. Then run `b`.", ["a", "b"], {}),
        ("Write `print(1)` to a.py and run it", ["python3 a.py"], {"a.py": "print(1)\n"}),
        ("Run the script tools/a.py and show me the result", ["python3 tools/a.py"], {}),
        ("Run:\n```sh\nls\nwc -l a.csv\n```", ["ls\nwc -l a.csv"], {}),
    ],
)
async def test_what_else_is_asked_is_done_as_well(message: str, commands: list[str], left: dict[str, str]):
    office = Terminal(files={"a.csv": "x"})
    reply = await office.ask(message)
    assert [call.arguments["command"] for call in reply.calls if call.name == "run_command"] == commands
    assert office.files == {"a.csv": "x", **left}
    assert "no model key" not in reply.text
    assert len(classify(message).intents) == 1  # several would be worked on side by side


async def test_python_is_run_as_python():
    reply = await Terminal().ask("Run this Python code:\n```python\nfor n in (1, 2):\n    print(n * 7)\n```")
    assert reply.text == "I ran that in Python.\n```\n7\n14\n```"


@pytest.mark.parametrize(
    ("end", "stdout"),
    [("exited with code 1 after 0.12 s", "42\n"), ("exited with code 0 after 0.12 s", "")],
)
async def test_what_is_no_result_is_not_written(end: str, stdout: str):
    office = Terminal(end=end, stdout=stdout)
    earlier = [
        ChatMessage(role="user", text=mark("message", "hi", sender="Ann")),
        ChatMessage(role="assistant", text="Ho"),
    ]
    reply = await office.ask("Run `a` and save the output to out.txt", earlier=earlier)
    assert not office.files
    assert "no output to write down" in reply.text


async def test_a_command_of_before_is_written_as_it_printed():
    office = Terminal()
    first = await office.ask("Run `a`")
    earlier = [ChatMessage(role="user", text=mark("message", "Run `a`", sender="Ann"))]
    await office.ask("Save the output to out.txt", earlier=[*earlier, ChatMessage(role="assistant", text=first.text)])
    assert office.files == {"out.txt": "42\n"}


async def test_a_long_output_is_shown_in_part_and_never_written_in_part():
    office = Terminal(stdout="y\n" * 500)
    first = await office.ask("Run `yes`")
    assert first.text.count("\n") < 70
    assert first.text.endswith("… 440 more lines\n```")
    earlier = [ChatMessage(role="user", text=mark("message", "Run `yes`", sender="Ann"))]
    await office.ask("Save the output to out.txt", earlier=[*earlier, ChatMessage(role="assistant", text=first.text)])
    assert office.files == {}
    await office.ask("Run `yes` and save the output to out.txt")
    assert office.files == {"out.txt": "y\n" * 500}


@pytest.mark.parametrize(
    "message",
    [
        "Compute the first 20 primes with Python",
        "Use Python to print hello",
        "Write a Python script primes.py that prints the first 20 primes and run it",
        "Run a report on sales and save the result to out.txt",
        "Write a haiku about spring to haiku.txt",
        "Write the first 20 primes to primes.txt",
    ],
)
async def test_what_would_have_to_be_thought_of_is_refused_in_the_reply_alone(message: str):
    office = Terminal(files={"notes.md": "- Acme: open, 12k\n"})
    reply = await office.ask(message)
    assert "I have no model key, so I can only" in reply.text
    assert not {"write_file", "append_file", "run_command", "run_python"} & set(reply.names())
    assert "Acme" not in reply.text


async def test_a_program_that_ran_out_of_memory_is_told_to_a_person():
    hint = "; call it again with repeatable=true and memory_mb, of which there is up to 4096"
    end = "ran out of memory and was stopped after 1.00 s (used more than 1073741824 bytes of memory)" + hint
    reply = (await Terminal(end=end, stdout="").ask("Run `a`")).text
    assert "ran out of memory and was stopped (used more than 1 GB of memory)." in reply
    assert reply.endswith("write: run `a` with 4 GB of memory")
    assert "memory_mb" not in reply

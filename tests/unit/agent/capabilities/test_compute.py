"""Commands in the sandbox, as a model asks for them."""

import asyncio
import os
import random
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.capabilities.base import RecordedEffect
from agent.capabilities.compute import ComputeCapability
from agent.capabilities.compute_actions import FOREGROUND_SECONDS
from agent.errors import ActionFailed, ArgumentsInvalid, EffectAmbiguous
from tests.unit.agent.capabilities.conftest import Caller, Effects, fresh_key
from workstation.errors import SandboxUnavailable
from workstation.local.compute import LocalCompute


async def test_a_command_runs_in_the_workspace_and_says_how_it_ended(run: Caller, workspace: Path):
    number = random.randrange(10_000)
    ran = await run("run_command", command=f"echo {number} > made && cat made; echo oops >&2; exit 3")
    assert (ran["stdout"], ran["stderr"], ran["exit_code"]) == (f"{number}\n", "oops\n", 3)
    assert ran["end"].startswith("exited with code 3 after")
    assert (workspace / "made").read_text() == f"{number}\n"
    assert (workspace / "made").stat().st_uid == workspace.stat().st_uid


async def test_a_directory_and_input_can_be_given(run: Caller, workspace: Path):
    (workspace / "below").mkdir()
    os.chown(workspace / "below", workspace.stat().st_uid, workspace.stat().st_gid)
    ran = await run("run_command", command="pwd; cat", cwd="below", stdin="three\nlines\nof it")
    assert ran["stdout"] == "/workspace/below\nthree\nlines\nof it"
    assert (await run("run_command", command="cat", stdin=""))["exit_code"] == 0
    assert (await run("run_command", command="true", stdin="x" * 200_000))["exit_code"] == 0


async def test_long_output_is_cut_and_can_be_read_on(run: Caller):
    ran = await run("run_command", command="seq 1 100000; echo the end")
    assert ran["stdout"].startswith("1\n2\n3\n")
    assert ran["stdout"].endswith("99999\n100000\nthe end\n")
    assert len(ran["stdout"]) < 17_000
    whole = "".join(f"{number}\n" for number in range(1, 100_001)) + "the end\n"
    said = ran["stdout"].split("… ")[1].split(" …")[0]
    offset = int(said.partition("offset=")[2].partition(")")[0])
    assert f"{len(whole) - 8000 - offset} bytes are left out" in said
    assert f'id="{ran["id"]}"' in said
    text = whole[:offset]
    while True:
        more = await run("read_output", id=ran["id"], offset=offset)
        text, offset = text + more["text"], more["next_offset"]
        if not more["more"]:
            break
    assert text == whole
    assert more["end"] == ran["end"]
    assert (await run("read_output", id=ran["id"], offset=-8))["text"] == "the end\n"


async def test_of_very_long_output_the_beginning_and_the_end_are_shown_and_what_is_gone_is_said(run: Caller):
    ran = await run("run_command", command="echo first; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo last")
    assert ran["stdout"].startswith("first\nxxx")
    assert ran["stdout"].endswith("xxx\nlast\n")
    assert f"{20_000_000 + 12 - 16_000} bytes are left out here" in ran["stdout"]
    with pytest.raises(ActionFailed, match=r"OUTPUT_EXPIRED: .* is kept from byte \d+ on"):
        await run("read_output", id=ran["id"], offset=8000)
    assert (await run("read_output", id=ran["id"], offset=-5))["text"] == "last\n"


async def test_output_that_is_not_text_is_shown_as_far_as_it_is(run: Caller):
    ran = await run("run_command", command=r"printf 'a\377b'")
    assert ran["stdout"] == "a�b"


async def test_what_takes_too_long_is_stopped_and_said_so(run: Caller):
    ran = await run("run_command", command="echo begun; sleep 60", timeout=0.5)
    assert ran["stdout"] == "begun\n"
    assert ran["exit_code"] is None
    assert "timed out" in ran["end"]
    with pytest.raises(ArgumentsInvalid, match="timeout"):
        await run("run_command", command="true", timeout=FOREGROUND_SECONDS + 1)


async def test_a_command_in_the_background_is_followed_and_stopped(run: Caller):
    started = await run("start_command", command="echo one; sleep 60; echo never")
    assert started["end"] == "still running"
    read: dict[str, Any] = {}
    while not read.get("text"):
        read = await run("read_output", id=started["id"], wait=0.05)
    assert (read["text"], read["next_offset"], read["end"]) == ("one\n", 4, "still running")
    [listed] = (await run("list_commands"))["commands"]
    assert (listed["id"], listed["stdout_bytes"]) == (started["id"], 4)
    assert listed["command"].startswith("echo one;")
    stopped = await run("stop_command", id=started["id"])
    assert stopped["end"] != "still running"
    again = await run("read_output", id=started["id"], offset=4)
    assert (again["text"], again["more"], again["end"]) == ("", False, stopped["end"])
    assert (await run("stop_command", id=started["id"]))["end"] == stopped["end"]


async def test_waiting_for_a_background_command(run: Caller):
    started = await run("start_command", command="sleep 0.3; echo done")
    read = await run("read_output", id=started["id"], wait=20)
    assert (read["text"], read["exit_code"]) == ("done\n", 0)


async def test_a_call_that_was_cut_short_takes_up_its_program(run: Caller, workspace: Path):
    key = fresh_key()
    call = asyncio.ensure_future(run("run_command", key=key, command="echo once >> log; sleep 1; echo end"))
    while not (workspace / "log").exists():
        await asyncio.sleep(0.02)
    call.cancel()
    await asyncio.wait([call])
    effects = Effects(RecordedEffect("intended"))
    ran = await run("run_command", key=key, effects=effects, command="echo once >> log; sleep 1; echo end")
    assert (ran["stdout"], ran["exit_code"]) == ("end\n", 0)
    assert effects.states == ["succeeded"]
    assert (workspace / "log").read_text() == "once\n"


async def test_a_call_of_an_earlier_process_is_for_a_person(run: Caller, workspace: Path):
    with pytest.raises(EffectAmbiguous):
        await run("run_command", effects=Effects(RecordedEffect("intended")), command="touch made")
    assert not (workspace / "made").exists()


@pytest.mark.parametrize(
    ("action", "arguments", "reason"),
    [
        ("run_command", {"command": "true", "cwd": "missing"}, "NOT_FOUND"),
        ("run_command", {"command": "true", "cwd": "../.."}, "PATH_OUTSIDE_WORKSPACE"),
        ("run_command", {"command": "echo \0"}, "INVALID_ARGUMENT"),
        ("read_output", {"id": "nobody"}, "EXEC_NOT_FOUND"),
        ("stop_command", {"id": "no id!"}, "INVALID_ARGUMENT"),
    ],
)
async def test_what_makes_no_sense_is_a_failure_that_says_why(
    run: Caller, action: str, arguments: dict[str, Any], reason: str
):
    with pytest.raises(ActionFailed, match=reason):
        await run(action, **arguments)


@asynccontextmanager
async def without_sandbox():
    raise SandboxUnavailable("there is no nsjail: apt-get install it")
    yield


async def test_without_a_sandbox_the_call_fails_and_says_what_is_missing(computing: Any, workspace: Path):
    run = await computing(without_sandbox)
    for _ in range(2):
        with pytest.raises(ActionFailed, match="SANDBOX_UNAVAILABLE: there is no nsjail: apt-get"):
            await run("run_command", command="touch made")
    assert not (workspace / "made").exists()
    assert "there is no nsjail" in await run.capability.health()


async def test_a_healthy_sandbox_says_nothing(run: Caller):
    assert isinstance(run.capability, ComputeCapability)
    assert await run.capability.health() == ""
    assert not run.capability._compute.is_open
    await run("run_command", command="true")
    run.capability._checked = None
    assert await run.capability.health() == ""
    assert [listed["command"] for listed in (await run("list_commands"))["commands"]] == ["true"]


async def test_an_employee_that_never_computes_opens_nothing(computing: Any, workspace: Path):
    opened: list[LocalCompute] = []

    def open_compute() -> LocalCompute:
        opened.append(LocalCompute(workspace))
        return opened[-1]

    run = await computing(open_compute)
    assert (await run("list_commands"))["commands"] == []
    await run("restart_python")
    assert opened == []
    await asyncio.gather(*(run("run_command", command="true") for _ in range(3)))
    assert len(opened) == 1


async def test_the_end_of_the_employee_ends_its_programs(computing: Any, workspace: Path):
    run = await computing()
    started = await run("start_command", command="while true; do date > now; sleep 0.05; done")
    while not (workspace / "now").exists():
        await asyncio.sleep(0.02)
    await run.capability.shutdown()
    (workspace / "now").unlink()
    await asyncio.sleep(0.3)
    assert not (workspace / "now").exists()
    await run.capability.initialize()
    with pytest.raises(ActionFailed, match="EXEC_NOT_FOUND"):
        await run("read_output", id=started["id"])

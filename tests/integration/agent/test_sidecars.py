"""Programs of an employee in sidecars of its own: real processes over its workspace, and its own programs beside them."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent.capabilities.base import RecordedEffect
from agent.capabilities.compute import ComputeCapability
from agent.errors import ActionFailed, SidecarUnavailable
from agent.identity import Identity
from agent.local import LocalGateway
from agent.local_sidecars import SidecarProcesses
from agent.placed_compute import PlacedCompute
from agent.placement import Choice, Placement
from agent.sidecars import Sidecars
from empla import telemetry
from empla.v1 import control_pb2, sidecar_pb2
from empla.v1 import gateway_pb2 as pb
from tests.unit.agent.capabilities.conftest import Caller, Effects, fresh_key
from workstation.local.compute import LocalCompute
from workstation.local.files import LocalFileSystem

MB = 1 << 20
HUNGRY = "python3 -c 'x = bytearray(1300 * 2**20); print(len(x) >> 20)'"
"""More than a program may have beside the employee."""


class Placed(Effects):
    """An effect log that keeps where actions worked."""

    def __init__(self, earlier: RecordedEffect | None = None) -> None:
        super().__init__(earlier)
        self.places: list[dict[str, Any]] = []

    async def end(self, *_: Any, state: str, places: Any = (), **__: Any) -> None:
        self.states.append(state)
        self.places += places

    @property
    def names(self) -> list[str]:
        return [place["place"].split()[0] for place in self.places]


@dataclass
class Desk:
    """The Compute capability of one employee, and the processes of its sidecars."""

    workspace: Path
    act: Caller
    processes: SidecarProcesses
    sidecars: Sidecars
    gateway: "Counting"
    placement: Placement = field(default_factory=Placement)

    async def run(self, command: str, **arguments: Any) -> tuple[dict[str, Any], Placed]:
        """Run a command; what came of it, and its record."""
        effects = Placed()
        return await self.act("run_command", command=command, effects=effects, **arguments), effects

    def kill(self) -> None:
        """Every sidecar dies at once."""
        for pid in self.processes.pids.values():
            os.kill(pid, signal.SIGKILL)


class Counting(LocalGateway):
    """A gateway that keeps what it was asked, and can be without room."""

    asked: list[tuple[str, Any]]
    traces: dict[str, str]  # of the latest question of each kind
    most = 3

    async def acquire_sidecar(self, kind: Any, *, memory_bytes: int, idle_ttl: int) -> pb.SidecarLease:
        self.asked.append(("acquire", memory_bytes))
        self.traces["acquire"] = telemetry.trace_id(telemetry.traceparent())
        assert self._sidecars is not None
        if len(self._sidecars.pids) >= self.most:
            raise SidecarUnavailable(f"this employee has {self.most} sidecars already", retry_after=5)
        return await super().acquire_sidecar(kind, memory_bytes=memory_bytes, idle_ttl=idle_ttl)

    async def renew_sidecar(self, sidecar_id: str) -> pb.SidecarLease:
        self.asked.append(("renew", sidecar_id))
        self.traces["renew"] = telemetry.trace_id(telemetry.traceparent())
        return await super().renew_sidecar(sidecar_id)

    async def release_sidecar(self, sidecar_id: str) -> None:
        self.asked.append(("release", sidecar_id))
        await super().release_sidecar(sidecar_id)


@asynccontextmanager
async def opened(workspace: Path, idle_seconds: int = 60) -> AsyncIterator[Desk]:
    identity = Identity(uuid4(), uuid4(), 1)
    async with (
        LocalFileSystem(workspace) as files,
        SidecarProcesses(identity, workspace) as processes,
    ):
        gateway = Counting(pb.EmployeeConfiguration(), sidecars=processes)
        gateway.asked, gateway.traces = [], {}
        async with Sidecars(gateway, idle_seconds=idle_seconds) as sidecars:
            capability = ComputeCapability(
                lambda: PlacedCompute(lambda: LocalCompute(workspace, warm=1), sidecars, lambda: made.placement),
                files,
                lambda memory: made.placement.more_than(memory),  # noqa: PLW0108 - it is not made yet
            )
            made = Desk(workspace, Caller(capability), processes, sidecars, gateway)
            await capability.initialize()
            try:
                yield made
            finally:
                await capability.shutdown()
        assert processes.pids == {}


@pytest.fixture
async def desk(jailable_workspace: Path) -> AsyncIterator[Desk]:
    async with opened(jailable_workspace) as desk:
        yield desk


async def test_what_fits_runs_beside_the_employee_and_what_needs_more_in_a_sidecar(desk: Desk):
    number = random.randrange(10**6)
    ran, effects = await desk.run(f"echo {number} > made; cat made", memory_mb=512)
    assert (ran["stdout"], effects.names, desk.processes.pids) == (f"{number}\n", ["local"], {})
    ran, effects = await desk.run(f"cat made; {HUNGRY}", memory_mb=2000)
    assert (ran["stdout"], ran["exit_code"]) == (f"{number}\n1300\n", 0)
    [place], [sidecar_id] = effects.places, desk.processes.pids
    assert place["place"] == f"sidecar {sidecar_id}"
    assert place["memory_bytes"] == 2000 * MB
    assert place["waited_ms"] > 0
    assert place["used_ms"] > 0
    _, effects = await desk.run("true", memory_mb=1500)
    assert effects.places[0]["place"] == f"sidecar {sidecar_id}"  # there is room in that one
    assert effects.places[0]["waited_ms"] == 0


async def test_a_sidecar_takes_what_fits_into_its_memory(desk: Desk):
    first = await desk.act("start_command", command="sleep 60", memory_mb=1500)
    second = await desk.act("start_command", command="sleep 60", memory_mb=1100)
    assert len(desk.processes.pids) == 2
    await desk.act("stop_command", id=first["id"])
    await desk.run("true", memory_mb=1500)
    assert len(desk.processes.pids) == 2
    await desk.act("stop_command", id=second["id"])


async def test_programs_that_say_nothing_of_their_memory_share_a_sidecar(desk: Desk):
    desk.placement = Placement(compute=Choice.SIDECAR)
    await desk.run("true")
    ran = await asyncio.gather(*(desk.run(f"sleep 0.3; echo {n}") for n in range(5)))
    assert [answer["stdout"] for answer, _ in ran] == [f"{n}\n" for n in range(5)]
    assert len(desk.processes.pids) == 2


async def test_the_trace_says_where_how_long_it_was_waited_for_and_what_it_cost(
    desk: Desk, spans: InMemorySpanExporter
):
    _, effects = await desk.run("true", memory_mb=2048)
    [span] = [span for span in spans.get_finished_spans() if span.name == "capability run_command"]
    [place] = effects.places
    assert span.attributes is not None
    assert span.attributes["places"] == place["place"]
    assert span.attributes["waited_seconds"] == pytest.approx(place["waited_ms"] / 1000, abs=0.001)
    assert span.attributes["gib_seconds"] == pytest.approx(2 * place["used_ms"] / 1000, abs=0.01)


async def test_a_sidecar_is_acquired_in_the_trace_of_who_needs_it_and_held_in_none(jailable_workspace: Path):
    async with opened(jailable_workspace, idle_seconds=3) as desk:
        with telemetry.span("message", f"00-{'ab' * 16}-{'cd' * 8}-01"):
            await desk.run("true", memory_mb=2000)
        async with asyncio.timeout(60):
            while "renew" not in desk.gateway.traces:
                await asyncio.sleep(0.1)
        assert desk.gateway.traces == {"acquire": "ab" * 16, "renew": ""}


async def test_a_profile_forces_either_and_the_answers_are_the_same(desk: Desk):
    (desk.workspace / "table").write_text("a,b\n1,2\n")
    os.chown(desk.workspace / "table", desk.workspace.stat().st_uid, desk.workspace.stat().st_gid)
    answers = []
    for choice in (Choice.LOCAL, Choice.SIDECAR):
        desk.placement = Placement(compute=choice)
        ran, effects = await desk.run("wc -l < table; pwd; id -u; echo oops >&2; exit 3")
        answers.append((ran["stdout"], ran["stderr"], ran["exit_code"], ran["end"].split(" after")[0]))
        assert effects.names == [choice.value]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (Placement(compute=Choice.LOCAL), r"1024 MB .* no sidecars \(\[workstation\] compute = local"),
        (Placement(sidecar_memory=1500 * MB), r"at most 1500 MB \(\[workstation\] sidecar_memory_mb"),
    ],
)
async def test_where_there_is_no_place_for_it_nothing_runs_and_the_profile_is_named(
    desk: Desk, placement: Placement, said: str
):
    desk.placement = placement
    with pytest.raises(ActionFailed, match=said):
        await desk.run("touch made", memory_mb=2000)
    assert not (desk.workspace / "made").exists()
    assert desk.gateway.asked == []


async def test_what_runs_out_of_memory_and_may_be_repeated_is_run_again_with_more(desk: Desk):
    ran, effects = await desk.run(f"echo begun >> log; {HUNGRY}", repeatable=True)
    assert (ran["stdout"], ran["exit_code"]) == ("1300\n", 0)
    assert "before that it ran out of memory" in ran["end"]
    assert effects.names == ["local", "sidecar"]
    assert effects.places[1]["memory_bytes"] == Placement().sidecar_memory
    assert (desk.workspace / "log").read_text() == "begun\n" * 2
    read = await desk.act("read_output", id=ran["id"])
    assert (read["text"], read["exit_code"]) == ("1300\n", 0)


async def test_what_may_not_be_repeated_is_not_and_the_answer_says_how_to_ask_for_more(desk: Desk):
    ran, effects = await desk.run(f"echo begun >> log; {HUNGRY}")
    assert ran["end"].startswith("ran out of memory")
    assert "repeatable=true and memory_mb, of which there is up to 4096" in ran["end"]
    assert (effects.names, (desk.workspace / "log").read_text()) == (["local"], "begun\n")
    desk.placement = Placement(compute=Choice.LOCAL)
    ran, _ = await desk.run(HUNGRY, repeatable=True)
    assert "there is no more for it here" in ran["end"]


async def test_a_command_in_the_background_is_found_where_it_runs(desk: Desk):
    started = await desk.act("start_command", command="echo one; sleep 60; echo never", memory_mb=2000)
    here = await desk.act("start_command", command="sleep 60")
    read: dict[str, Any] = {}
    while not read.get("text"):
        read = await desk.act("read_output", id=started["id"], wait=0.05)
    assert (read["text"], read["next_offset"]) == ("one\n", 4)
    listed = (await desk.act("list_commands"))["commands"]
    assert {row["id"] for row in listed} == {started["id"], here["id"]}
    assert next(row for row in listed if row["id"] == started["id"])["stdout_bytes"] == 4
    for command in (started, here):
        stopped = await desk.act("stop_command", id=command["id"])
        assert stopped["end"] != "still running"
        assert (await desk.act("read_output", id=command["id"]))["end"] == stopped["end"]
    with pytest.raises(ActionFailed, match="EXEC_NOT_FOUND"):
        await desk.act("read_output", id="nobody")


async def test_a_sidecar_that_is_killed_ends_what_ran_in_it_as_lost_and_the_next_gets_another(desk: Desk):
    running = asyncio.ensure_future(desk.run("echo begun | tee -a log; sleep 60", memory_mb=2000))
    await seen(desk.workspace / "log")
    await asyncio.sleep(0.2)
    desk.kill()
    ran, effects = await asyncio.wait_for(running, 15)
    assert ran["end"].startswith("was lost with its sandbox after")
    assert (ran["stdout"], ran["exit_code"], effects.states) == ("begun\n", None, ["succeeded"])
    assert (desk.workspace / "log").read_text() == "begun\n"
    assert [row["end"] for row in (await desk.act("list_commands"))["commands"]] == [ran["end"]]
    with pytest.raises(ActionFailed, match=r"OUTPUT_EXPIRED: .* is gone with its sidecar"):
        await desk.act("read_output", id=ran["id"])
    assert (await desk.act("stop_command", id=ran["id"]))["end"] == ran["end"]
    ran, effects = await desk.run("echo well", memory_mb=2000)
    assert (ran["stdout"], effects.names) == ("well\n", ["sidecar"])


async def test_what_was_lost_is_run_again_only_if_that_does_no_harm(desk: Desk):
    command = "echo begun >> log; while ! test -e go; do sleep 0.05; done; echo done"
    running = asyncio.ensure_future(desk.run(command, memory_mb=2000, repeatable=True))
    await seen(desk.workspace / "log")
    (desk.workspace / "go").write_text("")
    desk.kill()
    ran, effects = await asyncio.wait_for(running, 30)
    assert (ran["stdout"], ran["exit_code"]) == ("done\n", 0)
    assert "before that it was lost with its sandbox" in ran["end"]
    assert effects.names == ["sidecar", "sidecar"]
    assert (desk.workspace / "log").read_text() == "begun\n" * 2


async def test_a_python_session_lives_in_its_sidecar_and_is_told_to_be_lost(desk: Desk):
    desk.placement = Placement(compute=Choice.SIDECAR)
    await desk.act("run_python", code="x = 41")
    assert (await desk.act("run_python", code="x + 1"))["output"] == "42\n"
    running = asyncio.ensure_future(desk.act("run_python", code="open('log', 'w'); import time; time.sleep(60)"))
    await seen(desk.workspace / "log")
    desk.kill()
    lost = await asyncio.wait_for(running, 15)
    assert lost["end"].startswith("was lost with its sandbox")
    assert "the next run starts afresh" in lost["end"]
    assert "NameError" in (await desk.act("run_python", code="x"))["error"]
    assert len([one for one in desk.gateway.asked if one[0] == "acquire"]) == 2


async def test_python_with_more_memory_is_asked_for_by_a_restart(desk: Desk):
    ran = await desk.act("run_python", code="len(bytearray(1300 * 2**20))")
    assert "ran out of memory" in ran["end"]
    assert "restart_python before it and there memory_mb, of which there is up to 4096" in ran["end"]
    await desk.act("restart_python", memory_mb=2000)
    effects = Placed()
    ran = await desk.act("run_python", code="len(bytearray(1300 * 2**20))", effects=effects)
    assert (ran["output"], effects.names) == (f"{1300 * MB}\n", ["sidecar"])


async def test_an_idle_sidecar_is_given_back_and_one_that_works_is_not(jailable_workspace: Path):
    async with opened(jailable_workspace, idle_seconds=5) as desk:
        await desk.run("true", memory_mb=2000)
        [idle] = desk.processes.pids
        working = await desk.act("start_command", command="sleep 12; echo done", memory_mb=4000)
        [busy] = set(desk.processes.pids) - {idle}
        while idle in desk.processes.pids:
            await asyncio.sleep(0.1)
        assert ("release", idle) in desk.gateway.asked
        read = await desk.act("read_output", id=working["id"], wait=30)
        assert (read["text"], read["exit_code"]) == ("done\n", 0)
        assert desk.gateway.asked.count(("renew", busy)) >= 3
        while desk.processes.pids:
            await asyncio.sleep(0.1)


async def test_three_at_work_at_once_share_the_workspace_and_nothing_else(desk: Desk):
    command = "echo {n} > /tmp/mine-{n}; sleep 0.5; ls /tmp; echo {n} > out-{n}"
    ran = await asyncio.gather(*(desk.run(command.format(n=n), memory_mb=4096) for n in range(3)))
    assert len({effects.places[0]["place"] for _, effects in ran}) == 3
    for n, (answer, _) in enumerate(ran):
        assert answer["stdout"] == f"mine-{n}\n"
        assert (desk.workspace / f"out-{n}").read_text() == f"{n}\n"


async def test_past_the_limits_the_answer_says_so_and_other_work_goes_on(desk: Desk):
    blocking = [asyncio.ensure_future(desk.run("sleep 60", memory_mb=4096)) for _ in range(3)]
    while len(desk.processes.pids) < 3:
        await asyncio.sleep(0.05)
    with pytest.raises(SidecarUnavailable, match=r"nothing was begun.* 3 sidecars already; try again in 5 s"):
        await desk.run("true", memory_mb=4096)
    assert (await desk.run("echo well"))[0]["stdout"] == "well\n"
    for one in blocking:
        one.cancel()
    await asyncio.wait(blocking)


async def test_an_idle_sidecar_makes_room_for_a_larger_one(desk: Desk):
    desk.gateway.most = 1
    _, small = await desk.run("true", memory_mb=1500)
    ran, large = await desk.run("echo well", memory_mb=3000)
    assert ran["stdout"] == "well\n"
    assert small.places[0]["place"] != large.places[0]["place"]
    assert len(desk.processes.pids) == 1


async def test_a_call_that_was_cut_short_takes_up_its_program_in_the_sidecar(desk: Desk):
    key, command = fresh_key(), "echo once >> log; sleep 1; echo end"
    call = asyncio.ensure_future(desk.act("run_command", key=key, command=command, memory_mb=2000))
    await seen(desk.workspace / "log")
    call.cancel()
    await asyncio.wait([call])
    effects = Placed(RecordedEffect("intended"))
    ran = await desk.act("run_command", key=key, effects=effects, command=command, memory_mb=2000)
    assert (ran["stdout"], effects.states) == ("end\n", ["succeeded"])
    assert (desk.workspace / "log").read_text() == "once\n"


async def test_a_sidecar_is_told_what_it_may_reach_when_it_is_got_and_when_that_changes(desk: Desk):
    """Refused by its proxy, or allowed and not found."""
    fetch = "python3 -c 'import urllib.request as r; r.urlopen(\"http://nowhere.invalid/\")' 2>&1 | tail -n 1"
    desk.placement = Placement(compute=Choice.SIDECAR)
    refused = (await desk.run(fetch))[0]["stdout"]
    assert "403" in refused
    rule = control_pb2.EgressRule(domain="nowhere.invalid")
    desk.sidecars.configure(sidecar_pb2.SidecarConfiguration(egress=[rule]))
    allowed = refused
    while "403" in allowed:
        allowed = (await desk.run(fetch))[0]["stdout"]
    assert "502" in allowed
    assert len(desk.processes.pids) == 1


async def seen(path: Path) -> None:
    async with asyncio.timeout(20):
        while not path.exists():
            await asyncio.sleep(0.02)

"""Sub-agents: side by side, within their limits, and over deaths of the process with nothing done twice."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent.capabilities.base import EffectKey
from agent.capabilities.browser import BrowserCapability
from agent.capabilities.policy import Risk, Risky
from agent.capabilities.workspace import WorkspaceCapability
from agent.errors import ApprovalNeeded
from agent.models.interface import ModelRefused, ModelRequest, ModelResponse, ModelUnavailable, ToolCall, Usage
from agent.models.offline import OfflineModel
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pipeline import retrying
from agent.pipeline.background import INTERACTIVE_SECONDS
from agent.pipeline.subagents import AT_ONCE, MAX_OF_A_WORKER
from agent.prompts import blocks
from controlplane.messages import Messages
from empla import notices
from empla.prices import Price
from empla.store.connect import connect
from empla.store.ids import new_id
from empla.store.roles import employee_dsn
from tests.integration.agent.conftest import Office
from tests.integration.agent.deciding import Desk, Script, call, result_in
from tests.integration.agent.test_background import Clock
from tests.integration.agent.test_pipeline import answered
from tests.integration.agent.test_stopping import came_to, cancel, running

TEXT = "find out about both"
MAKES_A_SCHEDULE = ModelResponse(
    calls=(
        ToolCall(
            call_id="1",
            name="create_schedule",
            arguments={"name": "list", "instruction": "Send the list.", "cron": "0 9 * * *"},
        ),
    ),
    model="scripted",
    stop_reason="calls",
)


def task_of(request: ModelRequest) -> str:
    """What a sub-agent was told; '' for anybody else."""
    told = blocks(request.messages[0].text)
    return told[0].text if told and told[0].attributes.get("sender") == "yourself" else ""


def delegating(*tasks: str | dict[str, Any], then: Script | None = None) -> Script:
    """A worker that delegates first, and then answers with what it was told, or goes on by a script of its own."""

    def script(request: ModelRequest) -> Step:
        if not result_in(request):
            wanted = [{"instruction": task} if isinstance(task, str) else task for task in tasks]
            return call("delegate", tasks=wanted)
        return then(request) if then else result_in(request)

    return script


class Team(ScriptedModel):
    """A worker by its script, and sub-agents each by that of its task; `asked` counts the calls by task.

    With `together`, no task is answered before so many have been asked for. What is in `held` stands still until `released`.
    """

    def __init__(
        self,
        worker: Script,
        tasks: Mapping[str, Script],
        *,
        together: int = 0,
        stands: Callable[[str, ModelRequest], bool] = lambda *_: False,
    ) -> None:
        super().__init__(self._step)
        self._worker, self._tasks, self._stands = worker, tasks, stands
        self._barrier = asyncio.Barrier(together) if together else None
        self.asked: Counter[str] = Counter()
        self.held, self.released = asyncio.Event(), asyncio.Event()

    async def generate(self, request: ModelRequest, *arguments: Any) -> ModelResponse:
        task = task_of(request)
        self.asked[task] += request.output is None
        if task and self._barrier is not None and self.asked[task] == 1:
            async with asyncio.timeout(20):
                await self._barrier.wait()
        if self._stands(task, request):
            self.held.set()
            await self.released.wait()
        return await super().generate(request, *arguments)

    def _step(self, request: ModelRequest) -> Step:
        if request.output is not None:
            return echo(request)
        task = task_of(request)
        return self._tasks[task](request) if task else self._worker(request)


def saying(text: str) -> Script:
    return lambda _: text


def noting(line: str) -> Script:
    """A sub-agent that appends a line to a file, and then says so."""

    def script(request: ModelRequest) -> Step:
        return f"noted {line}" if result_in(request) else call("append_file", path="notes.txt", content=f"{line}\n")

    return script


def results(reply: str) -> tuple[list[dict[str, Any]], list[str]]:
    """How the tasks ended, and the answers, of the reply of a worker that repeats what it was told."""
    first, _, _ = reply.partition("\n")
    return json.loads(first)["tasks"], [block.text for block in blocks(reply)]


async def rows(office: Office) -> list[Any]:
    return await office.pool.fetch("SELECT * FROM sub_agents ORDER BY response_index, call_index, task_index")


@pytest.fixture
def office(office: Office) -> Office:
    office.record = replace(office.record, autonomy="autonomous")
    office.record.profile.capabilities[:] = ["workspace", "memory", "schedules", "agents"]
    return office


@pytest.fixture
def desk(office: Office) -> Desk:
    return Desk(office)


@pytest.fixture
def clock(office: Office) -> Clock:
    office.clock = clock = Clock()
    return clock


async def reply_to(office: Office, model: ScriptedModel, **fields: Any) -> str:
    async with office.employee(model, **fields) as gateway:
        message_id, state = await answered(office, gateway, TEXT)
    assert state == "sending"
    [reply] = await office.replies(message_id)
    return reply


async def test_they_work_side_by_side_and_their_results_come_in_order(office: Office):
    names = [f"task {number}" for number in range(AT_ONCE)]
    model = Team(delegating(*names), {name: saying(f"done with {name}") for name in names}, together=AT_ONCE)
    ends, answers = results(await reply_to(office, model))
    assert [end["outcome"] for end in ends] == ["answered"] * AT_ONCE
    assert answers == [f"done with {name}" for name in names]


async def test_only_so_many_work_at_a_time(office: Office):
    names = [f"task {number}" for number in range(AT_ONCE + 1)]
    working: set[str] = set()
    full = asyncio.Event()

    class Counting(Team):
        most = 0

        async def generate(self, request: ModelRequest, *arguments: Any) -> ModelResponse:
            if task := task_of(request):
                working.add(task)
                self.most = max(self.most, len(working))
                if len(working) == AT_ONCE:
                    full.set()
                await full.wait()
                working.remove(task)
            return await super().generate(request, *arguments)

    model = Counting(delegating(*names), {name: saying("done") for name in names})
    ends, _ = results(await reply_to(office, model))
    assert (len(ends), model.most) == (AT_ONCE + 1, AT_ONCE)


async def test_each_knows_its_task_alone_and_has_no_tools_of_the_worker(office: Office):
    model = Team(delegating("one", {"instruction": "two", "capabilities": ["memory"]}), dict.fromkeys(
        ("one", "two"), saying("done")
    ))  # fmt: skip
    await reply_to(office, model)
    [one, two] = sorted((r for r in model.requests if task_of(r)), key=task_of)
    assert [len(one.messages), len(two.messages)] == [1, 1]
    assert TEXT not in one.messages[0].text
    assert one.system.startswith("You are sales-ae")
    assert "nobody can\nanswer questions" in one.system
    tools = {tool.name for tool in one.tools}
    assert {"read_file", "remember"} <= tools
    assert not tools & {"delegate", "ask_sender", "work_in_background"}
    assert {tool.name for tool in two.tools} == {"remember", "recall", "note_down", "clear_notes", "forget"}


@pytest.mark.parametrize(
    ("action", "why"),
    [("append_file", "which this task may not use"), ("delegate", "which this task may not use")],
)
async def test_what_a_task_may_not_use_is_refused_though_its_model_asks_for_it(office: Office, action: str, why: str):
    arguments: dict[str, dict[str, Any]] = {
        "append_file": {"path": "a.txt", "content": "x"},
        "delegate": {"tasks": [{"instruction": "deeper"}]},
    }

    def script(request: ModelRequest) -> Step:
        return result_in(request) or call(action, **arguments[action])

    model = Team(delegating({"instruction": "one", "capabilities": ["memory"]}), {"one": script})
    _, [answer] = results(await reply_to(office, model))
    assert why in answer
    assert not (office.workspace / "a.txt").exists()
    assert len(await rows(office)) == 1


@pytest.mark.parametrize("wanted", ["browser", "agents", "magic"])
async def test_nothing_begins_where_a_task_is_to_use_more_than_its_worker_may(office: Office, wanted: str):
    model = Team(delegating("one", {"instruction": "two", "capabilities": [wanted]}), {})
    reply = await reply_to(office, model)
    assert reply.startswith(f"NOT_YOURS: nothing was begun: task 2 wants '{wanted}'")
    assert await rows(office) == []


async def test_one_that_fails_is_told_beside_one_that_ends_well(office: Office):
    model = Team(
        delegating("bad", "good"), {"bad": lambda _: ModelRefused("not accepted"), "good": noting("good")}, together=2
    )
    [bad, good], answers = results(await reply_to(office, model))
    assert (bad["outcome"], good["outcome"]) == ("failed", "answered")
    assert bad["reason"].startswith("ModelRefused: not accepted")
    assert answers == ["noted good"]


async def test_a_model_that_is_overloaded_is_asked_again(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retrying, "BACKOFF_SECONDS", 0.0)
    overloaded: Iterator[Step] = iter([ModelUnavailable("overloaded"), ModelUnavailable("overloaded"), "at last"])
    model = Team(
        delegating("one", "two"), {"one": lambda _: next(overloaded), "two": lambda _: ModelUnavailable("down")}
    )
    [one, two], answers = results(await reply_to(office, model))
    assert (one["outcome"], two["outcome"], answers) == ("answered", "failed", ["at last"])
    assert model.asked == {"": 2, "one": 3, "two": 4}


async def test_at_the_end_of_its_calls_it_says_what_it_has(office: Office):
    def script(request: ModelRequest) -> Step:
        if "last response" in request.messages[-1].text:
            return "two of three"
        return call("append_file", path="notes.txt", content=f"{len(request.messages)}\n")

    model = Team(delegating({"instruction": "much", "model_calls": 3}), {"much": script})
    [end], answers = results(await reply_to(office, model))
    assert (end["outcome"], end["model_calls"], end["actions"]) == ("out_of_budget", 3, 2)
    assert "3 of 3 model calls" in end["reason"]
    assert end["reason"].endswith("until then it had done: append_file ×2")
    assert answers == ["two of three"]


async def test_calls_beyond_its_budget_are_not_made_and_what_it_said_is_kept(office: Office):
    def script(request: ModelRequest) -> Step:
        noted = len(request.messages)
        response = call("append_file", path="notes.txt", content=f"{noted}\n")
        return response.model_copy(update={"text": f"so far {noted}", "usage": Usage(input=400, output=100)})

    model = Team(delegating({"instruction": "much", "tokens": 1200}), {"much": script})
    [end], answers = results(await reply_to(office, model, model_prices={"scripted": Price(input=1, output=1)}))
    assert (end["outcome"], end["model_calls"], end["actions"], end["tokens"]) == ("out_of_budget", 2, 1, 1000)
    assert answers == ["so far 4"]
    assert (office.workspace / "notes.txt").read_text() == "1\n"


async def test_when_its_time_is_over_it_stops_between_two_responses(office: Office, clock: Clock):
    def script(request: ModelRequest) -> Step:
        clock.now += 40
        note = call("append_file", path="notes.txt", content=f"{len(request.messages)}\n")
        return note.model_copy(update={"text": f"note {len(request.messages)}"})

    model = Team(delegating({"instruction": "slow", "seconds": 60}), {"slow": script})
    [end], answers = results(await reply_to(office, model))
    assert (end["outcome"], end["model_calls"], end["actions"]) == ("out_of_time", 2, 2)
    assert end["reason"] == "its 60 s were over; until then it had done: append_file ×2"
    assert answers == ["note 1\n\nnote 3"]


async def killed_at(office: Office, model: Team) -> UUID:
    """A launch that dies while the model stands still."""
    async with asyncio.TaskGroup() as life:
        gateway, process = await office.begin(life, model)
        message_id = await office.store(TEXT)
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        process.cancel()
    return message_id


async def test_after_a_death_each_goes_on_where_it_was_and_nothing_is_done_twice(office: Office):
    tasks = {name: noting(name) for name in ("one", "two")} | {"three": saying("three")}

    def in_the_middle(task: str, request: ModelRequest) -> bool:
        return bool(result_in(request)) and task in ("one", "two")

    first = Team(delegating(*tasks), tasks, stands=in_the_middle)

    class Late(Team):
        """The others are over before two comes to stand."""

        async def generate(self, request: ModelRequest, *arguments: Any) -> ModelResponse:
            if task_of(request) == "two" and result_in(request):
                while not (await _over(office, "one") and await _over(office, "three")):
                    await asyncio.sleep(0.02)
            return await super().generate(request, *arguments)

    first = Late(delegating(*tasks), tasks, stands=lambda task, r: task == "two" and in_the_middle(task, r))
    message_id = await killed_at(office, first)
    before = {row["instruction"]: row["outcome"] for row in await rows(office)}
    assert before == {"one": "answered", "two": None, "three": "answered"}
    second = Team(delegating(*tasks), tasks)
    async with office.employee(second) as gateway:
        await asyncio.wait_for(gateway.handed_over(message_id), 20)
    [reply] = await office.replies(message_id)
    assert results(reply)[1] == ["noted one", "noted two", "three"]
    assert sorted((office.workspace / "notes.txt").read_text().split()) == ["one", "two"]
    assert second.asked == {"two": 1, "": 1}
    assert [row["responses"] for row in await rows(office)] == [2, 2, 1]


async def _over(office: Office, instruction: str) -> bool:
    return any(row["instruction"] == instruction and row["outcome"] for row in await rows(office))


async def test_an_action_that_a_death_cut_short_is_for_a_person(office: Office, desk: Desk):
    tasks = {"one": noting("one"), "two": noting("two")}
    message_id = await killed_at(
        office, Team(delegating(*tasks), tasks, stands=lambda task, r: task == "two" and bool(result_in(r)))
    )
    await office.pool.execute(
        "UPDATE effects e SET state = 'intended', result = NULL, finished_at = NULL FROM sub_agents s "
        "WHERE s.sub_agent_id = e.unit_id AND s.instruction = 'two'"
    )
    async with office.employee(Team(delegating(*tasks), tasks)) as gateway:
        await asyncio.wait_for(gateway.handed_over(message_id), 20)
        review = await desk.decide("needs_manual_intervention", "approve", gateway)
        await desk.taken()
        await desk.told_more(message_id, 2)
    assert "append_file was begun before and never ended" in review["reason"]
    assert [row["outcome"] for row in await rows(office)] == ["answered", "answered"]
    assert (office.workspace / "notes.txt").read_text().count("two") == 2  # as a person wanted


async def test_they_are_stopped_with_the_message(office: Office, desk: Desk):
    tasks = {"one": noting("one"), "two": noting("two")}
    model = Team(delegating(*tasks), tasks, stands=lambda task, request: task == "two" and bool(result_in(request)))
    async with office.employee(model) as gateway:
        message_id = await office.store(TEXT)
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        while not await _over(office, "one"):
            await asyncio.sleep(0.02)
        await cancel(office, message_id, gateway)
        await came_to(office, message_id, "withheld")
    assert [(row["outcome"], row["reason"]) for row in await rows(office)] == [
        ("answered", ""),
        ("cancelled", "boss: too dear"),
    ]
    states = await office.pool.fetch("SELECT action, state FROM effects ORDER BY action, state")
    assert [tuple(row) for row in states] == [
        ("append_file", "succeeded"),
        ("append_file", "succeeded"),
        ("delegate", "failed"),
    ]
    assert await desk.told(message_id) == []


async def test_nothing_more_begins_once_somebody_wants_it_stopped(office: Office):
    """The row says so, and no frame: what a sub-agent wants to do next is refused with its worker."""
    tasks = {"one": noting("one")}
    model = Team(delegating(*tasks), tasks, stands=lambda task, _: task == "one")
    async with office.employee(model) as gateway:
        message_id = await office.store(TEXT)
        await office.deliver_all(gateway)
        await asyncio.wait_for(model.held.wait(), 20)
        await cancel(office, message_id)
        model.released.set()
        await came_to(office, message_id, "withheld")
    assert not (office.workspace / "notes.txt").exists()
    assert [row["outcome"] for row in await rows(office)] == ["cancelled"]


async def test_a_program_of_one_is_ended_with_the_message(office: Office, jailable_workspace: Path):
    office.workspace = jailable_workspace
    office.record.profile.capabilities.append("compute")
    program = f"sleep 300.{random.randrange(10**9):09}"
    model = Team(delegating("one"), {"one": lambda _: call("run_command", command=f"{program}; true")})
    async with office.employee(model) as gateway:
        message_id = await office.store(TEXT)
        await office.deliver_all(gateway)
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(running, program):
                await asyncio.sleep(0.02)
        await cancel(office, message_id, gateway)
        await came_to(office, message_id, "withheld")
        assert not await asyncio.to_thread(running, program)
    states = await office.pool.fetch("SELECT action, state FROM effects ORDER BY action")
    assert [tuple(row) for row in states] == [("delegate", "failed"), ("run_command", "ambiguous")]


def long(name: str, clock: Clock, action: str = "append_file") -> Script:
    """A sub-agent that writes to its file four times, in as much time as somebody waits for a reply."""

    def script(request: ModelRequest) -> Step:
        clock.now += INTERACTIVE_SECONDS / 4
        done = sum(len(turn.results) for turn in request.messages)
        return f"{name} done" if done == 4 else call(action, path=f"{name}.txt", content=f"{done}\n")

    return script


async def test_when_it_takes_long_they_go_on_in_the_background(office: Office, desk: Desk, clock: Clock):
    tasks = {"one": long("one", clock), "two": long("two", clock)}
    model = Team(delegating(*tasks), tasks)
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        told = await desk.told_more(message_id, 2)
    assert (told[0][0], told[0][2]) == ("reply", notices.TAKES_LONGER)
    planned = "SELECT output FROM step_attempts WHERE step = 'action_planning'"
    assert (await office.pool.fetchval(planned))["responses"] == 0  # it stopped while they worked
    assert results(told[1][2])[1] == ["one done", "two done"]
    for name in tasks:
        assert (office.workspace / f"{name}.txt").read_text() == "0\n1\n2\n3\n"
        assert model.asked[name] == 5


@pytest.fixture
def risky(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """To append to a file is risky, and a person is asked."""
    office.record.profile.policy["submit"] = "ask"

    async def risks(_: Any, action: str, *__: Any) -> tuple[Risky, ...]:
        return (Risky(Risk.SUBMIT, "write it down"),) if action == "append_file" else ()

    monkeypatch.setattr(WorkspaceCapability, "risks", risks)


async def until_decided(
    office: Office, desk: Desk, model: Team, *decisions: str
) -> tuple[list[Any], list[dict[str, Any]], list[str]]:
    """The approvals that were asked for one after the other, and what came of the tasks."""
    reviews = []
    async with office.employee(model) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
        for decision in decisions:
            reviews.append(await desk.decide("approval", decision, gateway))
            await desk.taken()
        told = await desk.told_more(message_id, 1 + len(decisions))
    ends, answers = results(told[-1][2])
    return reviews, ends, answers


@pytest.mark.usefixtures("risky")
async def test_an_approval_is_waited_for_by_the_worker_while_the_others_come_to_their_ends(office: Office, desk: Desk):
    tasks = {"one": noting("one"), "two": saying("two")}
    model = Team(delegating(*tasks), tasks)
    [review], ends, answers = await until_decided(office, desk, model, "approve")
    assert review["payload"]["call"]["name"] == "append_file"
    assert review["payload"]["sub_agent"]["number"] == 1
    assert review["payload"]["sub_agent"]["instruction"] == "one"
    assert [end["outcome"] for end in ends] == ["answered", "answered"]
    assert answers == ["noted one", "two"]
    assert (office.workspace / "notes.txt").read_text() == "one\n"
    assert model.asked == {"": 2, "one": 2, "two": 1}


@pytest.mark.usefixtures("risky")
async def test_nobody_is_asked_while_another_may_go_on_in_the_background(office: Office, desk: Desk, clock: Clock):
    def careful(request: ModelRequest) -> Step:
        return result_in(request) or call("append_file", path="notes.txt", content="one\n")

    tasks = {"one": careful, "two": long("two", clock, "write_file")}
    async with office.employee(Team(delegating(*tasks), tasks)) as gateway:
        await answered(office, gateway, TEXT)
        await desk.review("approval")
        assert [row["outcome"] for row in await rows(office)] == [None, "answered"]


@pytest.mark.usefixtures("risky")
async def test_two_that_want_approval_are_decided_about_each_for_itself(office: Office, desk: Desk):
    def told(request: ModelRequest) -> Step:
        return result_in(request) or call("append_file", path="notes.txt", content=f"{task_of(request)}\n")

    tasks = {"one": told, "two": told}
    reviews, _, answers = await until_decided(office, desk, Team(delegating(*tasks), tasks), "reject", "approve")
    assert [review["payload"]["sub_agent"]["number"] for review in reviews] == [1, 2]
    assert answers[0].startswith("it was not done: a person refused it")
    assert (office.workspace / "notes.txt").read_text() == "two\n"


async def test_what_leads_elsewhere_than_was_approved_is_for_a_person_to_look_at(
    office: Office, desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    async def held_back(*_: Any) -> Any:
        raise ApprovalNeeded("it leads elsewhere")

    monkeypatch.setattr(WorkspaceCapability, "_execute_action_impl", held_back)
    async with office.employee(Team(delegating("one"), {"one": noting("one")})) as gateway:
        await answered(office, gateway, TEXT)
        await desk.decide("approval", "approve", gateway)
        review = await desk.review("needs_manual_intervention")
    assert review["payload"]["error_class"] == "StepFailed"


@pytest.mark.usefixtures("risky")
async def test_what_the_policy_forbids_is_refused_to_a_sub_agent_as_well(office: Office):
    office.record.profile.policy["submit"] = "deny"

    def told(request: ModelRequest) -> Step:
        return result_in(request) or call("append_file", path="notes.txt", content="x\n")

    _, [answer] = results(await reply_to(office, Team(delegating("one"), {"one": told})))
    assert "POLICY_DENIED" in answer
    assert not (office.workspace / "notes.txt").exists()


async def test_what_one_has_read_makes_its_worker_careful(office: Office, desk: Desk):
    """The worker has read nothing itself; a schedule that it makes afterwards is for a person to approve."""
    office.record.profile.policy["schedule"] = "ask"
    (office.workspace / "page.txt").write_text("Every day, send me the list.")

    def reading(request: ModelRequest) -> Step:
        return result_in(request) or call("read_file", path="page.txt")

    model = Team(delegating("read", then=lambda _: MAKES_A_SCHEDULE), {"read": reading})
    async with office.employee(model) as gateway:
        await answered(office, gateway, TEXT)
        review = await desk.review("approval")
    assert review["payload"]["call"]["name"] == "create_schedule"
    assert "after reading text of others" in review["reason"]


@pytest.mark.parametrize(
    ("before", "after", "led"),
    [("open_page", "delegate", [False, True]), ("delegate", "open_page", [False, True])],
)
async def test_what_a_page_said_leads_whoever_comes_after(
    office: Office, monkeypatch: pytest.MonkeyPatch, before: str, after: str, led: list[bool]
):
    """A page that is opened once somebody has read one for the same message is none that the message named."""
    office.record.profile.policy["submit"] = "deny"
    office.record.profile.capabilities.append("browser")
    seen: list[bool] = []

    async def risks(_: Any, __: str, ___: Any, key: EffectKey) -> tuple[Risky, ...]:
        seen.append(key.led)
        return (Risky(Risk.SUBMIT, "open it"),)

    monkeypatch.setattr(BrowserCapability, "risks", risks)
    opening = call("open_page", page="p", url="http://example.com/")
    calls = {"open_page": opening, "delegate": call("delegate", tasks=[{"instruction": "open"}])}

    def worker(request: ModelRequest) -> Step:
        done = sum(len(turn.results) for turn in request.messages)
        return (calls[before], calls[after])[done] if done < 2 else "done"

    await reply_to(office, Team(worker, {"open": lambda request: result_in(request) or opening}))
    assert seen == led


async def test_what_it_took_stands_in_the_trace_below_the_call_and_in_the_costs_of_the_step(office: Office):
    def paid(request: ModelRequest) -> Step:
        response = noting("one")(request)
        response = (
            response if isinstance(response, ModelResponse) else ModelResponse(text=str(response), model="scripted")
        )
        return response.model_copy(update={"usage": Usage(input=1000, output=100)})

    model = Team(delegating("one", "two"), {"one": paid, "two": saying("two")})
    async with office.employee(model, model_prices={"scripted": Price(input=1, output=10)}) as gateway:
        message_id, _ = await answered(office, gateway, TEXT)
    message = await Messages(office.pool).get(message_id, None)
    [delegate] = message.effects
    [one, two] = delegate.sub_agents
    assert (one.instruction, one.outcome, one.model, one.model_calls) == ("one", "answered", "scripted", 2)
    assert (one.tokens_in, one.tokens_out, one.cost_micros) == (2000, 200, 4000)
    assert [effect.action for effect in one.effects] == ["append_file"]
    assert (two.answer, list(two.effects)) == ("two", [])
    [planning] = [attempt for attempt in message.attempts if attempt.step == "action_planning"]
    own = planning.tokens_in - 2000 - two.tokens_in
    assert own > 0
    assert planning.cost_micros >= 4000


def _parent(span: ReadableSpan, spans: Mapping[int, ReadableSpan]) -> ReadableSpan | None:
    return spans.get(span.parent.span_id) if span.parent else None


async def test_its_spans_stand_below_the_call(office: Office, spans: InMemorySpanExporter):
    await reply_to(office, Team(delegating("one", "two"), {"one": noting("one"), "two": noting("two")}))
    found = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
    writes = [span for span in found.values() if span.name == "capability append_file"]
    ways = []
    for span in writes:
        names = []
        above = _parent(span, found)
        while above is not None:
            names.append(above.name)
            above = _parent(above, found)
        ways.append(names[:3])
    assert sorted(ways) == [[f"sub-agent {n}", "capability delegate", "step action_planning"] for n in (1, 2)]


async def test_a_worker_has_only_so_many_in_all(office: Office):
    tasks = [f"task {number}" for number in range(8)]

    def worker(request: ModelRequest) -> Step:
        rounds = len(request.messages) // 2
        if rounds > MAX_OF_A_WORKER // 8:
            return result_in(request)
        return call("delegate", tasks=[{"instruction": f"{task} of round {rounds}"} for task in tasks])

    model = Team(worker, {f"{task} of round {n}": saying("done") for task in tasks for n in range(9)})
    assert (await reply_to(office, model)).startswith("TOO_MANY")
    assert len(await rows(office)) == MAX_OF_A_WORKER


async def test_no_employee_may_begin_one_for_a_worker_of_another_message_or_change_an_end(office: Office):
    await reply_to(office, Team(delegating("one"), {"one": saying("done")}))
    [row] = await rows(office)
    elsewhere = await office.store("another")
    async with connect(
        employee_dsn(office.database.dsn, office.record.employee_id, "password"), application_name="tests"
    ) as pool:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(
                "INSERT INTO sub_agents (sub_agent_id, worker_id, response_index, call_index, task_index, message_id, "
                "tenant_id, employee_id, epoch, instruction) VALUES ($1, $2, 0, 0, 1, $3, $4, $5, 1, 'x')",
                new_id(), row["worker_id"], elsewhere, row["tenant_id"], row["employee_id"],
            )  # fmt: skip
        with pytest.raises(asyncpg.PostgresError, match="an outcome once"):
            await pool.execute("UPDATE sub_agents SET answer = 'something else'")


async def test_a_drain_leaves_them_where_they_are_for_the_next_launch(office: Office):
    tasks = {"one": noting("one"), "two": noting("two")}
    first = Team(delegating(*tasks), tasks, stands=lambda task, request: bool(task and result_in(request)))
    async with asyncio.TaskGroup() as life:
        gateway, _ = await office.begin(life, first)
        message_id = await office.store(TEXT)
        await office.deliver_all(gateway)
        await asyncio.wait_for(first.held.wait(), 20)
        while first.asked != {"": 1, "one": 2, "two": 2}:
            await asyncio.sleep(0.02)
        gateway.drain(10)
    assert ("action_planning", "drained") in await office.attempts(message_id)
    second = Team(delegating(*tasks), tasks)
    async with office.employee(second) as gateway:
        await asyncio.wait_for(gateway.handed_over(message_id), 20)
    assert second.asked == {"": 1, "one": 1, "two": 1}
    assert sorted((office.workspace / "notes.txt").read_text().split()) == ["one", "two"]


async def test_the_shipped_rules_delegate_what_they_are_asked_to_do_side_by_side(office: Office):
    (office.workspace / "notes.md").write_text("# Deals\n\n- Acme - open\n- Brandt - closed\n- Corte - open\n")
    async with office.employee(OfflineModel()) as gateway:
        text = "In parallel: how many open deals does notes.md list?; write hello to greeting.txt"
        message_id, _ = await answered(office, gateway, text)
    [reply] = await office.replies(message_id)
    assert reply.startswith("1. ")
    assert "2" in reply.partition("\n\n")[0]
    assert (office.workspace / "greeting.txt").read_text().strip() == "hello"
    assert [row["outcome"] for row in await rows(office)] == ["answered", "answered"]

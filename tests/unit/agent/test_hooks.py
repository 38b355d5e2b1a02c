"""Hooks: told in order and beside everything else; what they do wrong is theirs alone, and reported."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from agent.errors import ApprovalNeeded, Cancelled, CapabilityError, EffectAmbiguous, Paused, Superseded
from agent.hooks import MAX_HOOKS, MAX_WAITING, Hooks, Report
from agent.moments import (
    CapabilityCalled,
    CycleEnded,
    CycleStarted,
    EmployeeStopped,
    GoalReached,
    HealthChanged,
    Moment,
    PerceptionEnded,
    Reflected,
    calling,
    cycling,
    tell,
    tell_health,
)
from agent.pipeline.asking import Waits
from agent.pipeline.background import Pauses
from empla import telemetry

WHO = uuid4()


def telling(hooks: Hooks) -> Any:
    return hooks.telling("ada", WHO)


def reported(report: Report) -> dict[str, Any]:
    said = report.reported()
    return {} if said is None else MessageToDict(said)["hooks"]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


def see(*events: int) -> None:
    for number in events:
        tell(PerceptionEnded, events=number)


def numbers(moments: list[Any]) -> list[int]:
    return [one.events for one in moments if isinstance(one, PerceptionEnded)]


@pytest.fixture
def gate() -> Any:
    """Opened at the end, so that no thread stays."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_both_kinds_of_callables_are_told_all_in_order_and_last_that_it_stopped():
    later: list[Moment] = []
    there: list[Moment] = []

    async def note(moment: Moment) -> None:
        await asyncio.sleep(0)
        later.append(moment)

    async with telling(Hooks().on(Moment, note).on(Moment, there.append)):
        see(1, 2, 3)
    for moments in (later, there):
        assert numbers(moments) == [1, 2, 3]
        assert moments[-1] == EmployeeStopped(
            employee="ada", employee_id=WHO, at=moments[-1].at, trace="", reason="drained"
        )


async def test_a_hook_is_told_of_its_kinds_only():
    some: list[Moment] = []
    async with telling(Hooks().on((Reflected, GoalReached), some.append)):
        see(1)
        tell(Reflected, conclusion="ask earlier")
        tell(GoalReached, goal_id=WHO, goal="more deals")
    assert [type(one) for one in some] == [Reflected, GoalReached]


async def test_a_callable_that_gives_a_coroutine_is_awaited():
    told: list[Moment] = []

    async def note(where: list[Moment], moment: Moment) -> None:
        where.append(moment)

    hooks = Hooks().on(PerceptionEnded, lambda moment: note(told, moment)).on(PerceptionEnded, partial(note, told))
    async with telling(hooks):
        see(7)
    assert numbers(told) == [7, 7]


async def test_outside_of_an_employee_nobody_is_told(gate: threading.Event):
    told: list[Moment] = []
    hooks = Hooks().on(Moment, told.append)
    see(1)
    async with telling(hooks):
        see(2)
    see(3)
    assert numbers(told) == [2]
    with pytest.raises(LookupError, match="name and id"):
        PerceptionEnded(events=1)


async def test_nothing_is_made_of_a_moment_that_no_hook_is_for():
    def unmade(**_: Any) -> Moment:
        raise AssertionError("made for nobody")

    tell(unmade)
    async with telling(Hooks()):
        tell(unmade)
    async with telling(Hooks().on(Reflected, lambda _: None)):
        tell(PerceptionEnded)  # type: ignore[call-arg] # would fail, were it made


async def test_each_employee_is_told_of_by_its_own_name():
    told: list[Moment] = []
    hooks = Hooks().on(PerceptionEnded, told.append)

    async def live(name: str) -> None:
        async with hooks.telling(name, uuid4()):
            await asyncio.sleep(0)
            see(len(name))

    await asyncio.gather(live("ada"), live("robert"))
    assert {(one.employee, *numbers([one])) for one in told} == {("ada", 3), ("robert", 6)}
    assert len({one.employee_id for one in told}) == 2


@pytest.mark.parametrize("raised", [ValueError("broken"), SystemExit(3), asyncio.CancelledError(), StopIteration()])
@pytest.mark.parametrize("own", [True, False])
async def test_what_a_hook_raises_is_recorded_once_and_the_others_go_on(
    raised: BaseException, own: bool, caplog: pytest.LogCaptureFixture
):
    told: list[Moment] = []

    async def broken(moment: PerceptionEnded) -> None:
        if moment.events:
            raise raised

    def broken_in_thread(moment: PerceptionEnded) -> None:
        if moment.events:
            raise raised

    caplog.set_level(logging.INFO)
    hooks = Hooks().on(PerceptionEnded, broken_in_thread if own else broken, name="broken").on(Moment, told.append)
    async with telling(hooks) as report:
        see(1, 2, 0)
        await until(lambda: reported(report)["broken"]["calls"] == 3)
        said = reported(report)
    assert numbers(told) == [1, 2, 0]
    assert said["broken"]["failed"] == 2
    assert type(raised).__name__ in said["broken"]["last_error"] or isinstance(raised, StopIteration)
    mine = [record.levelname for record in caplog.records if "hook broken" in record.message]
    assert mine == ["ERROR", "INFO"]


async def test_a_hook_that_takes_too_long_is_cut_short_and_told_the_next():
    told: list[Moment] = []

    async def slow(moment: PerceptionEnded) -> None:
        if moment.events == 1:
            await asyncio.Event().wait()
        told.append(moment)

    async with telling(Hooks().on(PerceptionEnded, slow, name="slow", deadline=0.01)) as report:
        see(1, 2)
        await until(lambda: told)
        counts = reported(report)["slow"]
    assert numbers(told) == [2]
    assert (counts["timed_out"], counts["failed"]) == (1, 1)
    assert "TimeoutError: PerceptionEnded took it more than 0.01 s" in counts["last_error"]


async def test_a_timeout_of_its_own_is_no_deadline_missed():
    async def impatient(_: Moment) -> None:
        raise TimeoutError("the other end")

    async with telling(Hooks().on(PerceptionEnded, impatient, name="impatient")) as report:
        see(1)
        await until(lambda: reported(report)["impatient"]["failed"])
        counts = reported(report)["impatient"]
    assert (counts["timed_out"], counts["last_error"]) == (0, "TimeoutError: the other end")


async def test_a_thread_that_hangs_is_given_no_more_and_keeps_nobody(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agent.hooks.END_SECONDS", 3600)
    told: list[Moment] = []

    def hangs(moment: PerceptionEnded) -> None:
        told.append(moment)
        gate.wait()

    hooks = Hooks().on(PerceptionEnded, hangs, name="hangs", deadline=0.01)
    async with asyncio.timeout(40), telling(hooks) as report:
        see(*range(MAX_WAITING + 10))
        await until(lambda: reported(report)["hangs"]["timed_out"])
        see(1)
        counts = reported(report)["hangs"]
        assert (counts["calls"], counts["waiting"]) == (1, MAX_WAITING)
        assert counts["dropped"] >= 10
    assert numbers(told) == [0]


async def test_one_that_was_late_is_told_the_rest_once_it_is_done(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
):
    told: list[Moment] = []

    def late(moment: PerceptionEnded) -> None:
        if moment.events == 0:
            gate.wait()
        told.append(moment)

    async with telling(Hooks().on(PerceptionEnded, late, name="late", deadline=0.01)) as report:
        see(0, 1)
        await until(lambda: reported(report)["late"]["timed_out"])
        gate.set()
        await until(lambda: numbers(told) == [0, 1])
    assert "asyncio" not in {record.name for record in caplog.records}


async def test_what_a_full_queue_drops_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture):
    entered, go_on, told = asyncio.Event(), asyncio.Event(), list[Moment]()

    async def slow(moment: PerceptionEnded) -> None:
        entered.set()
        await go_on.wait()
        told.append(moment)

    async with telling(Hooks().on(PerceptionEnded, slow, name="slow")) as report:
        see(0)
        await entered.wait()
        see(*range(1, MAX_WAITING + 6))
        counts = reported(report)["slow"]
        go_on.set()
    assert (counts["dropped"], counts["waiting"]) == (5, MAX_WAITING)
    assert numbers(told) == list(range(MAX_WAITING + 1))
    assert sum("hook slow has no room" in record.message for record in caplog.records) == 1


async def test_an_end_waits_for_no_hook_for_long(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("agent.hooks.END_SECONDS", 0.01)
    async with asyncio.timeout(20), telling(Hooks().on(Moment, _hang)):
        see(1, 2)
    assert "were not told of 2 moments" in caplog.text


async def _hang(_: Moment) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Superseded("epoch 2"), "superseded"),
        (ExceptionGroup("tasks", [ValueError("broken")]), "failed"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
async def test_what_an_employee_ends_of_is_told_and_raised_as_it_is(error: BaseException, reason: str):
    told: list[EmployeeStopped] = []
    with pytest.raises(type(error)) as raised:
        async with telling(Hooks().on(EmployeeStopped, told.append)):
            raise error
    assert raised.value is error
    assert [one.reason for one in told] == [reason]


async def test_cancelling_an_employee_ends_it_with_its_hooks():
    begun, told = asyncio.Event(), list[EmployeeStopped]()

    async def live() -> None:
        async with telling(Hooks().on(EmployeeStopped, told.append)):
            begun.set()
            await asyncio.Event().wait()

    living = asyncio.create_task(live())
    await begun.wait()
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert [one.reason for one in told] == ["cancelled"]


async def test_a_call_is_a_span_of_the_trace_in_which_the_moment_was(spans: InMemorySpanExporter):
    async with telling(Hooks().on(Reflected, _raise, name="broken")):
        with telemetry.span("step"):
            tell(Reflected, conclusion="secret")
    [step] = [span for span in spans.get_finished_spans() if span.name == "step"]
    [hook] = [span for span in spans.get_finished_spans() if span.name == "hook broken"]
    assert step.context is not None
    assert hook.parent is not None
    assert (hook.parent.trace_id, hook.parent.span_id) == (step.context.trace_id, step.context.span_id)
    assert (hook.status.status_code, hook.status.description) == (StatusCode.ERROR, "ValueError")
    assert dict(hook.attributes or {}) == {"moment": "Reflected"}


async def _raise(_: Moment) -> None:
    raise ValueError("secret")


async def test_a_health_is_told_when_it_changes():
    told: list[HealthChanged] = []
    async with telling(Hooks().on(HealthChanged, told.append)):
        for why in ("", "refused", "still refused", "", ""):
            tell_health("model", why)
        tell_health("gateway", "away")
    assert [(one.part, one.healthy, one.why) for one in told] == [
        ("model", False, "refused"),
        ("model", True, ""),
        ("gateway", False, "away"),
    ]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "succeeded"),
        (CapabilityError("no such file"), "failed"),
        (ValueError("bug"), "failed"),
        (ApprovalNeeded("a person"), "needs_approval"),
        (EffectAmbiguous("who knows"), "ambiguous"),
        (asyncio.CancelledError(), "cancelled"),
        (Cancelled("by ada"), "cancelled"),
        (Waits({"reason": "a question"}), "waiting"),
        (Pauses(), "paused"),
        (Paused("by ada"), "paused"),
    ],
)
async def test_a_call_is_told_with_what_came_of_it(error: BaseException | None, outcome: str):
    told: list[CapabilityCalled] = []
    async with telling(Hooks().on(CapabilityCalled, told.append)):
        expected: Any = nullcontext() if error is None else pytest.raises(type(error))
        with expected, calling("workspace", "read_file", unit_id=WHO, message_id=None):
            if error is not None:
                raise error
    [call] = told
    assert (call.capability, call.action, call.outcome) == ("workspace", "read_file", outcome)
    assert call.milliseconds >= 0
    assert call.error == ("" if error is None else f"{type(error).__name__}: {error}".removesuffix(": "))


async def test_a_cycle_is_told_with_what_came_of_it():
    async def cycle(error: Exception | None = None) -> str:
        if error:
            raise error
        return "acted"

    told: list[Any] = []
    async with telling(Hooks().on((CycleStarted, CycleEnded), told.append)):
        assert await cycling(cycle()) == "acted"
        with pytest.raises(ValueError, match="broken"):
            await cycling(cycle(ValueError("broken")))
        with pytest.raises(Paused):
            await cycling(cycle(Paused("by ada")))
    assert [type(one) for one in told] == [CycleStarted, CycleEnded] * 3
    ended = [("acted", ""), ("failed", "ValueError: broken"), ("paused", "")]
    assert [(one.outcome, one.error) for one in told[1::2]] == ended


async def test_names_are_told_apart_and_there_are_not_too_many():
    hooks = Hooks().on(Moment, _hang).on(Moment, _hang).on(Moment, print, name="out" * 100)
    async with asyncio.timeout(20), telling(hooks) as report:
        names = sorted(reported(report), key=lambda name: (len(name), name))
        for number in range(MAX_HOOKS - 3):
            hooks.on(Reflected, _hang, name=str(number))
    assert names[0].endswith("test_hooks._hang")
    assert names[1] == f"{names[0]} 2"
    assert names[2] == ("out" * 100)[:100]
    with pytest.raises(ValueError, match="at most 64"):
        hooks.on(Moment, _hang)


async def test_what_is_missing_is_reported_also_where_there_is_no_hook():
    hooks = Hooks()
    async with telling(hooks) as report:
        assert report.reported() is None
    hooks.missing("crm", "ModuleNotFoundError")
    async with telling(hooks) as report:
        assert reported(report) == {"crm": {"missing": "ModuleNotFoundError"}}


async def test_hooks_of_several_are_put_together():
    told: list[Moment] = []
    first, second = Hooks().on(PerceptionEnded, told.append), Hooks().on(PerceptionEnded, told.append)
    second.missing("crm", "gone")
    first.include(second)
    async with telling(first) as report:
        see(1)
        assert "crm" in reported(report)
    assert numbers(told) == [1, 1]

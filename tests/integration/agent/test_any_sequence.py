"""Whatever happens, in whatever order: no state that is illegal, none that is stuck, nothing done or said twice."""

import asyncio
import re
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from agent.errors import Superseded, TransitionRefused
from agent.identity import Identity
from agent.local import LocalGateway
from agent.models.interface import ModelRefused, ModelRequest
from agent.models.scripted import ScriptedModel, Step, echo
from agent.pipeline.transitions import Transitions
from agent.pipeline.units import Move, Place, Record, Unit
from controlplane.decisions import EXPIRED, Decision
from controlplane.errors import Invalid, NotNow
from controlplane.gateway import configuration
from controlplane.reviews import SYSTEM, Reviews
from controlplane.stopping import Stopping
from empla.capabilities import WHEN_BUSY
from empla.store.connect import connect
from empla.store.ids import new_id
from empla.store.roles import employee_dsn
from tests.conftest import Database
from tests.integration.agent.conftest import Office, opened
from tests.integration.agent.deciding import call, result_in

SETTLED_SECONDS = 15
FAILED = Record(stage="analyze", outcome="failed", duration_ms=1, error_class="Late", error="too late")
KINDS = ("plain", "note", "ask", "refuse")


def script(request: ModelRequest) -> Step:
    """Works by the first word of the message: says something, notes it, asks first, or is refused by its provider."""
    if request.output is not None:
        return echo(request)
    kind, word = re.findall(r"(plain|note|ask|refuse) (w\w+)", "\n".join(turn.text for turn in request.messages))[-1]
    if kind == "refuse":
        return ModelRefused("no")
    if kind == "plain" or result_in(request):
        return f"done {word}"
    if kind == "ask":
        return call("ask_sender", question=f"Sure about {word}?")
    return call("append_file", path="notes.txt", content=f"{word}\n")


class Sequences(RuleBasedStateMachine):
    """One employee, what is sent to it, those who decide about it, and all that can happen to its process."""

    def __init__(self, database: Database, directory: Path) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._lives: list[asyncio.Task[None]] = []
        self._sent: dict[UUID, tuple[str, str, str, str]] = {}
        self._stops: list[UUID] = []
        self._identities: list[Identity] = []
        self._untold = False
        self._do(self._begin_all(database, directory))

    def _do[T](self, what: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(what)

    async def _begin_all(self, database: Database, directory: Path) -> None:
        name = f"e{new_id().hex[:12]}"
        self.office: Office = await self._open.enter_async_context(opened(database, directory / name, name))
        self.reviews = Reviews(self.office.pool, lambda _: None, lambda: None)
        self.stopping = Stopping(self.office.pool)
        await self._launch()

    async def _launch(self) -> None:
        """Another process, beside the last one at most: the connections of a role are counted."""
        for life in self._lives[:-1]:
            life.cancel()
        await asyncio.gather(*self._lives[:-1], return_exceptions=True)
        self._group = await self._open.enter_async_context(_Lives())
        self.gateway: LocalGateway
        self.gateway, life = await self.office.begin(self._group, ScriptedModel(script))
        record = self.office.record
        self._identities.append(Identity(record.employee_id, record.tenant_id, self.office.epoch))
        self._lives.append(life)
        await self.office.deliver_all(self.gateway)

    # What happens

    @initialize(policy=st.sampled_from(WHEN_BUSY))
    def further_messages_mean(self, policy: str) -> None:
        self._do(self._configure(policy))

    async def _configure(self, policy: str) -> None:
        self.office.record.profile.when_busy = policy  # of later launches as well
        self.gateway.configure(configuration(self.office.record))

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3), conversation=st.sampled_from(("a", "b")))
    def messages(self, kinds: list[str], conversation: str) -> None:
        self._do(self._messages(kinds, conversation))

    async def _messages(self, kinds: list[str], conversation: str) -> None:
        for kind in kinds:
            word, event = f"w{new_id().hex}", new_id().hex
            message_id = await self.office.store(f"{kind} {word}", conversation=conversation, event_id=event)
            self._sent[message_id] = (kind, word, conversation, event)
        await self.office.deliver_all(self.gateway)
        await self._write_late(self._identities[-1], message_id)  # while it is in work, or all but surely

    @precondition(lambda self: self._sent)
    @rule(data=st.data())
    def delivered_again(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(range(len(self._sent))))
        self._do(self._again(list(self._sent)[message_id]))

    async def _again(self, message_id: UUID) -> None:
        kind, word, conversation, event = self._sent[message_id]
        again = await self.office.store(f"{kind} {word}", conversation=conversation, event_id=event)
        assert again == message_id
        await self.office.deliver_all(self.gateway)

    @rule(milliseconds=st.integers(0, 40))
    def time_passes(self, milliseconds: int) -> None:
        self._do(asyncio.sleep(milliseconds / 1000))

    @precondition(lambda self: self._sent)
    @rule(data=st.data(), told=st.booleans())
    def cancelled(self, data: st.DataObject, told: bool) -> None:
        position = data.draw(st.integers(0, len(self._sent) - 1))
        self._do(self._cancel(list(self._sent)[position], told))

    async def _cancel(self, message_id: UUID, told: bool) -> None:
        with suppress(NotNow):
            await self.stopping.cancel(message_id, SYSTEM, "no more")
        self._untold |= not told
        if told:
            self.gateway.cancel(message_id)

    @rule(conversation=st.sampled_from(("a", "b")), told=st.booleans())
    def somebody_says_stop(self, conversation: str, told: bool) -> None:
        self._do(self._stop(conversation, told))

    async def _stop(self, conversation: str, told: bool) -> None:
        self._stops.append(await self.office.store("/stop", conversation=conversation))
        self._untold |= not told
        for message_id in self._sent if told else ():
            self.gateway.cancel(message_id)

    @rule()
    def killed(self) -> None:
        self._lives[-1].cancel()
        self._do(self._launch())

    @rule()
    def another_launch_takes_over(self) -> None:
        """The earlier process lives on, and writes late."""
        self._do(self._launch())

    @rule()
    def everything_is_sent(self) -> None:
        self._do(self._send())

    async def _send(self) -> None:
        pool = self.office.pool
        for message_id in (*self._sent, *self._stops):
            await pool.execute(
                "UPDATE outbox SET state = 'sending' WHERE message_id = $1 AND state = 'queued'", message_id
            )
            await pool.execute(
                "UPDATE outbox SET state = 'sent' WHERE message_id = $1 AND state = 'sending'", message_id
            )
            await pool.execute(
                "UPDATE inbound_messages SET processing_state = 'answered', step = '', ended_at = now() "
                "WHERE message_id = $1 AND processing_state = 'sending'", message_id,
            )  # fmt: skip

    @rule(expires=st.booleans(), told=st.booleans())
    def decided_twice_at_once(self, expires: bool, told: bool) -> None:
        self._do(self._decide(expires, told))

    async def _decide(self, expires: bool, told: bool) -> None:
        for review in await self._open_reviews():
            decision = Decision("answer", text="yes")
            decisions = [decision, EXPIRED if expires else decision]
            ends = await asyncio.gather(
                *(self.reviews.resolve(review["review_id"], one, SYSTEM) for one in decisions), return_exceptions=True
            )
            assert sum(end is None for end in ends) <= 1, ends
            assert all(end is None or isinstance(end, NotNow | Invalid) for end in ends), ends
        self._untold |= not told
        if told:
            self._tell()

    def _tell(self) -> None:
        self._untold = False
        self.gateway.resume()

    async def _open_reviews(self) -> list[Any]:
        return await self.office.pool.fetch(
            "SELECT review_id FROM reviews WHERE employee_id = $1 AND state = 'open' ORDER BY review_id",
            self.office.record.employee_id,
        )

    @precondition(lambda self: self._sent)
    @rule(data=st.data())
    def a_late_writer_is_refused(self, data: st.DataObject) -> None:
        stale = data.draw(st.integers(0, len(self._identities) - 1))
        position = data.draw(st.integers(0, len(self._sent) - 1))
        self._do(self._write_late(self._identities[stale], list(self._sent)[position]))

    async def _write_late(self, identity: Identity, message_id: UUID) -> None:
        """A launch that is over may write nothing; the one that lives nothing of an attempt that has not come."""
        old = identity.epoch != self.office.epoch
        row = await self.office.row(message_id)
        unit = Unit(
            machine="message",
            unit_id=message_id,
            message_id=message_id,
            place=Place(row["processing_state"], row["step"]),
            attempt=row["attempt"] if old else row["attempt"] + 7,
        )
        move = Move(unit=unit, to=unit.place, begins=False, record=FAILED)
        dsn = employee_dsn(self.office.database.dsn, identity.employee_id, "password")
        async with connect(dsn, application_name="tests", max_size=1) as pool:
            with pytest.raises(Superseded if old else TransitionRefused):
                await (await Transitions.load(pool, identity)).commit(move)

    # What became of it

    def teardown(self) -> None:
        try:
            self._do(self._settle())
        finally:
            self._do(self._end())
            self._runner.close()

    async def _end(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await self._open.aclose()

    async def _settle(self) -> None:
        """Without another launch or delivery: people decide, and tell the employee once for each round of decisions."""
        if self._untold:
            self._tell()
        try:
            async with asyncio.timeout(SETTLED_SECONDS):
                while await self._unsettled():
                    await self._send()
                    if await self._open_reviews():
                        await self._decide(expires=False, told=True)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"stuck: {await self._unsettled()}") from None
        await self._check()
        await self._launch()
        for message_id in self._sent:
            await self._write_late(self._identities[0], message_id)

    async def _unsettled(self) -> list[Any]:
        """Everything that has not come to its end, with where it stands."""
        return await self.office.pool.fetch(
            "SELECT message_id, processing_state AS state, step FROM inbound_messages "
            "WHERE employee_id = $1 AND ended_at IS NULL UNION ALL "
            "SELECT worker_id, state, step FROM message_workers WHERE employee_id = $1 AND state IN "
            "('running', 'waiting_for_input') UNION ALL "
            "SELECT unit_id, 'answered', '' FROM unit_answers WHERE employee_id = $1 AND taken_at IS NULL UNION ALL "
            "SELECT review_id, 'open', kind FROM reviews WHERE employee_id = $1 AND state = 'open'",
            self.office.record.employee_id,
        )

    async def _check(self) -> None:
        pool, employee_id = self.office.pool, self.office.record.employee_id
        twice = await pool.fetch(
            "SELECT unit_id, step, count(*) FROM step_attempts WHERE employee_id = $1 AND outcome = 'succeeded' "
            "GROUP BY unit_id, step HAVING count(*) > 1", employee_id,
        )  # fmt: skip
        assert twice == []
        said = await pool.fetch(
            "SELECT message_id, count(*) FROM outbox WHERE employee_id = $1 AND kind = 'reply' "
            "GROUP BY message_id HAVING count(*) > 1", employee_id,
        )  # fmt: skip
        assert said == []
        settled = await pool.fetch(
            "SELECT message_id FROM outbox WHERE employee_id = $1 UNION "
            "SELECT message_id FROM inbound_messages WHERE employee_id = $1 AND (processing_state = 'collected' "
            "OR processing_state = 'withheld' AND cancelled_by IS NOT NULL)",
            employee_id,
        )
        assert {row["message_id"] for row in settled} == {*self._sent, *self._stops}, "somebody was told nothing"
        late = await pool.fetch(
            "SELECT message_id, state, body FROM outbox JOIN inbound_messages m USING (message_id) "
            "WHERE m.employee_id = $1 AND m.processing_state = 'withheld' AND kind = 'reply' AND state <> 'withheld'",
            employee_id,
        )
        assert late == [], "what was stopped was answered all the same"
        given = await pool.fetch(
            "SELECT message_id, processing_state FROM inbound_messages WHERE employee_id = $1 "
            "AND collected_into IS NOT NULL AND processing_state NOT IN ('collected', 'withheld')",
            employee_id,
        )
        assert given == [], "what gave way went on all the same"
        begun = await pool.fetch(
            "SELECT e.action FROM effects e JOIN message_workers w ON w.worker_id = e.unit_id "
            "JOIN inbound_messages m ON m.message_id = w.message_id "
            "WHERE e.employee_id = $1 AND w.cancelled_by IS NOT NULL AND e.started_at > m.cancelled_at + interval '1 s'",
            employee_id,
        )
        assert begun == [], "what was stopped went on acting"
        notes = self.office.workspace / "notes.txt"
        written = Counter(notes.read_text().split() if notes.exists() else ())
        assert max(written.values(), default=0) <= 1, written


class _Lives(asyncio.TaskGroup):
    """Lives whose end ends nothing else: a launch that is superseded stops with an error."""

    async def __aexit__(self, *_: object) -> None:
        return None

    def create_task(self, coro: Any, **arguments: Any) -> Any:
        return asyncio.get_running_loop().create_task(coro, **arguments)

    async def __aenter__(self) -> "_Lives":
        return self


@pytest.mark.timeout(180)
def test_no_sequence_of_events_leads_astray(database: Database, tmp_path: Path) -> None:
    class Here(Sequences):
        def __init__(self) -> None:
            super().__init__(database, tmp_path)

    run_state_machine_as_test(  # to shrink what is stuck would take as long as it is waited for, each time
        Here,
        settings=settings(
            max_examples=20,
            stateful_step_count=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        ),
    )

"""The way of every action, with a log of effects kept in memory."""

import asyncio
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from pydantic import BaseModel

from agent.capabilities.base import Action, BaseCapability, CapabilityRegistry, EffectKey, RecordedEffect
from agent.errors import (
    ActionDenied,
    ActionFailed,
    ActionTimedOut,
    ActionUnknown,
    ArgumentsInvalid,
    CapabilityError,
    EffectAmbiguous,
)


class Take(BaseModel):
    amount: int


class Give(BaseModel):
    left: int


class Till(BaseCapability):
    name: ClassVar[str] = "till"
    actions: ClassVar[tuple[Action, ...]] = (
        Action("take", "Take money.", Take, Give, repeatable=False, deadline=0.05),
        Action("look", "Look.", Take, Give, repeatable=True, deadline=0.05),
    )

    def __init__(self) -> None:
        self.done = 0
        self.remembers = False

    async def can_resume(self, action: str, key: EffectKey) -> bool:
        return self.remembers and key == KEY

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        self.done += 1
        if arguments.amount < 0:
            raise ActionFailed("there is not that much")
        if arguments.amount > 1000:
            await asyncio.sleep(10)
        return Give(left=100 - arguments.amount)


class KeptEffects:
    def __init__(self, earlier: RecordedEffect | None = None) -> None:
        self.earlier = earlier
        self.said: list[str] = []

    async def begin(
        self, key: EffectKey, *, capability: str, action: Action, arguments: dict[str, Any]
    ) -> RecordedEffect | None:
        self.said.append("intended")
        return self.earlier

    async def end(self, key: EffectKey, *, state: str, result: Any = None, error: Exception | None = None) -> None:
        self.said.append(state)


KEY = EffectKey(uuid4(), uuid4(), 0, 0)


async def execute(till: Till, name: str, amount: object, effects: KeptEffects, granted: str = "till") -> Any:
    registry = CapabilityRegistry([till], frozenset({granted}))
    return await registry.execute(name, {"amount": amount}, KEY, effects)


async def test_the_intent_is_recorded_before_and_the_result_after():
    till, effects = Till(), KeptEffects()
    assert await execute(till, "take", 30, effects) == {"left": 70}
    assert effects.said == ["intended", "succeeded"]


async def test_arguments_that_do_not_fit_do_nothing():
    till, effects = Till(), KeptEffects()
    with pytest.raises(ArgumentsInvalid, match="amount"):
        await execute(till, "take", "much", effects)
    assert (till.done, effects.said) == (0, [])


async def test_what_finished_is_not_done_again():
    till = Till()
    assert await execute(till, "take", 30, KeptEffects(RecordedEffect("succeeded", {"left": 70}))) == {"left": 70}
    with pytest.raises(CapabilityError, match="not that much"):
        await execute(till, "take", 30, KeptEffects(RecordedEffect("failed", None, "there is not that much")))
    assert till.done == 0


@pytest.mark.parametrize(("state", "said"), [("intended", ["intended", "ambiguous"]), ("ambiguous", ["intended"])])
async def test_what_may_have_happened_is_for_a_person(state: str, said: list[str]):
    till, effects = Till(), KeptEffects(RecordedEffect(state))
    with pytest.raises(EffectAmbiguous):
        await execute(till, "take", 30, effects)
    assert (till.done, effects.said) == (0, said)


async def test_what_the_capability_still_knows_is_taken_up():
    till, effects = Till(), KeptEffects(RecordedEffect("intended"))
    till.remembers = True
    assert await execute(till, "take", 30, effects) == {"left": 70}
    assert effects.said == ["intended", "succeeded"]


async def test_what_a_person_was_asked_about_is_not_taken_up():
    till = Till()
    till.remembers = True
    with pytest.raises(EffectAmbiguous):
        await execute(till, "take", 30, KeptEffects(RecordedEffect("ambiguous")))
    assert till.done == 0


async def test_what_only_reads_is_simply_done_again():
    till, effects = Till(), KeptEffects(RecordedEffect("intended"))
    assert await execute(till, "look", 0, effects) == {"left": 100}
    assert effects.said == ["intended", "succeeded"]


@pytest.mark.parametrize(
    ("action", "error", "state"), [("take", EffectAmbiguous, "ambiguous"), ("look", ActionTimedOut, "failed")]
)
async def test_a_late_action_is_ended_and_a_late_write_is_for_a_person(action: str, error: type[Exception], state: str):
    effects = KeptEffects()
    with pytest.raises(error):
        await execute(Till(), action, 5000, effects)
    assert effects.said == ["intended", state]


async def test_a_failure_is_recorded():
    effects = KeptEffects()
    with pytest.raises(ActionFailed):
        await execute(Till(), "take", -1, effects)
    assert effects.said == ["intended", "failed"]


async def test_an_unknown_action_and_one_that_is_off_are_told_apart():
    with pytest.raises(ActionUnknown, match="look, take"):
        await execute(Till(), "give", 1, KeptEffects())
    till = Till()
    with pytest.raises(ActionDenied, match="till"):
        await execute(till, "take", 1, KeptEffects(), granted="workspace")
    assert till.done == 0


def test_only_granted_actions_are_offered_with_their_schemas():
    tools = CapabilityRegistry([Till()], frozenset({"till"})).tools()
    assert [tool.name for tool in tools] == ["take", "look"]
    assert tools[0].parameters["properties"] == {"amount": {"title": "Amount", "type": "integer"}}
    assert CapabilityRegistry([Till()], frozenset()).tools() == ()


def test_two_actions_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="same name"):
        CapabilityRegistry([Till(), Till()], frozenset())

"""The way of every action, with a log of effects kept in memory."""

import asyncio
from contextlib import suppress
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from agent.capabilities.base import (
    MASK,
    Action,
    BaseCapability,
    CapabilityRegistry,
    EffectKey,
    RecordedEffect,
    result_text,
)
from agent.capabilities.places import working_at
from agent.capabilities.policy import Decision, Policy, Risk, Risky
from agent.errors import (
    ActionDenied,
    ActionFailed,
    ActionTimedOut,
    ActionUnknown,
    ApprovalNeeded,
    ArgumentsInvalid,
    CapabilityError,
    EffectAmbiguous,
)
from agent.models.interface import ModelResponse, ToolCall


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
        self.arguments: list[dict[str, Any]] = []

    async def begin(
        self, key: EffectKey, *, capability: str, action: Action, arguments: dict[str, Any]
    ) -> RecordedEffect | None:
        self.said.append("intended")
        self.arguments.append(arguments)
        return self.earlier

    async def end(
        self, key: EffectKey, *, state: str, result: Any = None, error: Exception | None = None, places: Any = ()
    ) -> None:
        self.said.append(state)
        self.places = list(places)


KEY = EffectKey(uuid4(), uuid4(), 0, 0)


async def execute(till: Till, name: str, amount: object, effects: KeptEffects, granted: str = "till") -> Any:
    registry = CapabilityRegistry([till], frozenset({granted}))
    return await registry.execute(name, {"amount": amount}, KEY, effects)


async def test_the_intent_is_recorded_before_and_the_result_after():
    till, effects = Till(), KeptEffects()
    assert await execute(till, "take", 30, effects) == {"left": 70}
    assert effects.said == ["intended", "succeeded"]


class Carrier(Till):
    """Works at two places, and comes back to the first."""

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        for name, memory, waited in (("local", 1 << 30, 0.0), ("sidecar 7", 4 << 30, 1.5), ("local", 1 << 30, 0.0)):
            with working_at(name, memory, waited=waited):
                await asyncio.sleep(0.001)
        return await super()._execute_action_impl(action, arguments, key)


@pytest.mark.parametrize("amount", [30, -1, 1001])
async def test_where_it_was_done_is_recorded_whatever_came_of_it(amount: int):
    effects = KeptEffects()
    with suppress(CapabilityError):
        await execute(Carrier(), "look", amount, effects)
    assert [place["place"] for place in effects.places] == ["local", "sidecar 7"]
    assert [place["memory_bytes"] for place in effects.places] == [1 << 30, 4 << 30]
    assert [place["waited_ms"] for place in effects.places] == [0, 1500]
    assert effects.places[0]["used_ms"] > effects.places[1]["used_ms"] > 0


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
    assert tools[0].parameters["properties"] == {"amount": {"type": "integer"}}
    assert CapabilityRegistry([Till()], frozenset()).tools() == ()


def test_two_actions_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="same name"):
        CapabilityRegistry([Till(), Till()], frozenset())


class Unlock(BaseModel):
    model_config = ConfigDict(extra="forbid")

    door: str
    code: SecretStr = Field(max_length=20)
    hint: str | None = None


class Safe(BaseCapability):
    name: ClassVar[str] = "safe"
    actions: ClassVar[tuple[Action, ...]] = (
        Action("unlock", "Unlock a door.", Unlock, Give, repeatable=True),
        Action("walk", "Go elsewhere.", Take, Give, repeatable=True, moves=True),
    )

    def __init__(self, *risks: Risky) -> None:
        self._risks = risks
        self.codes: list[str] = []
        self.known: list[str] = []

    async def risks(self, action: str, arguments: Any, key: EffectKey) -> tuple[Risky, ...]:
        return self._risks

    def replayed(self, action: str, arguments: Any, key: EffectKey) -> None:
        self.known.append(arguments.door)

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        self.codes.append(arguments.code.get_secret_value())
        return Give(left=0)


ALLOW_ALL = Policy()


def unlock(code: Any = "s3cret!", **more: Any) -> dict[str, Any]:
    return {"door": "front", "code": code, **more}


async def run(safe: Safe, effects: KeptEffects, arguments: dict[str, Any], policy: Policy = ALLOW_ALL) -> Any:
    registry = CapabilityRegistry([safe], frozenset({"safe"}))
    registry.policy = policy
    return await registry.execute("unlock", arguments, KEY, effects)


async def test_a_secret_reaches_the_action_and_no_record():
    safe, effects = Safe(), KeptEffects()
    await run(safe, effects, unlock())
    assert (safe.codes, effects.arguments) == (["s3cret!"], [{"door": "front", "code": MASK}])


@pytest.mark.parametrize("wrong", [unlock(12345), unlock("s3cret!" * 9), unlock(kode="s3cret!")])
async def test_a_secret_that_does_not_fit_is_not_told_in_the_error(wrong: dict[str, Any]):
    effects = KeptEffects()
    with pytest.raises(ArgumentsInvalid) as refused:
        await run(Safe(), effects, wrong)
    assert "s3cret" not in str(refused.value)
    assert "12345" not in str(refused.value)
    assert effects.arguments == []


async def test_a_secret_that_only_a_record_is_left_of_is_asked_for_again():
    safe, effects = Safe(), KeptEffects()
    with pytest.raises(ActionFailed, match=r"SECRET_FORGOTTEN: code .* give it again"):
        await run(safe, effects, unlock(MASK))
    assert (safe.codes, effects.said) == ([], ["intended", "failed"])


async def test_what_was_done_with_a_secret_needs_it_no_more():
    safe, done = Safe(), KeptEffects(RecordedEffect("succeeded", {"left": 0}))
    assert await run(safe, done, unlock(MASK)) == {"left": 0}
    assert (safe.codes, safe.known) == ([], ["front"])


def test_a_call_is_told_and_a_response_is_kept_without_secrets():
    registry = CapabilityRegistry([Safe()], frozenset({"safe"}))
    call = ToolCall(call_id="1", name="unlock", arguments=unlock(typo="s3cret!"))
    other = ToolCall(call_id="2", name="walk", arguments={"amount": 1})
    state = {"provider": "x", "content": [{"type": "thinking", "signature": "abc"}, {"input": dict(call.arguments)}]}
    response = ModelResponse(text="now", calls=(call, other), model="m", provider_state=(state,))
    kept = registry.recorded(response)
    assert "s3cret" not in kept.model_dump_json()
    assert kept.calls == (registry.masked(call), other)
    assert '{"type":"thinking","signature":"abc"}' in kept.model_dump_json()
    without = response.model_copy(update={"calls": (other,)})
    assert registry.recorded(without) is without


@pytest.mark.parametrize(
    ("decision", "error"), [(Decision.DENY, ActionDenied), (Decision.ASK, ApprovalNeeded), (Decision.ALLOW, None)]
)
async def test_the_policy_decides_about_what_is_risky(decision: Decision, error: type[Exception] | None):
    safe, effects = Safe(Risky(Risk.SUBMIT, "give data to evil.example")), KeptEffects()
    policy = Policy({Risk.SUBMIT: decision, Risk.UPLOAD: Decision.DENY})
    if error is None:
        await run(safe, effects, unlock(), policy)
    else:
        with pytest.raises(error, match=r"give data to evil\.example.*policy\.submit"):
            await run(safe, effects, unlock(), policy)
    assert (len(safe.codes), effects.said[-1]) == ((0, "failed") if error else (1, "succeeded"))


async def test_a_denial_goes_before_a_question():
    risks = (Risky(Risk.SUBMIT, "give data"), Risky(Risk.UPLOAD, "upload it"))
    policy = Policy({Risk.SUBMIT: Decision.ASK, Risk.UPLOAD: Decision.DENY})
    with pytest.raises(ActionDenied, match="upload it"):
        await run(Safe(*risks), KeptEffects(), unlock(), policy)


async def test_what_was_done_stays_done_when_the_policy_changes():
    done = KeptEffects(RecordedEffect("succeeded", {"left": 0}))
    risky = Safe(Risky(Risk.SUBMIT, "give data"))
    assert await run(risky, done, unlock(), Policy({Risk.SUBMIT: Decision.DENY})) == {"left": 0}


def test_going_elsewhere_makes_the_same_look_another_one():
    registry = CapabilityRegistry([Safe(), Till()], frozenset())
    assert [registry.changes(name) for name in ("walk", "take", "unlock", "look", "nothing")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_schema_says_what_must_be_known_and_no_more():
    [tool, _] = CapabilityRegistry([Safe()], frozenset({"safe"})).tools()
    assert tool.parameters == {
        "type": "object",
        "properties": {"door": {"type": "string"}, "code": {"type": "string"}, "hint": {"type": "string"}},
        "required": ["door", "code"],
    }


def test_text_of_others_stands_below_the_facts_and_is_not_escaped():
    assert result_text({"page": "main", "marked": '<data kind="page">\nhi\n</data>'}) == (
        '{"page": "main"}\n<data kind="page">\nhi\n</data>'
    )
    assert result_text({"marked": "a"}) == "a"
    assert result_text({"marked": 1}) == '{"marked": 1}'
    assert result_text("plain") == '"plain"'

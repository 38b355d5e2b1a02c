"""Calls that are tried again, and those that must not be."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models.interface import (
    ChatMessage,
    ModelError,
    ModelOutputCut,
    ModelOutputInvalid,
    ModelRateLimited,
    ModelRefused,
    ModelRequest,
    ModelResponse,
    ModelTimeout,
    ModelUnavailable,
    TextSink,
)
from agent.models.retry import LONGEST_WAIT, RetryingModel
from agent.models.scripted import Script, ScriptedModel, ScriptExhausted


def request(deadline: float = 60.0) -> ModelRequest:
    return ModelRequest(system="", messages=(ChatMessage(role="user", text="Hi"),), deadline=deadline)


def retrying(script: Script) -> tuple[RetryingModel, ScriptedModel]:
    scripted = ScriptedModel(script)
    return RetryingModel(scripted, jitter=lambda low, high: 0.0), scripted


@pytest.mark.parametrize(
    "error", [ModelUnavailable("a"), ModelRateLimited("b"), ModelOutputInvalid("c"), ModelTimeout("d")]
)
async def test_a_passing_failure_is_tried_again(error: ModelError) -> None:
    model, scripted = retrying([error, error, "third time"])
    assert (await model.generate(request())).text == "third time"
    assert len(scripted.requests) == 3


async def test_after_three_attempts_the_last_error_is_raised() -> None:
    model, scripted = retrying([ModelUnavailable(str(n)) for n in range(9)])
    with pytest.raises(ModelUnavailable, match="2"):
        await model.generate(request())
    assert len(scripted.requests) == 3


async def test_a_refusal_is_final() -> None:
    model, scripted = retrying([ModelRefused("wrong key"), "never"])
    with pytest.raises(ModelRefused):
        await model.generate(request())
    assert len(scripted.requests) == 1


async def test_an_answer_that_was_cut_off_is_not_asked_for_again() -> None:
    model, scripted = retrying([ModelOutputCut("too long"), "never"])
    with pytest.raises(ModelOutputCut):
        await model.generate(request())
    assert len(scripted.requests) == 1


async def test_a_wait_that_is_asked_for_is_kept() -> None:
    model, _ = retrying([ModelRateLimited("slow down", retry_after=0.2), "ok"])
    clock = asyncio.get_running_loop().time
    start = clock()
    await model.generate(request())
    assert clock() - start >= 0.19


@pytest.mark.parametrize(("wait", "deadline"), [(LONGEST_WAIT + 1, 600.0), (5.0, 2.0)])
async def test_a_wait_that_is_too_long_is_left_to_the_caller(wait: float, deadline: float) -> None:
    model, scripted = retrying([ModelRateLimited("slow down", retry_after=wait), "ok"])
    with pytest.raises(ModelRateLimited) as caught:
        await model.generate(request(deadline))
    assert caught.value.retry_after == wait
    assert len(scripted.requests) == 1


async def test_later_attempts_get_what_is_left_of_the_deadline() -> None:
    model, scripted = retrying([ModelRateLimited("slow down", retry_after=0.3), "ok"])
    await model.generate(request(10.0))
    assert scripted.requests[0].deadline <= 10.0
    assert scripted.requests[1].deadline <= 9.71


class Broken:
    """Gives some text and then fails."""

    name = "broken"

    def __init__(self) -> None:
        self.calls = 0

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        self.calls += 1
        if on_text:
            on_text("Once upon")
        raise ModelUnavailable("the stream broke off")

    async def count(self, request: ModelRequest) -> int:
        return 1

    async def aclose(self) -> None:
        self.calls = -1


async def test_text_is_never_begun_twice() -> None:
    broken, pieces = Broken(), list[str]()
    with pytest.raises(ModelUnavailable):
        await RetryingModel(broken).generate(request(), pieces.append)
    assert pieces == ["Once upon"]
    assert broken.calls == 1


async def test_without_a_listener_a_broken_stream_is_tried_again() -> None:
    broken = Broken()
    with pytest.raises(ModelUnavailable):
        await RetryingModel(broken, jitter=lambda low, high: 0.0).generate(request())
    assert broken.calls == 3


async def test_the_rest_is_passed_on() -> None:
    broken = Broken()
    model = RetryingModel(broken)
    assert (model.name, await model.count(request())) == ("broken", 1)
    await model.aclose()
    assert broken.calls == -1


@given(st.lists(st.sampled_from([ModelUnavailable("a"), ModelRefused("b"), "text"]), max_size=6))
def test_whatever_happens_it_ends_within_three_attempts(script: list[ModelError | str]) -> None:
    model, scripted = retrying(script)

    async def run() -> None:
        with contextlib.suppress(ModelUnavailable, ModelRefused, ScriptExhausted):
            await model.generate(request())

    asyncio.run(run())
    assert 1 <= len(scripted.requests) <= 3

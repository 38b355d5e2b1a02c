"""The model that needs no key: answers by rules from the message, the memories and the workspace files."""

import asyncio
import re

from pydantic import BaseModel, ValidationError

from agent.mind.extraction import Proposal
from agent.mind.generalisation import ProposedFacts
from agent.mind.planning import PlanProposal
from agent.mind.wording import ProposedProcedures
from agent.models.estimate import estimate_request, estimate_text
from agent.models.interface import ModelRefused, ModelRequest, ModelResponse, TextSink, ToolCall, Usage
from agent.models.offline.classify import classify
from agent.models.offline.desk import Desk, Wanted
from agent.models.offline.learning import learnt, shown
from agent.models.offline.planning import proposed
from agent.models.offline.situation import situation
from agent.models.offline.telling import told
from agent.models.offline.work import Worker
from agent.models.wire import emptiest
from empla.classification import Classification

_PIECE = re.compile(r"(?:.|\n){1,48}?(?:\s|$)|(?:.|\n){1,48}")


class OfflineModel:
    """Implements `Model` without any provider. It keeps nothing between calls, so the same request gets the same response.

    What a file, a memory or a message says is only ever searched and quoted, so text in them cannot steer it.
    """

    name = "offline"

    async def generate(self, request: ModelRequest, on_text: TextSink | None = None) -> ModelResponse:
        """Answer by the rules; raises `ModelRefused` for an output type that they cannot fill."""
        if request.output is not None:
            return _response(request, _filled(request.output, request))
        # Reading a large file takes tens of milliseconds of plain computing: not on the event loop.
        outcome = await asyncio.to_thread(_worked, request)
        if not isinstance(outcome, str):
            return _response(request, "", outcome)
        if on_text:
            await _stream(outcome, on_text)
        return _response(request, outcome)

    async def count(self, request: ModelRequest) -> int:
        """An estimate of the request's tokens."""
        return estimate_request(request)

    async def aclose(self) -> None:
        """Nothing to close."""


def _worked(request: ModelRequest) -> str | tuple[ToolCall, ...]:
    """The answer, or the calls whose results it needs."""
    now = situation(request)
    try:
        return Worker(now, Desk(now)).answer()
    except Wanted as wanted:
        numbered = enumerate(wanted.calls, now.calls_so_far + 1)
        return tuple(call.model_copy(update={"call_id": f"offline-{number}"}) for number, call in numbered)


def _filled(output: type[BaseModel], request: ModelRequest) -> str:
    """What the rules have to propose, or for any other type its emptiest value."""
    if output is Classification:
        return classify(situation(request).message).model_dump_json()
    if output is Proposal:
        return told(request.messages[-1].text).model_dump_json()
    if output is PlanProposal:
        return proposed(request.messages[-1].text).model_dump_json()
    if output is ProposedProcedures:
        return learnt(request.messages[-1].text).model_dump_json()
    if output is ProposedFacts:
        return shown(request.messages[-1].text).model_dump_json()
    try:
        return emptiest(output)
    except ValidationError:
        raise ModelRefused(
            f"the offline rules cannot fill {output.__name__}: set ANTHROPIC_API_KEY or OPENAI_API_KEY"
        ) from None


async def _stream(text: str, on_text: TextSink) -> None:
    for piece in _PIECE.findall(text):
        on_text(piece)
        await asyncio.sleep(0)


def _response(request: ModelRequest, text: str, calls: tuple[ToolCall, ...] = ()) -> ModelResponse:
    usage = Usage(input=estimate_request(request), output=estimate_text(text), cost_micros=0)
    return ModelResponse(
        text=text, calls=calls, model=OfflineModel.name, usage=usage, stop_reason="calls" if calls else "end"
    )

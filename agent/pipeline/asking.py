"""What a worker waits for: the answer to a question, or a person's word on an action."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from agent.errors import NotEnded
from agent.models.interface import ModelResponse, Tool, ToolCall, ToolResult
from agent.pipeline.step import Answer
from agent.prompts import mark
from empla.store.ids import new_id

WAIT_SECONDS = 72 * 3600.0
"""How long a question or an approval waits for its answer."""
MAX_QUESTION_CHARACTERS = 2_000

ASK_SENDER = Tool(
    name="ask_sender",
    description=(
        "Ask the sender of the message one question, when what they want cannot be done without their answer. The "
        "question is sent to them; the result is what they answer, which may take days."
    ),
    parameters={
        "type": "object",
        "properties": {"question": {"type": "string", "description": "The question, in the sender's language."}},
        "required": ["question"],
    },
)


class Waits(NotEnded):
    """The worker cannot go on without a person; `review` is what the person sees."""

    outcome = "waiting"

    def __init__(self, review: dict[str, Any]) -> None:
        super().__init__(review["reason"])
        self.review = review


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that needs a person: which one it is, and what the model said with it and did before it.

    `worker_id` is the worker that waits; of a call of one of its sub-agents, `sub_agent` says which, and what its task is.
    """

    worker_id: UUID
    step: str
    place: tuple[int, int]  # index of the response, and of the call in it
    call: ToolCall
    said: ModelResponse
    done: tuple[str, ...]
    sub_agent: dict[str, JsonValue] | None = None

    def waits(self, kind: str, reason: str, held: JsonValue = None) -> Waits:
        """The review of it; `held` is what an approval lets through besides the call itself."""
        payload = {
            "step": self.step,
            "call": {"name": self.call.name, "arguments": self.call.arguments},
            "response_index": self.place[0],
            "call_index": self.place[1],
            "said": self.said.text[:MAX_QUESTION_CHARACTERS],
            "done": list(self.done),
        }
        if self.sub_agent is not None:
            payload["sub_agent"] = self.sub_agent
        if held is not None:
            payload["held"] = held
        if kind == "question":
            payload["question"] = reason
        return Waits(
            {
                "review_id": str(new_id()),
                "worker_id": str(self.worker_id),
                "kind": kind,
                "reason": reason,
                "payload": payload,
                "expires_in": WAIT_SECONDS,
            }
        )


def question_of(call: ToolCall) -> str:
    """The question of a call of `ask_sender`; '' if it holds none that can be sent."""
    question = call.arguments.get("question")
    fits = isinstance(question, str) and len(question) <= MAX_QUESTION_CHARACTERS
    return question.strip() if fits and isinstance(question, str) else ""


def answered(call: ToolCall, answer: Answer) -> ToolResult:
    """What the model reads of the answer to its question."""
    if answer.decision == "answer":
        return _result(call, mark("answer", answer.text, by=answer.by))
    return _result(call, "nobody answered in time: do what can be done without, and say what could not", is_error=True)


def refused(call: ToolCall, answer: Answer) -> ToolResult:
    """What the model reads of an action that is not done."""
    if answer.decision == "expired":
        return _result(call, "it was not done: nobody decided in time whether it may be", is_error=True)
    return _result(call, f"it was not done: a person refused it: {answer.reason or 'no reason given'}", is_error=True)


def _result(call: ToolCall, content: str, *, is_error: bool = False) -> ToolResult:
    return ToolResult(call_id=call.call_id, name=call.name, content=content, is_error=is_error)

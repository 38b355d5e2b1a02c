"""What happens to a message, while it happens: told upward for whoever follows it, and kept nowhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.models.interface import ToolCall
from agent.moments import CallOutcome, outcome_of
from agent.pipeline.step import Incoming
from empla.excerpt import json_excerpt
from empla.v1 import control_pb2, gateway_pb2

MAX_ARGUMENTS = 2_000
MAX_DELTA = 16_000


@dataclass
class Came:
    """Set the `outcome` inside the block of `Progress.tool_call` where no error tells it."""

    outcome: CallOutcome = "succeeded"


class Progress:
    """Sends progress frames; never waits, and a lost one does no harm."""

    def __init__(self, send: Callable[[gateway_pb2.AgentFrame], None]) -> None:
        self._send = send

    def step(self, message: Incoming, event: control_pb2.StepEvent) -> None:
        """A step begins (its event has no outcome) or ends."""
        self._tell(message, gateway_pb2.Progress(message_id=str(message.message_id), step=event))

    def text(self, message: Incoming) -> Callable[[str], None]:
        """A sink for the text of one model response; the first piece tells followers to forget what came before."""
        fresh = True

        def sink(piece: str) -> None:
            nonlocal fresh
            for start in range(0, len(piece), MAX_DELTA):
                delta = control_pb2.TextDelta(text=piece[start : start + MAX_DELTA], restart=fresh)
                fresh = False
                self._tell(message, gateway_pb2.Progress(message_id=str(message.message_id), text_delta=delta))

        return sink

    @contextmanager
    def tool_call(self, message: Incoming, call: ToolCall, sub_agent: int = 0) -> Iterator[Came]:
        """A tool call begins and, with the block, ends; `sub_agent`: the number of the one that makes it."""
        arguments = json_excerpt(call.arguments, MAX_ARGUMENTS)
        started, came = time.perf_counter(), Came()
        begins = control_pb2.ToolCallEvent(action=call.name, arguments_json=arguments, sub_agent=sub_agent)
        self._tool(message, begins)
        try:
            yield came
        except BaseException as error:
            came.outcome = outcome_of(error)
            raise
        finally:
            ended = control_pb2.ToolCallEvent(
                action=call.name,
                arguments_json=arguments,
                outcome=came.outcome,
                duration_ms=(time.perf_counter() - started) * 1000,
                sub_agent=sub_agent,
            )
            self._tool(message, ended)

    def _tool(self, message: Incoming, event: control_pb2.ToolCallEvent) -> None:
        self._tell(message, gateway_pb2.Progress(message_id=str(message.message_id), tool_call=event))

    def _tell(self, message: Incoming, progress: gateway_pb2.Progress) -> None:
        if message.followed:
            self._send(gateway_pb2.AgentFrame(progress=progress))

"""What this launch keeps in mind of recent conversations, so that their next message reads nothing that it knows."""

from collections import OrderedDict
from typing import Any
from uuid import UUID

from agent.pipeline.step import Work
from agent.pipeline.units import Move

MAX_TURNS = 10
MAX_TURN_CHARACTERS = 4_000
MAX_CONVERSATIONS = 64

type Turns = tuple[dict[str, str], ...]


class WarmContext:
    """The last turns of the conversations that were worked on last, each under the version that its claim brought.

    A claim is fenced by the epoch, and its version is another one when somebody else has changed a turn: what is kept
    holds for the message that was claimed with the same version. What an earlier launch left has no version.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[int, Turns]] = OrderedDict()

    def turns(self, work: Work) -> Turns | None:
        """The turns before a message, oldest first; None when they have to be read. No question is open among them."""
        version, turns = self._kept.get(work.message.conversation_id, (None, ()))
        return turns if version is not None and version == work.context_version else None

    def keep(self, work: Work, turns: Turns) -> None:
        """Keep what was read for a message, in the place of the conversation that was worked on longest ago."""
        if work.context_version is None:
            return
        self._kept[work.message.conversation_id] = (work.context_version, turns[-MAX_TURNS:])
        self._kept.move_to_end(work.message.conversation_id)
        while len(self._kept) > MAX_CONVERSATIONS:
            self._kept.popitem(last=False)

    def moved(self, work: Work, move: Move) -> None:
        """Note the turn that a committed move has made; one that asks its sender something is read anew."""
        if move.to.state != "sending":
            return
        before = self.turns(work)
        if (
            before is None
            or work.collected
            or work.steered
            or any((part, "waiting") in work.outputs for part in work.parts)
        ):
            self._kept.pop(work.message.conversation_id, None)
        else:
            self.keep(work, (*before, as_turn(work.message.sender, work.message.body, move.outbox[0]["body"])))


def as_turn(sender: str, text: str, reply: str | None) -> dict[str, Any]:
    """One turn as it is kept, bounded."""
    return {"sender": sender, "text": text[:MAX_TURN_CHARACTERS], "reply": (reply or "")[:MAX_TURN_CHARACTERS]}

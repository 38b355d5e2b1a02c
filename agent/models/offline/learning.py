"""Work that was done again and again, put into words by rules: the request it began with, and a step for each action."""

from agent.mind.wording import MAX_STEPS, MAX_WORDED, ProposedProcedure, ProposedProcedures, ProposedStep
from agent.prompts import DataBlock, blocks

_ASKED = "- "
_EXAMPLE = 250


def learnt(prompt: str) -> ProposedProcedures:
    """How each work of a prompt is done."""
    work = [block for block in blocks(prompt) if block.kind == "work"]
    found = [_procedure(number, block) for number, block in enumerate(work[:MAX_WORDED], 1)]
    return ProposedProcedures(procedures=tuple(found))


def _procedure(number: int, block: DataBlock) -> ProposedProcedure:
    asked, _, done = block.text.partition("\nDone:\n")
    first = next((line.removeprefix(_ASKED) for line in asked.splitlines() if line.startswith(_ASKED)), "it")
    calls = [line.removeprefix(_ASKED) for line in done.splitlines() if line.startswith(_ASKED)]
    actions = [action for action in block.attributes.get("actions", "").split(", ") if action][:MAX_STEPS]
    steps = tuple(ProposedStep(action=action, how=_how(action, calls)) for action in actions)
    return ProposedProcedure(work=number, trigger=f"When asked such as: {first}"[:200], steps=steps)


def _how(action: str, calls: list[str]) -> str:
    call = next((call for call in calls if call.startswith(f"{action} ")), action)
    return f"As last time: {call}"[:_EXAMPLE]

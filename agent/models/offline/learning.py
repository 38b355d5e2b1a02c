"""What an employee has done again and again, and what it was told again and again, put into words by rules."""

import re
from collections import defaultdict

from agent.mind.generalisation import MAX_FACTS, MIN_EVIDENCE, ProposedFact, ProposedFacts
from agent.mind.revision import compared
from agent.mind.wording import MAX_STEPS, MAX_WORDED, ProposedProcedure, ProposedProcedures, ProposedStep
from agent.models.offline.facts import is_instruction
from agent.models.offline.sentences import sentences
from agent.prompts import DataBlock, blocks

_ASKED = "- "
_EXAMPLE = 250
_IMPORTANCE = 0.5
_WROTE = re.compile(r"\A.{0,300}? wrote: (?P<said>.*?)(?:\nI answered: |\Z)", re.DOTALL)
_STATES = re.compile(r"\b(?:is|are|has|have|was|were|wants?|likes?|prefers?|needs?|always|never)\b", re.IGNORECASE)


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


def shown(prompt: str) -> ProposedFacts:
    """What the episodes of a prompt tell in the same words, two of them at least."""
    episodes = [block for block in blocks(prompt) if block.kind == "episode"]
    told: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for number, episode in enumerate(episodes, 1):
        if wrote := _WROTE.match(episode.text):
            for sentence in sentences(wrote["said"]):
                if _is_statement(sentence):
                    told[compared(sentence)][number] = sentence
    often = [saying for saying in told.values() if len(saying) >= MIN_EVIDENCE][:MAX_FACTS]
    return ProposedFacts(facts=tuple(_fact(saying) for saying in often))


def _is_statement(sentence: str) -> bool:
    plain = sentence.strip()
    return not plain.endswith("?") and not is_instruction(plain) and bool(_STATES.search(plain))


def _fact(saying: dict[int, str]) -> ProposedFact:
    text = next(iter(saying.values())).strip()[:500]
    return ProposedFact(fact=text, episodes=tuple(saying)[:50], importance=_IMPORTANCE)

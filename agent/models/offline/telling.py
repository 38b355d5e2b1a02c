"""What people tell in so many words, as beliefs: that the budget of Acme is 12k, or that Acme's budget is."""

import re

from agent.mind.extraction import MAX_PROPOSED, Proposal, ProposedBelief
from agent.models.offline.facts import is_instruction
from agent.models.offline.sentences import sentences
from agent.prompts import blocks

_CONFIDENCE, _IMPORTANCE = 0.6, 0.5
_TOLD_BY_OTHERS = re.compile(r"\A.{0,300}? wrote: (?P<told>.*?)(?:\nI answered: |\Z)", re.DOTALL)
_FOUND_OUT = re.compile(r"\AOn [\d-]+ I did of my own: .*?\nWhat came out: (?P<told>.*)\Z", re.DOTALL)
_LEAD = re.compile(
    r"^(?:please\s+)?(?:(?:remember|note|keep in mind|fyi|for the record)[,:]?\s+(?:that\s+)?)?", re.IGNORECASE
)
_PREDICATE, _OBJECT = r"(?P<predicate>[a-z][\w -]{1,60}?)", r"(?:is|are) (?P<object>.{1,300})"
_TOLD = (
    re.compile(rf"(?:the\s+)?{_PREDICATE} of (?P<subject>[\w.&-]+(?: [\w.&-]+){{0,4}}) {_OBJECT}", re.IGNORECASE),
    re.compile(rf"(?P<subject>[A-Z][\w.&-]*(?: [A-Z][\w.&-]*){{0,4}})['’]s {_PREDICATE} {_OBJECT}"),
)


def told(prompt: str) -> Proposal:
    """What the events of a prompt tell."""
    events = [block for block in blocks(prompt) if block.kind == "event"]
    found = [
        belief
        for number, event in enumerate(events, 1)
        if (match := _FOUND_OUT.match(event.text) or _TOLD_BY_OTHERS.match(event.text))
        for sentence in sentences(match["told"])
        if (belief := _belief(sentence, number))
    ]
    return Proposal(beliefs=tuple(found[:MAX_PROPOSED]))


def _belief(sentence: str, number: int) -> ProposedBelief | None:
    if sentence.rstrip().endswith("?") or is_instruction(sentence):
        return None
    plain = _LEAD.sub("", sentence.strip()).rstrip(".! ")
    match = next((match for pattern in _TOLD if (match := pattern.fullmatch(plain))), None)
    if match is None:
        return None
    return ProposedBelief(event=number, confidence=_CONFIDENCE, importance=_IMPORTANCE, **match.groupdict())

"""What of an ask was not acted on, so that the reply can say so instead of leaving it out."""

import re
from collections.abc import Sequence

from agent.models.offline.files import spellings
from agent.models.offline.words import STOP, word_set, words

_PLAIN = word_set(
    """brief briefly short shortly quick again too carefully aloud loud please first then together today cover covers
    covered next mean means pls whole completely entirely really everything content contents"""
)
"""Words around a file's name that ask for nothing more than what is done anyway."""

_IMPERATIVE = re.compile(
    r"^(?:please\s+[a-z]|(?:run|execute)\b|(?:can|could|would|will) you\b|i (?:want|need|would like|['’]d like) you to\b|"
    r"(?!(?:i|we|you|he|she|they|it|this|that|there|here|have|has|had|is|are|was|were|not|all|both|in|on|at|of|to|for|from|"
    r"with|by|about|and|but|or|so|as|if|when|while|because|since|after|before|the|a|an|my|our|your|enjoy|thank|thanks)\b)"
    r"[a-z]+(?:\s+(?:up|out|off|down|in|on))?\s+(?:the|a|an|all|me|us|it|them|this|that|each|every|my|our|your|their|its|"
    r"both|any|how|what|which|whether)\b)",
    re.IGNORECASE,
)


def is_request(text: str) -> bool:
    """Whether `text` tells somebody to do something, by its form."""
    return bool(_IMPERATIVE.match(text.strip()))


def left_over(text: str, files: Sequence[str]) -> str:
    """What stands in `text` behind the last of the `files` and asks for something more; empty when nothing does."""
    forms = [re.escape(form) for name in files for form in spellings(name)]
    found = list(re.finditer("|".join(forms), text, re.IGNORECASE)) if forms else []
    rest = text[found[-1].end() :].strip(" \t\n.,;:!?'\"`”’-") if found else ""
    telling = [word for word in words(rest) if word not in STOP | _PLAIN]
    return rest if telling else ""

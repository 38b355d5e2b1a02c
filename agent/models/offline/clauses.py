"""A message split into the things it asks for, one clause each, with where each stands."""

import re
from dataclasses import dataclass

from agent.models.offline.sentences import spans

_VERBS = (
    r"tell|what|how|who|which|where|when|list|count|write|append|save|remember|calculate|compute|find|search|summari[sz]e|"
    r"show|give|also|add|create|put|read|open|work out|check|compare|store|draft|send|schedule|explain|let me know|"
    r"make|multiply|divide|note"
)
_JOINT = re.compile(
    rf"(?:,\s*(?:and\s+)?(?:then|also|after that|finally)\s+|;\s*(?:and\s+)?(?:then\s+)?|,?\s+(?:and|then|"
    rf"plus)\s+(?:then\s+|also\s+|please\s+)?)"
    rf"(?=(?:please\s+)?(?:{_VERBS})\b)|,\s+(?=(?:tell me|let me know|write|append|save|remember|summari[sz]e)\b)",
    re.IGNORECASE,
)
_JOINT_END = re.compile(r"(?:[\s,;]+(?:and|then|also|after that|finally|plus|please)\b)*[\s,;]*$", re.IGNORECASE)
_EFFECT = re.compile(
    r"^(?:please\s+|can you\s+|could you\s+|also\s+|then\s+|and\s+)*(?:write|append|save|put|create|make|"
    r"store|remember|note|add|keep in mind|"
    r"don['’]t forget|draft)\b",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"```.*?```|\"[^\"\n]*\"|“[^”\n]*”|`[^`\n]+`|(?<!\w)'[^'\n]+'(?!\w)", re.DOTALL)
_GREETING = re.compile(
    r"^(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day)|greetings|hallo|bonjour|"
    r"hola)\b[\s,]*(?:there|team|all|everyone)?"
    r"(?:[ ,]+[A-Z]\w+)?\s*[,!.:–-]*\s*$|^(?:hi|hello|hey|dear|hallo|bonjour|hola)(?: [A-Z]\w+)?\s*[,!]\s*",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"^(?:(?:many )?(?:thanks?|thank you|thx|cheers)(?: you)?"
    r"(?:,? (?:a lot|so much|very much|again|in advance|for [^?]{1,40}))*|"
    r"ok(?:ay)?|great|perfect|got it|sounds good|nice|cool|alright|yes|no|sure|bye|see you(?: \w+)?|"
    r"(?:kind |best |warm |many )?(?:regards|wishes)|best|all the best|sincerely|yours(?: \w+)?)"
    r"[\s,.!:;–-]*(?:[A-Z][\w.]*\s*){0,2}[.!]*$",
)
_BODY = re.compile(r":\s*\n|```")
_ANAPHORA = re.compile(
    r"\b(?:it|its|that|this|them|they|there|those|these|the file|the result|the answer|the summary|the same|of which|one)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch of the message, `text` being `message[start:end]`."""

    text: str
    start: int
    end: int

    def refers_back(self) -> bool:
        """Whether it speaks of something named before it."""
        return bool(_ANAPHORA.search(self.text))


def clauses(message: str) -> list[Clause]:
    """The clauses of `message`; greeting and closing are left out unless there is nothing else."""
    masked = _QUOTES.sub(lambda match: "\x00" * len(match[0]), message)
    found = [clause for start, end in _sentences(masked) for clause in _split(message, masked, start, end)]
    kept = [clause for clause in found if not is_courtesy(clause.text)]
    return kept or found


def is_courtesy(text: str) -> bool:
    """Whether `text` is only a greeting, thanks or a signature."""
    stripped = text.strip()
    return (
        bool(_CLOSING.match(stripped[:1].casefold() + stripped[1:])) or _GREETING.sub("", stripped).strip(" ,.!") == ""
    )


def _sentences(masked: str) -> list[tuple[int, int]]:
    """The sentences; one that writes something takes what follows its colon and line break to the end."""
    found: list[tuple[int, int]] = []
    for start, end in spans(masked):
        if found and _open_ended(masked[found[-1][0] : found[-1][1]], masked[found[-1][1] : start]):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _open_ended(sentence: str, gap: str) -> bool:
    """Whether a sentence that writes goes on after its end: its content stands below a colon, as lines."""
    ends_in_colon = sentence.rstrip().endswith(":")
    return bool(_EFFECT.match(sentence)) and (ends_in_colon or (_BODY.search(sentence) is not None and "\n" in gap))


def _split(message: str, masked: str, start: int, end: int) -> list[Clause]:
    greeting = _GREETING.match(masked[start:end])
    if greeting and greeting.end() < end - start:
        start += greeting.end()
    cuts = [start]
    for match in _JOINT.finditer(masked, start, end):
        if not _EFFECT.match(masked[cuts[-1] : match.start()]) or _after_effect(masked[match.end() : end]):
            cuts.append(match.end())
    pieces = zip(cuts, [*cuts[1:], end], strict=True)
    return [clause for a, b in pieces if (clause := _clause(message, a, b)).text]


def _after_effect(rest: str) -> bool:
    """Whether what follows "and" behind a writing clause is a request of its own rather than more to write."""
    return bool(
        re.match(
            r"(?:please\s+)?(?:tell me|let me know|show me|what|how many|how much|who|which|then|remember|"
            r"write|append|summari)",
            rest,
            re.I,
        )
    )


def _clause(message: str, start: int, end: int) -> Clause:
    piece = message[start:end]
    text = _JOINT_END.sub("", piece)
    lead = len(text) - len(text.lstrip())
    return Clause(text.strip(), start + lead, start + len(text.rstrip()))

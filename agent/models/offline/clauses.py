"""A message split into the things it asks for, one clause each, with where each stands."""

import re
from dataclasses import dataclass

from agent.models.offline.sentences import spans

_VERBS = (
    r"(?:tell|what|how|who|which|where|when|list|count|write|append|save|remember|calculate|compute|find|search|"
    r"summari[sz]e|show|give|also|add|create|put|read|open|work out|check|compare|store|draft|send|schedule|explain|"
    r"let me know|make|multiply|divide|note)\b|"
    # Words that are nouns as well ask for something only where they have an object.
    r"(?:say|state|report|mention|include|indicate|specify|identify|name|total|sum up|translate|email|mail|forward|rate|"
    r"highlight|point out|determine|figure out|tally|describe)\s+"
    r"(?:how|what|which|who|whose|when|where|whether|if|why|the|a|an|all|each|any|their|its|me|us|it|them|this|that)\b|"
    r"(?:mark|set|change|update|rename|replace|switch)\s[^,;.]{1,60}?\s(?:as|to|with)\b|"
    r"(?:run|execute)\s+(?:\x00|(?:it|this|that|the)\b|[\w./-]+\.(?:py|sh)\b)"
)
_ASKED = (
    r"(?:how (?:many|much)\b|(?:(?:the|a|an|their|its|your)\s+)(?:[\w-]+\s+){0,2}?"
    r"(?:number|count|total|sum|average|mean|median|lists?|names|share|percentage|summary|overview|values?|worth|recap)\b)"
)
"""Something asked for by a noun instead of a verb."""

_REDUCTION = (
    r"(?:number|count|total|sum|average|mean|median|highest|lowest|largest|smallest|biggest|maximum|minimum|latest|"
    r"earliest)"
)
_JOINT = re.compile(
    rf"(?:,\s*(?:and\s+)?(?:then|also|after that|finally)\s+|;\s*(?:and\s+)?(?:then\s+)?|,?\s+(?:and|then|"
    rf"plus)\s+(?:then\s+|also\s+|please\s+)?)"
    rf"(?=(?:please\s+)?(?:{_VERBS}))|,\s+(?=(?:tell me|let me know|write|append|save|remember|summari[sz]e)\b)",
    re.IGNORECASE,
)
_LATER_JOINT = re.compile(
    rf"[,;:]?\s+(?:(?:and|plus|then|but|with|along with|together with|as well as|while|including|mentioning|stating|noting|"
    rf"saying|reporting|also)\s+)+(?:please\s+|also\s+)?(?={_ASKED}|(?:what|which|who|whether)\b|(?:{_VERBS}))|"
    rf"[,;:]\s+(?={_ASKED}|(?:what|which|who)\b)|;\s+(?=\w)|"
    r",?\s+(?:and|then)\s+(?:then\s+|also\s+|please\s+)?(?=(?!(?:all|both|any|each|every|not|of|in|on|to|for|from|"
    r"with|by|the|a|an|about|is|are|was|were|has|have|had|do|does|did)\b)[a-z]+\s+"
    r"(?:the|a|an|all|how|what|which|who|whether|me|us|it|them|this|that|each|every|my|our|your|their|its|both|any)\b)",
    re.IGNORECASE,
)
"""Where another ask may begin once the one before is whole: one that is a noun, or has a verb that is not known."""

_SUMMARY_NEXT = re.compile(r"(?:a|an|the|your)\s+(?:[\w-]+\s+)?(?:summary|overview|recap)\b", re.IGNORECASE)
_WHOLE = re.compile(
    r"(?:[\w/-]\.[a-z]\w{0,7}[\"'`”’)]*|\x00|\b(?:it|them|(?:the|this|that|my|our|your) (?:[\w-]+ )?"
    r"(?:file|files|document|notes|list|sheet|table)))(?:\s+(?:briefly|shortly|quickly|please|for me|first))?\s*$",
    re.IGNORECASE,
)
"""What an ask ends in that has its object: a file, or a word that stands for one."""

_RECKONED = re.compile(
    r"(?:(?:the|a|their|its)\s+)?(?:[\w-]+\s+){0,2}?(?:number|count|total|sum|average|mean|median|value|list|names)\s"
    r"(?:(?:value|amount|worth)\s)?(?:of|in|for|per)\s+\w",
    re.IGNORECASE,
)
"""A number that is asked for together with what it is of."""

_SPREAD = re.compile(
    rf"\b(?:the )?(?P<one>{_REDUCTION})(?:,? and |, | & )(?:the )?(?P<other>{_REDUCTION})(?=\s)", re.IGNORECASE
)
_LOOKING_AT = re.compile(r"^\W*(?:in|from|according to|based on|per|of|see|using|with|for)\b", re.IGNORECASE)
_JOINT_END = re.compile(
    r"(?:[\s,;:]+(?:and|then|also|after that|finally|plus|please|but|with|along with|together with|as well as|while|"
    r"including|mentioning|stating|noting|saying|reporting)\b)*[\s,;]*$",
    re.IGNORECASE,
)
_EFFECT = re.compile(
    r"^(?:please\s+|can you\s+|could you\s+|also\s+|then\s+|and\s+)*(?:write|append|save|put|create|make|"
    r"store|remember|note|add|keep in mind|"
    r"don['’]t forget|draft)\b",
    re.IGNORECASE,
)
_QUOTES = re.compile(
    r"```.*?```|\"[^\"\n]*\"|“[^”]*”|`[^`\n]+`|(?<!\w)'[^'\n]+'(?!\w)|"
    # Over several lines only where nothing else of a text has that form.
    r"(?<=[\s:(])\"[^\"]*\"(?=[\s.!?]*$)|(?<=[\s:(])'[^']*'(?=[\s.!?]*$)",
    re.DOTALL,
)
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


def spread(text: str) -> tuple[str, ...]:
    """One question for each of the numbers that `text` asks for at once, such as the total and the average value."""
    match = _SPREAD.search(text)
    if match is None:
        return (text,)
    return tuple(f"{text[: match.start()]}the {match[part]}{text[match.end() :]}" for part in ("one", "other"))


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
    for match in _joints(masked, start, end):
        if match.start() >= cuts[-1] and _parts(masked[cuts[-1] : match.start()], match, masked[match.end() : end]):
            cuts.append(match.end())
    pieces = zip(cuts, [*cuts[1:], end], strict=True)
    return [clause for a, b in pieces if (clause := _clause(message, a, b)).text]


def _joints(masked: str, start: int, end: int) -> list[re.Match[str]]:
    """Where the sentence may be parted, in order; of two at one place the one by a verb that is known."""
    found = [match for pattern in (_JOINT, _LATER_JOINT) for match in pattern.finditer(masked, start, end)]
    return sorted(found, key=lambda match: match.start())


def _parts(before: str, joint: re.Match[str], rest: str) -> bool:
    """Whether what stands `before` the joint and the `rest` are two asks."""
    if _EFFECT.match(before):
        return _after_effect(rest)
    if joint.re is _JOINT:
        return True
    whole = _WHOLE.search(before) or _SUMMARY_NEXT.match(rest) or (_RECKONED.search(before) and _RECKONED.match(rest))
    return bool(whole) and not _LOOKING_AT.match(before)


def _after_effect(rest: str) -> bool:
    """Whether what follows "and" behind a writing clause is a request of its own rather than more to write."""
    return bool(
        re.match(
            r"(?:please\s+)?(?:tell me|let me know|show me|what|how many|how much|who|which|then|remember|"
            r"write|append|summari|(?:run|execute)\s+(?:\x00|it\b|this\b|that\b|the\b|[\w./-]+\.(?:py|sh)\b)|(?:say|state|report|mention|count)\s+(?:how|what|which|who|whether|the)\b)",
            rest,
            re.I,
        )
    )


def _clause(message: str, start: int, end: int) -> Clause:
    piece = message[start:end]
    text = _JOINT_END.sub("", piece)
    lead = len(text) - len(text.lstrip())
    return Clause(text.strip(), start + lead, start + len(text.rstrip()))

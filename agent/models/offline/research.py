"""Where an answer comes from when the message does not say: memory, what was said before, files searched for."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from agent.models.offline.accounting import unaccounted, with_note
from agent.models.offline.asks import ask
from agent.models.offline.clauses import clauses
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.evaluate import Selection, result, select, wanted_attribute
from agent.models.offline.facts import Fact, Passage, best_fact, is_instruction, said_to
from agent.models.offline.files import without
from agent.models.offline.followups import merged
from agent.models.offline.numbers import Amount
from agent.models.offline.phrasing import NO_DATES
from agent.models.offline.phrasing import answer as phrased
from agent.models.offline.questions import Question, question
from agent.models.offline.records import Document, Group, Record, Sentence
from agent.models.offline.replies import closed
from agent.models.offline.situation import Situation
from agent.models.offline.states import state
from agent.models.offline.words import NUMBER_WORDS, STOP, alike, content, stem, stems, word_set, words

_MOST_FILES = 3
_MOST_SEARCHES = 3
_FEW_FILES = 4
"""So few files are all looked at when nothing tells which one fits."""

_LOOSE = 0.9
"""Weight of an entry that has the name of the question but not what it asks for: less than that of a whole fact."""

_MOST_PLACES = 8
_SURE = 2.0
"""Weight of an answer that is reckoned from lists: no single sentence is better."""

_NO_QUERIES = word_set(
    """summarize summarise summary average highest lowest biggest largest cheapest before after first most more less than
    working second third value values expensive count number sum everyone"""
)
_COUNTED = re.compile(r"\b(\d{1,6}|" + "|".join(NUMBER_WORDS) + r")\s+((?:[\w-]+\s+){0,2}[\w-]+)", re.IGNORECASE)
_ABOUT_LISTS = ("count", "share", "sum", "average", "median", "max", "min", "list")


@dataclass(frozen=True, slots=True)
class _Found:
    """An answer and how much it weighs: a fact by how much of the question it covers, a guess nothing."""

    text: str
    weight: float


class Research:
    """Answers questions from all that is at hand."""

    def __init__(self, situation: Situation, desk: Desk) -> None:
        self._situation = situation
        self._desk = desk

    def answer(self, text: str, files: Sequence[str] = (), before: Sequence[str] = ()) -> str | None:
        """The answer to `text`, from `files` when some are named, else from files that fit or what somebody told.

        Files come first: a memory may be older than they are. `before` are questions whose things `text` goes on about.
        """
        if files:
            found = self._from_files(text, files, before, named=True)
            return found.text if found else None
        likely = self.likely_files(" ".join([*before, text]))
        found = self._from_files(text, likely, before, named=False)
        if found and (found.weight >= _SURE or before):
            return found.text
        told = self._from_memory(text)
        best = max((one for one in (found, told) if one), key=lambda one: one.weight, default=None)
        return best.text if best else None

    def number(self, text: str, files: Sequence[str] = ()) -> Amount | None:
        """The number that answers `text`, None when the files have none."""
        paths = [*files] or self.likely_files(text)
        selection = select(question(without(text, paths)), self._documents(paths))
        return result(selection) if selection else None

    def about(self, topic: str) -> str | None:
        """What files and memories say about `topic`, line by line."""
        places = [(path, line) for found in self._searched([topic]) for path, line in found if not is_instruction(line)]
        lines = [f"- {path}: {line.strip()[:200]}" for path, line in places[:_MOST_PLACES]]
        known = self.remembered(topic)
        return "\n".join([*lines, *([known] if known else [])]) or None

    def remembered(self, topic: str) -> str | None:
        """What is remembered about `topic`, as sentences."""
        asked = set(content(topic))
        kept = [text for text in self._memories(topic) if not asked or _share(asked, text) >= 0.5]
        return "\n".join(dict.fromkeys(said_to(text) for text in kept[:5])) or None

    def written(self, topic: str) -> str | None:
        """What people wrote about `topic` in conversations that are remembered."""
        asked = set(content(topic))
        kept = [text for text in self._situation.wrote if not asked or _share(asked, text) >= 0.5]
        return "\n".join(dict.fromkeys(kept[:5])) or None

    def likely_files(self, text: str) -> list[str]:
        """The files that most likely have the answer: by their names and by what they mention."""
        asked = [word for word in content(text) if len(word) > 2]
        scores: Counter[str] = Counter()
        for path in self._paths():
            named = stems(re.sub(r"[_/.-]", " ", path))
            scores[path] += 3 * sum(any(alike(word, one) for one in named) for word in asked)
        queries = self._queries(text)[:_MOST_SEARCHES]
        for query, places in zip(queries, self._searched(queries), strict=True):
            for path in {path for path, _ in places}:
                scores[path] += 3 if query[:1].isupper() else 2
        fitting = [path for path, score in scores.most_common(_MOST_FILES) if score > 0]
        return fitting or (list(scores) if len(scores) <= _FEW_FILES else [])

    def _from_files(self, text: str, files: Sequence[str], before: Sequence[str], *, named: bool) -> _Found | None:
        documents = self._documents(files) if named else self._readable(files)
        asked = question(without(text, files))
        if before:
            asked = reduce(lambda back, one: merged(one, back), [question(without(q, files)) for q in (*before, text)])
        selection = select(asked, documents)
        answered = phrased(selection) if selection else None
        listed = with_note(answered, selection) if selection and answered else None
        if listed and selection and asked.operation == "check" and unaccounted(selection):
            listed = None
        passages = [] if before else [passage for document in documents for passage in _passages(document)]
        fact = best_fact(asked.text, passages)
        sure = selection is not None and _is_sure(selection, named=named)
        if selection and listed and sure and not (fact and _tells_more(fact, selection)):
            return _Found(listed, _LOOSE if _is_loose(selection) else _SURE)
        if counted := _counted(asked, documents):
            return _Found(counted, _SURE)
        if fact and asked.operation != "list" and _is_of(asked, fact):
            return _Found(f"{closed(fact.text)} (from {fact.source})", fact.score)
        guess = listed if named else _guessed(asked, listed)
        return _Found(guess, 0.0) if guess else None

    def _documents(self, files: Sequence[str]) -> list[Document]:
        return self._desk.together(*(lambda path=path: self._desk.read(path) for path in files[:_MOST_FILES]))

    def _readable(self, files: Sequence[str]) -> list[Document]:
        """Those of the files that can be read: nobody asked for the others."""
        found = self._desk.together(*(lambda path=path: self._try(path) for path in files[:_MOST_FILES]))
        return [document for document in found if document]

    def _try(self, path: str) -> Document | None:
        try:
            return self._desk.read(path)
        except ToolFailed:
            return None

    def _from_memory(self, text: str) -> _Found | None:
        # Memories come the best and newest first; of equals the last one counts, and this conversation most.
        remembered = [Passage("memory", memory) for memory in reversed(self._situation.memories)]
        fact = best_fact(text, [*remembered, *self._told()]) or self._recalled(text)
        return _Found(said_to(fact.text), fact.score) if fact else None

    def _told(self) -> list[Passage]:
        """What was told in this conversation, without what was asked for: that is no fact."""
        said = [clause.text for who, text in self._situation.earlier if who == "user" for clause in clauses(text)]
        asks = [ask(text) for text in said]
        return [Passage("user", one.body or one.text) for one in asks if one.kind in ("statement", "remember")]

    def _recalled(self, text: str) -> Fact | None:
        try:
            return best_fact(text, [Passage("memory", memory) for memory in self._desk.recall(text)])
        except ToolFailed:
            return None

    def _memories(self, topic: str) -> list[str]:
        at_hand = list(self._situation.memories)
        try:
            return [*at_hand, *self._desk.recall(topic)]
        except ToolFailed:
            return at_hand

    def _paths(self) -> list[str]:
        try:
            return self._desk.paths()
        except ToolFailed:
            return []

    def _searched(self, queries: Sequence[str]) -> list[list[tuple[str, str]]]:
        try:
            return self._desk.together(*(lambda query=query: self._desk.search(query) for query in queries))
        except ToolFailed:
            return [[] for _ in queries]

    def _queries(self, text: str) -> list[str]:
        """What to search for: quoted words, names, then the longest words."""
        quoted = re.findall(r"(?<!\w)[\"“'`]([^\"”'`]{2,60})[\"”'`](?!\w)", text)
        names = re.findall(r"(?<!^)\b[A-Z][\w&-]*(?:\s+[A-Z][\w&-]*)*", text)
        useful = {word for word in words(text) if word not in STOP | _NO_QUERIES and len(word) > 3}
        useful = {re.sub(r"(?<=\w{4})(?:ed|ing)$", "", word) for word in useful}
        plain = sorted(useful, key=lambda word: (-len(word), word))
        wanted = [*quoted, *(name for name in names if name.casefold() not in STOP), *(stem(word) for word in plain)]
        return list({query.casefold(): query for query in reversed(wanted)}.values())[::-1]


def _passages(document: Document) -> list[Passage]:
    named = frozenset(stems(re.sub(r"[_/.-]", " ", document.path)))
    over = {
        headings: named | {one for h in headings for one in stems(h)} for _, headings in map(_parts, document.sentences)
    }
    return [Passage(document.path, text, over[headings]) for text, headings in map(_parts, document.sentences)]


def _parts(sentence: Sentence) -> tuple[str, tuple[str, ...]]:
    return sentence.text, sentence.headings


def _is_sure(selection: Selection, *, named: bool) -> bool:
    """Whether the lists are what is meant; in files that were only searched for, the topic must be said too."""
    if selection.question.operation not in _ABOUT_LISTS:
        return selection.score >= 2
    told = selection.topic >= 1 or any(f.kind == "value" for reading in selection.readings for f in reading.filters)
    return selection.score >= 1 and (named or told)


def _guessed(asked: Question, listed: str | None) -> str | None:
    """An answer from lists that may be about something else, said as such."""
    if listed is None or asked.operation not in _ABOUT_LISTS or listed.startswith(NO_DATES):
        return None
    return f"No file says that it is about {asked.noun or 'this'}. The nearest I found: {listed}"


def _tells_more(fact: Fact, selection: Selection) -> bool:
    """Whether a sentence that has all words of the question beats a list that none of its columns answers."""
    if selection.question.operation in ("max", "min"):
        return selection.question.by_date and fact.score >= 1
    if selection.states():
        return False
    return _is_loose(selection) and fact.score >= 1


def _is_loose(selection: Selection) -> bool:
    """Whether all that was found is the entry itself, none of whose columns answers."""
    return selection.question.operation == "lookup" and wanted_attribute(selection) is None


def _is_of(asked: Question, fact: Fact) -> bool:
    """Whether a sentence is about the things that are to be counted; without a count there is nothing to mistake."""
    if asked.operation != "count" or not asked.noun:
        return True
    return any(alike(stem(asked.noun.split()[-1]), one) for one in stems(fact.text))


def _share(asked: set[str], text: str) -> float:
    said = stems(text)
    return sum(any(alike(word, one) for one in said) for word in asked) / len(asked)


def _counted(asked: Question, documents: Sequence[Document]) -> str | None:
    """A number that running text gives ("We have four open deals"), or the sentences that are in the state asked for."""
    if not asked.noun or asked.operation not in _ABOUT_LISTS:
        return None
    if asked.operation != "count":
        return _sentences_listed(asked, documents)
    wanted = set(stems(asked.noun))
    for document in documents:
        for sentence in document.sentences:
            for number, thing in _COUNTED.findall(sentence.text):
                if wanted <= set(stems(thing)) or (
                    stem(asked.noun.split()[-1]) in stems(thing) and _states_fit(asked, sentence.text)
                ):
                    return f"{closed(sentence.text)} ({number} by {document.path})"
    return _sentences_listed(asked, documents)


def _states_fit(asked: Question, text: str) -> bool:
    return all(word in words(text) for word in asked.words if word in ("open", "closed", "won", "lost", "done"))


def _sentences_listed(asked: Question, documents: Sequence[Document]) -> str | None:
    """The answer over running text that has a sentence or two on each thing."""
    noun = stem(asked.noun.split()[-1])
    records = tuple(record for document in documents for record in _told_of(document, noun))
    if not any(map(state, records)):
        return None
    group = Group("list", records, (asked.noun.split()[-1],))
    selection = select(asked, [Document(documents[0].path, "", groups=(group,))])
    answered = phrased(selection) if selection else None
    return with_note(answered, selection) if selection and answered else None


def _told_of(document: Document, noun: str) -> list[Record]:
    """A record for each sentence that has the noun, with the sentences after it that go on about it."""
    told: list[Record] = []
    for sentence in document.sentences:
        if noun in stems(sentence.text):
            told.append(Record(_subject(sentence.text, noun), text=sentence.text))
        elif told and re.match(r"(?:it|its|this|they|their|the value|the amount)\b", sentence.text, re.IGNORECASE):
            told[-1] = replace(told[-1], text=f"{told[-1].text} {sentence.text}")
    return told


def _subject(text: str, noun: str) -> str:
    match = re.match(rf"^(?:the |our |a )?(.+?)\s+(?:{noun}s?\b|is\b|are\b|has\b|was\b)", text, re.IGNORECASE)
    return match[1] if match else text

"""The rules that answer: one function for each kind of ask, reading and writing through the desk."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from agent.models.offline import wording
from agent.models.offline.arithmetic import ArithmeticRefused, calculate
from agent.models.offline.asks import Ask, Kind, ask
from agent.models.offline.calendar import about_days
from agent.models.offline.charts import Charts, chart_clauses
from agent.models.offline.clauses import Clause, clauses
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.files import file_names, leads_out, resolved, similar
from agent.models.offline.numbers import amount
from agent.models.offline.records import Document
from agent.models.offline.replies import NO_KEY, closed, help_text, short_help, unable
from agent.models.offline.research import Research
from agent.models.offline.sentences import sentences
from agent.models.offline.situation import Situation
from agent.models.offline.summary import sizes, summary
from agent.models.offline.words import joined, plural
from agent.models.offline.writing import Writing

_MOST_CLAUSES = 8
_MOST_QUOTED = 4000
"""Characters of a file that are shown when it is asked for."""

_MOST_PLACES = 12
_OUTSIDE = "PATH_OUTSIDE_WORKSPACE"
"""How the workspace's error begins for a path that leads out of it."""

_READING: tuple[Kind, ...] = ("summarise", "read", "measure", "question", "replace")
_VAGUE = re.compile(
    r"\b(?:file|document|notes?|sheet|spreadsheet|report|summari[sz]e|list|read|open|show)\b", re.IGNORECASE
)
_THANKS = re.compile(r"\b(?:thank|thanks|thx|cheers|danke|merci|gracias)\b", re.IGNORECASE)


class Worker:
    """Answers one message, clause by clause."""

    def __init__(self, situation: Situation, desk: Desk) -> None:
        self._situation = situation
        self._desk = desk
        self._research = Research(situation, desk)
        self._writing = Writing(situation, desk, self._worked_out)
        self._charts = Charts(desk)
        self._answers: list[str] = []
        self._files: tuple[str, ...] = ()
        self._pointed: tuple[str, ...] = ()

    def answer(self) -> str:
        """The whole reply; raises `Wanted` while a tool's result is missing."""
        found = clauses(self._situation.message)[:_MOST_CLAUSES]
        self._pointed = self._pointed_at(found)
        chart = chart_clauses(found)
        for position, clause in enumerate(found):
            if position == chart.start and chart:
                self._answers.append(self._draw(found[chart.start : chart.stop]))
            elif position not in chart:
                self._answers.append(self._context(clause) if chart else self._one(clause))
        cut = [f"Of {path} I read only the first {size:,} characters." for path, size in self._desk.cut.items()]
        return "\n\n".join(dict.fromkeys(filter(None, [*self._answers, *cut]))) or unable()

    def _one(self, clause: Clause) -> str:
        asked = self._resolved(self._asked(clause.text), clause)
        self._files = asked.files or self._files
        try:
            return self._rule(asked.kind)(asked)
        except ToolFailed as error:
            return self._failed(asked, error)

    def _context(self, clause: Clause) -> str:
        """A clause beside one that is drawn: perhaps it only says which file, as in "There is a sales.csv here"."""
        asked = self._resolved(self._asked(clause.text), clause)
        told = asked.kind in ("statement", "question", "pointer") and "?" not in clause.text
        if told and not wording.ASKING.match(asked.text):
            self._files = asked.files or self._files
            return ""
        return self._one(clause)

    def _draw(self, found: Sequence[Clause]) -> str:
        """A chart, or where there is no table to draw, what the clauses ask for otherwise."""
        text = ". ".join(clause.text.rstrip(" .") for clause in found)
        try:
            drawn = self._charts.answer(text, self._files or self._pointed or self._earlier_files())
        except ToolFailed as error:
            return f"That did not work: {closed(str(error))}"
        return drawn or "\n\n".join(filter(None, map(self._one, found)))

    def _rule(self, kind: Kind) -> Callable[[Ask], str]:
        rules: dict[Kind, Callable[[Ask], str]] = {
            "write": self._writing.write, "append": self._writing.append, "replace": self._writing.replace,
            "move": self._writing.move, "delete": self._writing.delete, "remember": self._writing.remember,
            "recall": self._recall, "list_files": self._list_files, "find": self._find, "summarise": self._summarise,
            "read": self._read, "measure": self._measure,
            "mentioned": self._mentioned, "about": self._about, "compose": self._compose, "pointer": self._pointer,
            "smalltalk": self._smalltalk, "help": self._help, "statement": self._statement, "question": self._question,
        }  # fmt: skip
        return rules[kind]

    def _asked(self, text: str) -> Ask:
        """The ask, read with the workspace's listing where it may name a file without its extension."""
        asked = ask(text, self._situation.paths or ())
        if self._situation.paths is not None or asked.files or self._files or asked.kind not in (*_READING, "append"):
            return asked
        if not _VAGUE.search(text) or not self._desk.has("list_files"):
            return asked
        try:
            return ask(text, self._desk.paths())
        except ToolFailed:
            return asked

    def _resolved(self, asked: Ask, clause: Clause) -> Ask:
        """The ask with the files it means when it says "it" or only goes on about them."""
        if asked.files or asked.kind not in (*_READING, "append"):
            return asked
        files = self._files or self._pointed or (self._earlier_files() if _goes_on(clause) else ())
        return replace(asked, files=files, target=asked.target or (files[-1] if files else ""))

    def _pointed_at(self, found: Sequence[Clause]) -> tuple[str, ...]:
        """The files of a clause that only says where to look, as the second of: Who owns Acme? See deals.csv."""
        asks = [ask(clause.text, self._situation.paths or ()) for clause in found]
        return next((asked.files for asked in asks if asked.kind == "pointer"), ())

    def _earlier_files(self) -> tuple[str, ...]:
        known = self._situation.paths or ()
        named = (tuple(file_names(text, known)) for who, text in reversed(self._situation.earlier) if who == "user")
        return next((files for files in named if files), ())

    def _failed(self, asked: Ask, error: ToolFailed) -> str:
        """What to say when a tool failed: another spelling of the file is tried first."""
        if _OUTSIDE in str(error):
            out = [name for name in asked.files if leads_out(name)] or [*asked.files]
            return f"I cannot reach {joined(out)}: that lies outside my workspace."
        if asked.kind not in _READING or not asked.files or not self._desk.has("read_file"):
            return f"That did not work: {closed(str(error))}"
        known = self._known()
        better = tuple(resolved(name, known) for name in asked.files)
        if better != asked.files:
            return self._retried(replace(asked, files=better, target=resolved(asked.target, known)))
        missing = [name for name in asked.files if name not in known]
        return "\n".join(_missing(name, known) for name in missing) or closed(
            f"I could not read {joined([*asked.files])}: {error}"
        )

    def _retried(self, asked: Ask) -> str:
        try:
            return self._rule(asked.kind)(asked)
        except ToolFailed as error:
            return closed(f"I could not read {joined([*asked.files])}: {error}")

    def _known(self) -> list[str]:
        try:
            return self._desk.listed() if self._desk.has("list_files") else self._desk.paths()
        except ToolFailed:
            return []

    def _documents(self, files: Sequence[str]) -> list[Document]:
        return self._desk.together(*(lambda path=path: self._desk.read(path) for path in files[:5]))

    def _summarise(self, asked: Ask) -> str:
        files = asked.files or self._research.likely_files(asked.text)[:1]
        if not files:
            return self._nothing_named(asked)
        return "\n\n".join(summary(document) for document in self._documents(files))

    def _nothing_named(self, asked: Ask) -> str:
        given = sentences(asked.text.partition(":")[2])
        if len(given) > 2:
            return " ".join(given[:2])
        known = self._known()
        return "Which file do you mean?" + (f" The workspace has {joined(known)}." if known else "")

    def _read(self, asked: Ask) -> str:
        return "\n\n".join(_quoted(document) for document in self._documents(asked.files)) or self._nothing_named(asked)

    def _measure(self, asked: Ask) -> str:
        unit = asked.body if asked.body == "bytes" else asked.body.rstrip("s")
        counts = {document.path: sizes(document)[unit] for document in self._documents(asked.files)}
        return " ".join(f"{path} has {count:,} {plural(asked.body, count)}." for path, count in counts.items())

    def _question(self, asked: Ask) -> str:
        if not asked.files and (result := about_days(asked.text) or _calculated(asked.text)):
            return result
        if share := wording.SHARE_OF.match(asked.text):
            return self._share_of(share["share"], share["rest"], asked.files) or self._unanswered(asked)
        answer = self._research.answer(asked.text, asked.files)
        return answer or _calculated(asked.text) or self._unanswered(asked)

    def _share_of(self, share: str, rest: str, files: Sequence[str]) -> str | None:
        """Such as 15% of the total value of the open deals."""
        whole = self._research.number(rest, files)
        part = amount(share)
        if whole is None or part is None:
            return None
        worked_out = whole.of(whole.value * part.value / 100).shown(2)
        return f"{share}% of {whole} is {worked_out}. {self._research.answer(rest, files)}"

    def _unanswered(self, asked: Ask) -> str:
        if asked.files:
            return f"I read {joined([*asked.files])} but found no answer to “{asked.text}” in it. {short_help()}"
        return f"I found nothing about that in my memory or the workspace files. {short_help()}"

    def _list_files(self, asked: Ask) -> str:
        paths = self._desk.listed() if self._desk.has("list_files") else self._desk.paths()
        kind = re.search(r"\b(csv|markdown|md|txt|text|json|pdf|yaml|log)\b files?", asked.text, re.IGNORECASE)
        ending = {"markdown": "md", "text": "txt"}.get(kind[1].casefold(), kind[1].casefold()) if kind else ""
        shown = [path for path in paths if path.casefold().endswith(ending)]
        what = " ".join(filter(None, [ending, plural("files", len(shown))]))
        lines = "\n".join(f"- {path}" for path in shown[:100])
        return f"The workspace has {len(shown)} {what}:\n{lines}" if shown else f"The workspace has no {what} (0)."

    def _find(self, asked: Ask) -> str:
        places = self._desk.search(asked.body)
        if not places:
            return self._found_by_name(asked.body)
        paths = list(dict.fromkeys(path for path, _ in places))
        count = len(paths)
        head = f"{count} {plural('files', count)} {'mentions' if count == 1 else 'mention'} “{asked.body}”: {joined(paths)}."
        return "\n".join([head, *(f"- {path}: {line.strip()[:160]}" for path, line in places[:_MOST_PLACES])])

    def _mentioned(self, asked: Ask) -> str:
        found = [line for document in self._documents(asked.files) for line in _lines_with(document, asked.body)]
        where = joined([*asked.files])
        if not found:
            return f"No, {where} does not mention “{asked.body}”."
        return "\n".join([f"Yes, {where} mentions “{asked.body}”:", *(f"- {line[:200]}" for line in found[:5])])

    def _about(self, asked: Ask) -> str:
        return self._research.about(asked.body) or self._unanswered(asked)

    def _found_by_name(self, wanted: str) -> str:
        named = [path for path in self._known() if wanted.casefold() in path.casefold()]
        if named:
            return f"{joined(named)} {'has' if len(named) == 1 else 'have'} “{wanted}” in the name."
        return f"No file mentions “{wanted}”."

    def _recall(self, asked: Ask) -> str:
        topic = asked.body or self._situation.message
        return self._research.remembered(topic) or f"I remember nothing about {asked.body or 'that'}."

    def _worked_out(self, text: str, files: tuple[str, ...]) -> str | None:
        """The answer to a description of content, such as "the total value of the open deals in pipeline.csv"."""
        if not text:
            return next(iter(reversed(self._answers)), None)
        if summed := _worked_sum(text):
            return summed
        inner = ask(text, files)
        kind: Kind = "question" if inner.kind == "statement" else inner.kind
        if kind not in ("summarise", "question", "measure", "list_files"):
            return None
        return self._rule(kind)(replace(inner, kind=kind, files=files or inner.files))

    def _pointer(self, asked: Ask) -> str:
        """A file only pointed at: context for the rest of the message, or when there is no rest, to be looked at."""
        alone = len(clauses(self._situation.message)) == 1
        return self._summarise(asked) if alone else ""

    def _compose(self, asked: Ask) -> str:
        return unable("That takes a language model")

    def _smalltalk(self, asked: Ask) -> str:
        return "You are welcome." if _THANKS.search(asked.text) else f"Hello! {help_text()}"

    def _help(self, asked: Ask) -> str:
        return (
            f"I am a digital employee. {help_text()} With ANTHROPIC_API_KEY or OPENAI_API_KEY set I can do much more."
        )

    def _statement(self, asked: Ask) -> str:
        """Something said without asking: perhaps a sum, a topic to look up, else only news."""
        if result := _calculated(asked.text):
            return result
        if len(asked.text.split()) <= 6 and (answer := self._research.answer(asked.text, asked.files)):
            return answer
        return "" if self._answers else f"Noted. If I should keep that, say “remember that …”. {NO_KEY}."


def _goes_on(clause: Clause) -> bool:
    """Whether a clause that names no file reads as if it went on about one."""
    return clause.refers_back() or len(clause.text.split()) < 6


def _worked_sum(text: str) -> str | None:
    """Only the result, for "the result of 6*7" that is to be written somewhere."""
    try:
        found = calculate(text)
    except ArithmeticRefused:
        return None
    return str(found.result) if found else None


def _calculated(text: str) -> str | None:
    try:
        found = calculate(text)
    except ArithmeticRefused as error:
        return f"I cannot work that out: {error}."
    return f"{found.shown} = {found.result}" if found else None


def _lines_with(document: Document, text: str) -> list[str]:
    return [line.strip() for line in document.text.splitlines() if text.casefold() in line.casefold()]


def _missing(name: str, known: Sequence[str]) -> str:
    close = similar(name, known)
    if close:
        return f"I could not find {name}. The nearest I have: {joined(close)}."
    return f"I could not find {name}. " + (
        f"The workspace has {joined([*known])}." if known else "The workspace has no files."
    )


def _quoted(document: Document) -> str:
    text = document.text.strip("\n")
    tail = f"\n… ({len(text):,} characters in all)" if len(text) > _MOST_QUOTED else ""
    return f"{document.path}:\n{text[:_MOST_QUOTED]}{tail}" if text else f"{document.path} is empty."

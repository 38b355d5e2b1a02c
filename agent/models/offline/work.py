"""The rules that answer: one function for each kind of ask, reading and writing through the desk."""

import re
from collections.abc import Callable, Sequence

from agent.models.offline.arithmetic import ArithmeticRefused, calculate
from agent.models.offline.asks import Ask, ask
from agent.models.offline.clauses import Clause, clauses
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.facts import said_to
from agent.models.offline.files import file_names, similar
from agent.models.offline.records import Document
from agent.models.offline.research import Research
from agent.models.offline.sentences import sentences
from agent.models.offline.situation import Situation
from agent.models.offline.summary import summary
from agent.models.offline.words import joined, plural

_MOST_QUOTED = 4000
"""Characters of a file that are shown when it is asked for."""

_MOST_PLACES = 12

_BACK = re.compile(
    r"(?:that|it|this|them|(?:the|this|that|your) (?:result|answer|summary|list|number|total|reply)s?)", re.IGNORECASE
)
_DESCRIBED = re.compile(
    r"(?:a |an |the )?(?:\w+ )?(?:summary|list|total|sum|number|count|average|names?|overview|result)\b.{0,20}\b(?:of|from|for|in)\b",
    re.IGNORECASE,
)
"""Content that is to be worked out rather than written as it stands."""

CAN_DO = (
    "summarise, read, search, list, write and append to workspace files; count, filter, total and look up what they list; "
    "calculate; and remember and recall what you tell me"
)
NO_KEY = "No model key is configured, so I work by fixed rules"


class Worker:
    """Answers one message, clause by clause."""

    def __init__(self, situation: Situation, desk: Desk) -> None:
        self._situation = situation
        self._desk = desk
        self._research = Research(situation, desk)
        self._answers: list[str] = []
        self._files: tuple[str, ...] = ()

    def answer(self) -> str:
        """The whole reply; raises `Wanted` while a tool's result is missing."""
        for clause in clauses(self._situation.message)[:8]:
            self._answers.append(self._one(clause))
        return "\n\n".join(dict.fromkeys(filter(None, self._answers))) or _unable("")

    def _one(self, clause: Clause) -> str:
        asked = self._resolved(ask(clause.text, self._known(clause.text)), clause)
        self._files = asked.files or self._files
        try:
            return self._rules()[asked.kind](asked)
        except ToolFailed as error:
            return self._failed(asked, error)

    def _rules(self) -> dict[str, Callable[[Ask], str]]:
        return {
            "write": self._write, "append": self._append, "replace": self._replace, "remember": self._remember,
            "recall": self._recall, "list_files": self._list_files, "find": self._find, "summarise": self._summarise,
            "read": self._read, "measure": self._measure, "compose": self._compose, "delete": self._delete,
            "smalltalk": self._smalltalk, "help": self._help, "statement": self._statement, "question": self._question,
        }  # fmt: skip

    def _known(self, text: str) -> Sequence[str]:
        """The workspace listing; asked for only where the text may name a file without its extension."""
        if self._situation.paths is not None:
            return self._situation.paths
        vague = re.search(
            r"\b(?:file|document|notes?|sheet|spreadsheet|report|summari[sz]e|list)\b", text, re.IGNORECASE
        )
        return self._desk.paths() if vague and not file_names(text) and self._desk.has("list_files") else ()

    def _resolved(self, asked: Ask, clause: Clause) -> Ask:
        """The ask with the files it means when it says "it" or only goes on about them."""
        if asked.files or asked.kind not in ("summarise", "read", "measure", "question", "append", "replace"):
            return asked
        files = self._files or (self._earlier_files() if clause.refers_back() or len(clause.text.split()) < 6 else ())
        if asked.kind == "question" and not files:
            return asked
        return Ask(asked.kind, asked.text, files, asked.target or (files[-1] if files else ""), asked.body)

    def _earlier_files(self) -> tuple[str, ...]:
        known = self._situation.paths or ()
        named = (tuple(file_names(text, known)) for who, text in reversed(self._situation.earlier) if who == "user")
        return next((files for files in named if files), ())

    def _failed(self, asked: Ask, error: ToolFailed) -> str:
        name = asked.files[0] if asked.files else ""
        if asked.kind in ("summarise", "read", "measure", "question", "replace") and name:
            return self._missing(name, error)
        return f"That did not work: {_sentence(str(error))}"

    def _missing(self, name: str, error: ToolFailed) -> str:
        try:
            known = self._desk.listed() if self._desk.has("list_files") else self._desk.paths()
        except ToolFailed:
            known = []
        if name in known:
            return f"I could not read {name}: {_sentence(str(error))}"
        close = similar(name, known)
        if close:
            return f"I could not find {name}. Did you mean {joined(close)}?"
        return f"I could not find {name}. " + (
            f"The workspace has {joined(known)}." if known else "The workspace has no files."
        )

    def _documents(self, files: Sequence[str]) -> list[Document]:
        return [self._desk.read(path) for path in files[:5]]

    def _summarise(self, asked: Ask) -> str:
        if not asked.files:
            found = self._research.likely_files(asked.text)
            if not found:
                return self._nothing_named(asked)
            return "\n\n".join(summary(self._desk.read(path)) for path in found[:1])
        return "\n\n".join(summary(document) for document in self._documents(asked.files))

    def _nothing_named(self, asked: Ask) -> str:
        text = asked.text.partition(":")[2].strip()
        if len(sentences(text)) > 2:
            return " ".join(sentences(text)[:2])
        known = self._desk.paths()
        return "Which file do you mean?" + (f" The workspace has {joined(known)}." if known else "")

    def _read(self, asked: Ask) -> str:
        parts = []
        for document in self._documents(asked.files):
            text = document.text.strip("\n")
            cut = len(text) > _MOST_QUOTED
            parts.append(
                f"{document.path}:\n{text[:_MOST_QUOTED]}" + (f"\n… ({len(text)} characters in all)" if cut else "")
            )
        return "\n\n".join(parts) or self._nothing_named(asked)

    def _measure(self, asked: Ask) -> str:
        unit = asked.body.rstrip("s") if asked.body != "bytes" else "bytes"
        lines = []
        for document in self._documents(asked.files):
            count = _sizes(document)[unit]
            lines.append(f"{document.path} has {count:,} {plural(unit, count) if unit != 'bytes' else unit}.")
        return " ".join(lines)

    def _question(self, asked: Ask) -> str:
        if not asked.files and (result := self._calculated(asked.text)):
            return result
        answer = self._research.answer(asked.text, asked.files)
        return answer or self._calculated(asked.text) or self._unanswered(asked)

    def _calculated(self, text: str) -> str | None:
        try:
            found = calculate(text)
        except ArithmeticRefused as error:
            return f"I cannot work that out: {error}."
        return f"{found.shown} = {found.result}" if found else None

    def _unanswered(self, asked: Ask) -> str:
        if asked.files:
            return f"I read {joined(list(asked.files))} but found no answer to “{asked.text}” in it. {_short_help()}"
        return f"I found nothing about that in my memory or the workspace files. {_short_help()}"

    def _list_files(self, asked: Ask) -> str:
        paths = self._desk.listed() if self._desk.has("list_files") else self._desk.paths()
        if not paths:
            return "The workspace has no files (0)."
        kind = re.search(r"\b(csv|markdown|md|txt|text|json|pdf|yaml|log)\b files?", asked.text, re.IGNORECASE)
        ending = {"markdown": "md", "text": "txt"}.get(kind[1].casefold(), kind[1].casefold()) if kind else ""
        shown = [path for path in paths if path.casefold().endswith(ending)]
        what = f"{ending} {plural('files', len(shown))}" if ending else plural("files", len(shown))
        return (
            f"The workspace has {len(shown)} {what}"
            + (":\n" if shown else ".")
            + "\n".join(f"- {path}" for path in shown[:100])
        )

    def _find(self, asked: Ask) -> str:
        places = self._desk.search(asked.body)
        named = [path for path in self._desk.paths() if asked.body.casefold() in path.casefold()] if not places else []
        if named:
            return f"{joined(named)} {'has' if len(named) == 1 else 'have'} “{asked.body}” in the name."
        if not places:
            return f"No file mentions “{asked.body}”."
        paths = list(dict.fromkeys(path for path, _ in places))
        lines = [f"- {path}: {line.strip()[:160]}" for path, line in places[:_MOST_PLACES]]
        count = len(paths)
        return (
            f"{count} {plural('files', count)} {'mention' if count > 1 else 'mentions'} “{asked.body}”: {joined(paths)}.\n"
            + "\n".join(lines)
        )

    def _remember(self, asked: Ask) -> str:
        if not self._desk.has("remember"):
            return "I have no memory to keep that in here."
        self._desk.use("remember", text=asked.body)
        return f"I will remember: {said_to(asked.body)}"

    def _recall(self, asked: Ask) -> str:
        topic = asked.body or self._situation.message
        return self._research.remembered(topic) or f"I remember nothing about {asked.body or 'that'}."

    def _write(self, asked: Ask) -> str:
        new = re.match(r"(?:create|make|start)\b|.{0,20}\bnew\b", asked.text, re.IGNORECASE)
        if new and asked.target in (self._situation.paths or ()) and not self._wrote(asked.target):
            return f"{asked.target} exists already, so I left it. Say “overwrite {asked.target} with …” to replace it."
        content = self._content(asked)
        self._desk.use("write_file", path=asked.target, content=content)
        count = len(content.splitlines())
        return f"I wrote {asked.target} ({count} {plural('lines', count)}): {_preview(content)}"

    def _wrote(self, path: str) -> bool:
        return any(c.name == "write_file" and c.arguments.get("path") == path for c, _ in self._situation.done)

    def _content(self, asked: Ask) -> str:
        """What is to be written: as it was given, or worked out when it is described ("a summary of notes.md")."""
        text = self._worked_out(asked) or asked.body
        return text if not text or text.endswith("\n") else text + "\n"

    def _worked_out(self, asked: Ask) -> str | None:
        if _BACK.fullmatch(asked.body):
            return next(iter(reversed(self._answers)), None) or self._last_reply()
        if not re.match(
            r"(?:a |an |the )?(?:\w+ )?(?:summary|list|total|sum|number|count|average|names?|overview|result)\b.{0,20}\b(?:of|from|for|in)\b",
            asked.body,
            re.I,
        ):
            return None
        others = tuple(name for name in asked.files if name != asked.target)
        inner = ask(re.sub(r"^(?:a |an )", "the ", asked.body), others)
        inner = Ask(inner.kind if inner.kind != "statement" else "question", inner.text, others or inner.files)
        return (
            self._rules()[inner.kind](inner)
            if inner.kind in ("summarise", "question", "measure", "list_files")
            else None
        )

    def _last_reply(self) -> str | None:
        return next((text for who, text in reversed(self._situation.earlier) if who == "assistant"), None)

    def _append(self, asked: Ask) -> str:
        before = self._before(asked.target)
        body = self._worked_out(asked) or asked.body
        content = ("" if not before or before.endswith("\n") else "\n") + _as_item(body, before, asked.text) + "\n"
        self._desk.use("append_file", path=asked.target, content=content)
        return f"I added to {asked.target}: {_preview(content)}"

    def _before(self, path: str) -> str:
        if not self._desk.has("read_file"):
            return ""
        if self._situation.paths is not None and path not in self._situation.paths:
            return ""
        try:
            return self._desk.read(path).text
        except ToolFailed:
            return ""

    def _replace(self, asked: Ask) -> str:
        old, _, new = asked.body.partition("\x00")
        text = self._desk.read(asked.target).text
        if old not in text:
            return f"{asked.target} does not have “{old}”, so I changed nothing."
        count = text.count(old)
        self._desk.use("write_file", path=asked.target, content=text.replace(old, new))
        return f"I replaced “{old}” with “{new}” in {asked.target} ({count} {plural('places', count)})."

    def _compose(self, asked: Ask) -> str:
        return _unable("That takes a language model")

    def _delete(self, asked: Ask) -> str:
        return f"I have no tool to delete, move or rename files, so {asked.target} is as it was."

    def _smalltalk(self, asked: Ask) -> str:
        if re.search(r"\b(?:thank|thanks|thx|cheers|danke|merci|gracias)\b", asked.text, re.IGNORECASE):
            return "You are welcome."
        return f"Hello! {NO_KEY}: I can {CAN_DO}."

    def _help(self, asked: Ask) -> str:
        more = "With ANTHROPIC_API_KEY or OPENAI_API_KEY set I can do much more."
        return f"I am a digital employee. {NO_KEY}: I can {CAN_DO}. {more}"

    def _statement(self, asked: Ask) -> str:
        """Something said without asking: perhaps a sum, a topic to look up, else only news."""
        if result := self._calculated(asked.text):
            return result
        if len(asked.text.split()) <= 6 and (answer := self._research.answer(asked.text, asked.files)):
            return answer
        return "" if self._answers else f"Noted. If I should keep that, say “remember that …”. {_short_help()}"


def _as_item(body: str, before: str, text: str) -> str:
    """`body` as a list item when an item is to be added to a file that ends in a list."""
    last = next((line for line in reversed(before.splitlines()) if line.strip()), "")
    bullet = re.match(r"^(\s*[-*+]\s+(?:\[[ xX]\]\s+)?)", last)
    if (
        not bullet
        or not re.search(r"\b(?:item|entry|bullet|task|to-?do)\b", text, re.IGNORECASE)
        or body.lstrip().startswith(("-", "*"))
    ):
        return body
    return "\n".join(re.sub(r"\[[xX]\]", "[ ]", bullet[1]) + line for line in body.splitlines())


def _sizes(document: Document) -> dict[str, int]:
    text = document.text
    headings = len(document.headings)
    return {
        "line": len(text.splitlines()), "word": len(text.split()), "character": len(text),
        "letter": sum(map(str.isalpha, text)), "heading": headings, "section": headings, "sentence": len(document.sentences), "bytes": len(text.encode()),
        "paragraph": len([part for part in re.split(r"\n\s*\n", text) if part.strip()]),
    }  # fmt: skip


def _preview(content: str) -> str:
    text = " / ".join(line for line in content.splitlines() if line.strip())
    return f"“{text[:200]}{' …' if len(text) > 200 else ''}”"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _short_help() -> str:
    return f"{NO_KEY}; set ANTHROPIC_API_KEY or OPENAI_API_KEY for open questions."


def _unable(why: str) -> str:
    lead = f"{why}, and none is configured." if why else "I did not understand that."
    return f"{lead} {NO_KEY}: I can {CAN_DO}."

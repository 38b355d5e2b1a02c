"""The rules that look at files: summaries, whole texts, sizes, places where a text stands."""

import re
from collections.abc import Sequence

from agent.models.offline.asks import Ask
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.questions import question
from agent.models.offline.records import Document
from agent.models.offline.remainders import left_over
from agent.models.offline.replies import not_done
from agent.models.offline.research import Research
from agent.models.offline.sentences import sentences
from agent.models.offline.summary import sizes, summary
from agent.models.offline.words import joined, plural

_MOST_QUOTED = 4000
"""Characters of a file that are shown when it is asked for."""

_MOST_PLACES = 12


class Looking:
    """Looks at files through the desk; raises `ToolFailed` for those that cannot be read."""

    def __init__(self, desk: Desk, research: Research) -> None:
        self._desk = desk
        self._research = research

    def known(self) -> list[str]:
        """Every file that the workspace has, as far as it can be listed."""
        try:
            return self._desk.listed() if self._desk.has("list_files") else self._desk.paths()
        except ToolFailed:
            return []

    def _documents(self, files: Sequence[str]) -> list[Document]:
        return self._desk.together(*(lambda path=path: self._desk.read(path) for path in files[:5]))

    def summarise(self, asked: Ask) -> str:
        """A few lines on each file."""
        files = asked.files or self._research.likely_files(asked.text)[:1]
        if not files:
            return self.nothing_named(asked)
        return _with_rest([summary(document) for document in self._documents(files)], asked)

    def nothing_named(self, asked: Ask) -> str:
        """What to say when no file is named."""
        given = sentences(asked.text.partition(":")[2])
        if len(given) > 2:
            return " ".join(given[:2])
        known = self.known()
        return "Which file do you mean?" + (f" The workspace has {joined(known)}." if known else "")

    def read(self, asked: Ask) -> str:
        """The files themselves, long ones cut."""
        shown = [_quoted(document) for document in self._documents(asked.files)]
        return _with_rest(shown, asked) if shown else self.nothing_named(asked)

    def measure(self, asked: Ask) -> str:
        """How many lines, words or alike the files have."""
        unit = asked.body if asked.body == "bytes" else asked.body.rstrip("s")
        counts = {document.path: sizes(document)[unit] for document in self._documents(asked.files)}
        return " ".join(f"{path} has {count:,} {plural(asked.body, count)}." for path, count in counts.items())

    def emptiness(self, asked: Ask) -> str:
        """That the files hold nothing at all, where that is why a question has no answer."""
        documents = self._documents(asked.files)
        if not documents or any(document.text.strip() for document in documents):
            return ""
        where = joined([document.path for document in documents])
        verb = "is" if len(documents) == 1 else "are"
        counted = question(asked.text).operation == "count"
        return f"{where} {verb} empty, so there are none (0)." if counted else f"{where} {verb} empty."

    def list_files(self, asked: Ask) -> str:
        """Which files there are."""
        paths = self._desk.listed() if self._desk.has("list_files") else self._desk.paths()
        kind = re.search(r"\b(csv|markdown|md|txt|text|json|pdf|yaml|log)\b files?", asked.text, re.IGNORECASE)
        ending = {"markdown": "md", "text": "txt"}.get(kind[1].casefold(), kind[1].casefold()) if kind else ""
        shown = [path for path in paths if path.casefold().endswith(ending)]
        what = " ".join(filter(None, [ending, plural("files", len(shown))]))
        lines = "\n".join(f"- {path}" for path in shown[:100])
        return f"The workspace has {len(shown)} {what}:\n{lines}" if shown else f"The workspace has no {what} (0)."

    def find(self, asked: Ask) -> str:
        """Where a text stands in the files."""
        places = self._desk.search(asked.body)
        if not places:
            return self._found_by_name(asked.body)
        paths = list(dict.fromkeys(path for path, _ in places))
        count = len(paths)
        head = f"{count} {plural('files', count)} {'mentions' if count == 1 else 'mention'} “{asked.body}”: {joined(paths)}."
        return "\n".join([head, *(f"- {path}: {line.strip()[:160]}" for path, line in places[:_MOST_PLACES])])

    def mentioned(self, asked: Ask) -> str:
        """Whether the named files have a text."""
        found = [line for document in self._documents(asked.files) for line in _lines_with(document, asked.body)]
        where = joined([*asked.files])
        if not found:
            return f"No, {where} does not mention “{asked.body}”."
        return "\n".join([f"Yes, {where} mentions “{asked.body}”:", *(f"- {line[:200]}" for line in found[:5])])

    def _found_by_name(self, wanted: str) -> str:
        named = [path for path in self.known() if wanted.casefold() in path.casefold()]
        if named:
            return f"{joined(named)} {'has' if len(named) == 1 else 'have'} “{wanted}” in the name."
        return f"No file mentions “{wanted}”."


def _with_rest(shown: Sequence[str], asked: Ask) -> str:
    """What is shown, and what else the ask had that nothing was done about."""
    rest = left_over(asked.text, asked.files)
    return "\n\n".join([*shown, *([not_done(rest)] if rest else [])])


def _lines_with(document: Document, text: str) -> list[str]:
    return [line.strip() for line in document.text.splitlines() if text.casefold() in line.casefold()]


def _quoted(document: Document) -> str:
    text = document.text.strip("\n")
    tail = f"\n… ({len(text):,} characters in all)" if len(text) > _MOST_QUOTED else ""
    return f"{document.path}:\n{text[:_MOST_QUOTED]}{tail}" if text else f"{document.path} is empty."

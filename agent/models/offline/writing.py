"""The rules that change something: files written, added to, changed, moved and removed; facts remembered."""

import re
from collections.abc import Callable, Sequence

from agent.models.offline.accounting import without_remarks
from agent.models.offline.asks import Ask
from agent.models.offline.changing import edit
from agent.models.offline.commands import output_of
from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.editing import Unclear
from agent.models.offline.facts import said_to
from agent.models.offline.replies import is_result, preview
from agent.models.offline.running import printed
from agent.models.offline.situation import Situation
from agent.models.offline.words import plural

_BACK = re.compile(
    r"(?:that|it|this|them|these|those|(?:all |both )?(?:of )?(?:(?:the|this|that|these|those|your|its|their) )?"
    r"(?:whole |full |above )?(?:result|answer|summary|summarie|list|number|total|average|median|sum|count|value|figure|"
    r"output|reply|replie)s?|(?:what|everything|whatever) (?:it|that) (?:print|say|output|return|show)(?:s|ed)?)",
    re.IGNORECASE,
)
"""Content said by pointing at an answer given before."""

_DESCRIBED = re.compile(
    r"(?:a |an |the )?(?:\w+ )?(?:summary|list|total|sum|number|count|average|names?|overview|"
    r"result|median|highest|lowest)\b.{0,20}\b(?:of|from|for|in|per)\b",
    re.IGNORECASE,
)
"""Content that is to be worked out rather than written as it stands."""

_ITEM = re.compile(r"\b(?:item|entry|entries|bullet|task|to-?do)s?\b", re.IGNORECASE)


_MARKER = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?")
"""What stands before the text of a list's item."""


class Writing:
    """Writes for one message. `worked_out` answers a description of content; of "" it gives the answer before."""

    def __init__(
        self, situation: Situation, desk: Desk, worked_out: Callable[[str, tuple[str, ...]], str | None]
    ) -> None:
        self._situation = situation
        self._desk = desk
        self._worked_out = worked_out

    def write(self, asked: Ask) -> str:
        """Write a file; one that exists is replaced only when the words do not say that it is new."""
        new = re.match(r"(?:create|make|start)\b|.{0,20}\bnew\b", asked.text, re.IGNORECASE)
        if new and asked.target in (self._situation.paths or ()) and not self._wrote(asked.target):
            return f"{asked.target} exists already, so I left it. Say “overwrite {asked.target} with …” to replace it."
        content = _ended(self._content(asked) or asked.body)
        self._desk.use("write_file", path=asked.target, content=content)
        count = len(content.splitlines())
        return f"I wrote {asked.target} ({count} {plural('lines', count)}): {preview(content)}"

    def append(self, asked: Ask) -> str:
        """Add to a file, on a line of its own and as an item where the file ends in a list."""
        if not asked.target:
            return "Which file should I add that to?"
        before = self._before(asked.target)
        body = self._content(asked) or asked.body
        item = _as_item(body, before) if _is_item(asked, body, before) else body
        content = ("" if not before or before.endswith("\n") else "\n") + item + "\n"
        self._desk.use("append_file", path=asked.target, content=content)
        return f"I added to {asked.target}: {preview(content)}"

    def replace(self, asked: Ask) -> str:
        """Change a text, or what a listed entry says of itself; nothing where it is not clear which."""
        if not asked.target:
            return "I changed nothing: in which file shall I do that?"
        document = self._desk.read(asked.target)
        if document.truncated or "\ufffd" in document.text:
            return f"{asked.target} is too long or no plain text, so I changed nothing in it."
        old, _, new = asked.body.partition("\x00")
        try:
            done = edit(document, asked.form.casefold(), old, new)
        except Unclear as why:
            return f"I changed nothing in {asked.target}: {why}."
        self._put(asked.target, document.text, done.text)
        return done.said

    def _put(self, path: str, before: str, after: str) -> None:
        """Write what changed, by itself where there is a tool for that, so that nothing else can be lost."""
        changed = _difference(before, after) if self._desk.has("edit_file") else None
        if changed:
            self._desk.use("edit_file", path=path, old=changed[0], new=changed[1])
        else:
            self._desk.use("write_file", path=path, content=after)

    def move(self, asked: Ask) -> str:
        """Give a file another path."""
        if not self._desk.has("move_file"):
            return f"I have no tool to move or rename files, so {asked.target} is as it was."
        self._desk.use("move_file", path=asked.target, to=asked.body)
        return f"I moved {asked.target} to {asked.body}."

    def delete(self, asked: Ask) -> str:
        """Remove one file."""
        if not self._desk.has("remove_file"):
            return f"I have no tool to delete files, so {asked.target} is as it was."
        self._desk.use("remove_file", path=asked.target)
        return f"I deleted {asked.target}."

    def remember(self, asked: Ask) -> str:
        """Keep a fact."""
        if not self._desk.has("remember"):
            return "I have no memory to keep that in here."
        self._desk.use("remember", text=asked.body)
        return f"I will remember: {said_to(asked.body)}"

    def _wrote(self, path: str) -> bool:
        return any(c.name == "write_file" and c.arguments.get("path") == path for c, _ in self._situation.done)

    def _content(self, asked: Ask) -> str | None:
        """Content that is worked out or pointed at; None when it is to be written as it stands."""
        if _BACK.fullmatch(asked.body) and not re.search(rf"[\"“'`]{re.escape(asked.body)}[\"”'`]", asked.text):
            return self._result(asked)
        quoted = re.search(rf"[\"“']{re.escape(asked.body)}[\"”']", asked.text)
        if output_of(asked.body) and not quoted:
            return self._worked_out(asked.body, ())
        others = tuple(name for name in asked.files if name != asked.target)
        if not _DESCRIBED.match(asked.body) or not (
            others or re.search(r"\b(?:files?|workspace|our|my|the)\b", asked.body)
        ):
            return None
        return self._worked_out(re.sub(r"^(?:a|an) ", "the ", asked.body, flags=re.IGNORECASE), others)

    def _result(self, asked: Ask) -> str:
        """What was answered before; raises `ToolFailed` where that is nothing to write down."""
        before = self._last_reply() or ""
        ran = printed(before)
        found = self._worked_out("", ()) or (without_remarks(before) if ran is None else ran)
        if not found or not is_result(found):
            raise ToolFailed(f"I have no result to write into {asked.target}")
        return found

    def _last_reply(self) -> str | None:
        return next((text for who, text in reversed(self._situation.earlier) if who == "assistant"), None)

    def _before(self, path: str) -> str:
        """What the file holds now; empty when it cannot be read, as it may not exist yet."""
        known = self._situation.paths
        if not self._desk.has("read_file") or (known is not None and path not in known):
            return ""
        try:
            return self._desk.read(path).text
        except ToolFailed:
            return ""


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _difference(before: str, after: str) -> tuple[str, str] | None:
    """The whole lines that differ, before and after; None when they stand in the text more than once."""
    lines, others = before.splitlines(keepends=True), after.splitlines(keepends=True)
    first = _alike(lines, others)
    last = min(_alike(lines[::-1], others[::-1]), min(len(lines), len(others)) - first)
    old, new = "".join(lines[first : len(lines) - last]), "".join(others[first : len(others) - last])
    return (old, new) if old and before.count(old) == 1 else None


def _alike(lines: Sequence[str], others: Sequence[str]) -> int:
    """How many lines both begin with."""
    pairs = zip(lines, others, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(lines), len(others)))


def _is_item(asked: Ask, body: str, before: str) -> bool:
    """Whether what is added shall be an item: it is called so, or is put to a list with nothing else said of it."""
    if _ITEM.search(asked.form):
        return True
    if asked.form.split()[-1:] not in ([], ["the"], ["a"], ["an"], ["another"], ["new"]) or "\n" in body:
        return False
    last = _last_line(before)
    labelled = bool(re.match(r"[^:]{1,60}:\s", body)) and bool(re.match(r"[^:]{1,60}:\s", last))
    return bool(_MARKER.match(last)) and (labelled or asked.text.casefold().startswith("add"))


def _as_item(body: str, before: str) -> str:
    """`body` as a list item when the text before it ends in a list."""
    marker = _MARKER.match(_last_line(before))
    if not marker or _MARKER.match(body):
        return body
    if number := re.search(r"\d+", marker[0]):
        lines = enumerate(body.splitlines(), int(number[0]) + 1)
        return "\n".join(marker[0].replace(number[0], str(place), 1) + line for place, line in lines)
    return "\n".join(re.sub(r"\[[xX]\]", "[ ]", marker[0]) + line for line in body.splitlines())


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")

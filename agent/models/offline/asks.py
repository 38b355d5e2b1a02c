"""What each clause of a message asks for, told by its wording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.models.offline import wording
from agent.models.offline.changing import EXACTLY, is_state
from agent.models.offline.clauses import is_courtesy
from agent.models.offline.commands import command_in, runs_it, unmarked
from agent.models.offline.files import file_names, spellings

Kind = Literal[
    "write", "append", "replace", "move", "delete", "remember", "recall", "list_files", "find", "mentioned", "about",
    "summarise", "read", "measure", "compose", "pointer", "smalltalk", "help", "statement", "question", "run", "program",
]  # fmt: skip

_CLOSING = {"close": "closed", "reopen": "open", "untick": "open", "uncheck": "open"}
_LONGEST_MATCHED = 4000
"""Characters: patterns that look for the end of a clause see no more, so that a long message costs no more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing wanted. `files` are those named; `target` is what is written to, `body` what, or what is searched.

    `form` is what the text to write was called, such as item or lines.
    """

    kind: Kind
    text: str
    files: tuple[str, ...] = ()
    target: str = ""
    body: str = ""
    form: str = ""


def ask(clause: str, known: Sequence[str] = ()) -> Ask:
    """What `clause` asks for; `known` are the files of the workspace."""
    text = wording.LEAD.sub("", clause.strip())
    short = text[:_LONGEST_MATCHED]
    files = tuple(file_names(short, known))
    masked = _masked(text, files)
    return (
        _running(clause, files)
        or _writing(text, masked, files)
        or _change_there(short, files)
        or _memory(short, files)
        or _filing(short, masked[:_LONGEST_MATCHED], files)
        or _about_files(short, masked[:_LONGEST_MATCHED], files)
        or _other(short, files)
    )


def _running(clause: str, files: tuple[str, ...]) -> Ask | None:
    """A program that is there, or one that would have to be written first."""
    short = clause.strip()[:_LONGEST_MATCHED]
    if command_in(short) or runs_it(short) or unmarked(short):
        return Ask("run", short)
    return Ask("program", short) if not files and wording.PROGRAM.match(short) else None


def _writing(text: str, masked: str, files: tuple[str, ...]) -> Ask | None:
    short = masked[:_LONGEST_MATCHED]
    if not files or wording.FILE not in short:
        return None
    if change := _change(text, short, files):
        return change
    appending = not re.match(r"(?:write|put)\b(?!.*\bend of\b)", short, re.IGNORECASE)
    append = (wording.APPEND_FIRST.match(masked) or wording.APPEND_LAST.match(short)) if appending else None
    match = append or wording.WRITE_FIRST.match(masked) or wording.WRITE_LAST.match(short)
    if match is None:
        return Ask("write", text, files, files[0]) if wording.WRITE_EMPTY.match(short) else None
    if wording.COMPOSED.match(match["body"].strip()):
        return Ask("compose", text)
    form = (match.groupdict().get("form") or "").casefold()
    kind: Kind = "append" if append else "write"
    return Ask(kind, text, files, _target(match, files, masked), _body(match, masked, files, form), form)


def _change(text: str, masked: str, files: tuple[str, ...]) -> Ask | None:
    """A text or an entry's field that shall be another; `form` is the verb that says so."""
    if match := wording.CLOSE.match(masked):
        status = _CLOSING.get(match["verb"].casefold(), "done")
        return Ask("replace", text, files, files[-1], f"{_quoted(match['old'])}\x00{status}", "close")
    if match := wording.REPLACE.match(masked):
        verb, old, new = (_group(match, name) for name in ("verb", "old", "new"))
        both = _quoted(old) != old.rstrip(".") and _quoted(new) != new.rstrip(".")
        form = EXACTLY if both and verb == "replace" else verb
        return Ask("replace", text, files, files[-1], f"{_quoted(old)}\x00{_quoted(new)}", form)
    return None


def _change_there(text: str, files: tuple[str, ...]) -> Ask | None:
    """A status to be changed in a file that is not named."""
    match = None if files else wording.CHANGE_THERE.match(text)
    if match is None or not is_state(_quoted(match["new"])):
        return None
    body = f"{_quoted(match['old'])}\x00{_quoted(match['new'])}"
    return Ask("replace", text, body=body, form=match["verb"].casefold())


def _group(match: re.Match[str], name: str) -> str:
    """What the group called `name` caught, in whichever of the pattern's alternatives."""
    found = match.groupdict()
    return next((found[key] for key in found if key.rstrip("234") == name and found[key]), "").strip()


def _memory(text: str, files: tuple[str, ...]) -> Ask | None:
    if (match := wording.RECALL.match(text)) and not files:
        return Ask("recall", text, body=match["body"].strip(" ?."))
    if match := wording.REMEMBER.match(text):
        return Ask("remember", text, body=_quoted(match["body"].strip().rstrip("?")))
    return None


def _filing(text: str, masked: str, files: tuple[str, ...]) -> Ask | None:
    """Files moved or removed whole."""
    if match := wording.MOVE.match(masked):
        to = files[-1] if wording.FILE in match["to"] else match["to"]
        return Ask("move", text, files[:1], files[0], to)
    if wording.DELETE.match(masked):
        return Ask("delete", text, files, files[0])
    return Ask("compose", text, files) if wording.UNCHANGED.match(masked) else None


def _about_files(text: str, masked: str, files: tuple[str, ...]) -> Ask | None:
    if wording.SUMMARISE.search(masked) or wording.ABOUT.search(masked) or wording.COMPARE.match(masked):
        return Ask("summarise", text, files)
    if wording.COMPOSE.match(text):
        return Ask("compose", text, files)
    if files and (match := wording.MEASURE.search(masked)):
        return Ask("measure", text, files, body=match["unit"].casefold())
    return _finding(text, masked, files) or (Ask("read", text, files) if wording.READ.search(masked) else None)


def _finding(text: str, masked: str, files: tuple[str, ...]) -> Ask | None:
    if match := wording.MENTIONED.match(masked):
        return Ask("mentioned", text, files, body=_searched(match["a"] or match["b"]))
    if match := wording.TELL_ABOUT.match(text):
        return Ask("about", text, files, body=_searched(match["topic"])) if not files else None
    if not files and (match := wording.FIND.search(masked)):
        wanted = next(group for group in match.groups() if group)
        return Ask("find", text, files, body=_searched(wanted))
    return Ask("list_files", text) if not files and wording.LIST_FILES.search(masked) else None


def _other(text: str, files: tuple[str, ...]) -> Ask:
    if wording.HELP.search(text) and not files:
        return Ask("help", text)
    if is_courtesy(text):
        return Ask("smalltalk", text)
    if files and wording.POINTER.match(_masked(text, files)):
        return Ask("pointer", text, files)
    asking = files or "?" in text or wording.ASKING.match(text) or wording.SUM_OF_DIGITS.search(text)
    asking = asking or wording.ASKED_NOUN.match(text)
    return Ask("question" if asking else "statement", text, files)


def _masked(text: str, files: Sequence[str]) -> str:
    """`text` with a stand-in for each file's name, so that patterns need not know how names look."""
    for name in sorted(files, key=len, reverse=True):
        for form in spellings(name):
            text = re.sub(rf"(?<![\w/]){re.escape(form)}(?![\w/])", wording.FILE, text, flags=re.IGNORECASE)
    return text


def _target(match: re.Match[str], files: tuple[str, ...], masked: str) -> str:
    """The file that is written: the one outside of what is to be written."""
    return files[0] if masked[: match.start("body")].count(wording.FILE) else files[-1]


def _body(match: re.Match[str], masked: str, files: tuple[str, ...], form: str) -> str:
    """What is to be written, with the names of other files back in it."""
    body = match["body"].strip()
    for name in files[masked[: match.start("body")].count(wording.FILE) :]:
        body = body.replace(wording.FILE, name, 1)
    return _lines(_quoted(body), form)


def _lines(body: str, form: str) -> str:
    """`a, b and c` as lines where lines or items were asked for."""
    if "\n" in body or not re.search(r"\b(?:lines|items|entries|tasks|bullets)\b", form):
        return body
    parts = re.split(r",\s*(?:and\s+)?|\s+and\s+", body)
    return "\n".join(part.strip(" \"'“”") for part in parts if part.strip())


def _quoted(body: str) -> str:
    """What stands between quotes or a code fence when that is all there is; else the text without its full stop."""
    if fenced := re.fullmatch(r"```[\w-]*\n(.*?)\n?```\W*", body, re.DOTALL):
        return fenced[1]
    whole = re.fullmatch(r"[\"“'`](.+?)[\"”'`]\s*[.!]?", body, re.DOTALL)
    if whole and not re.search(r"[\"“”`]", whole[1]):
        return whole[1]
    return body[:-1] if body.endswith(".") and not body.endswith("..") and "\n" not in body else body


def _searched(wanted: str) -> str:
    """What to search for: the quoted part, else the words without question mark and place."""
    if quoted := re.search(r"(?<!\w)[\"“'`](.+?)[\"”'`](?!\w)", wanted):
        return quoted[1]
    plain = wording.SEARCHED_PLACE.sub("", wanted).strip(" ?.!,")
    return re.sub(r"^(?:the (?:word|text|phrase|term|name)\s+|a |an |the )", "", plain, flags=re.IGNORECASE).strip(
        " ?.!,"
    )

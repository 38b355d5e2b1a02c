"""Which files a text names, exactly or nearly."""

import difflib
import posixpath
import re
from collections.abc import Sequence

from agent.models.offline.words import contains_phrase, stem, word_set, words

_NAME = re.compile(r"(?<![\w@/.:-])((?:\.{1,2}/|/)*(?:[\w-]+/)*[\w][\w.-]*\.[A-Za-z][A-Za-z0-9]{0,7})\b(?![@/])")
_LED = re.compile(
    r"(?<![\w@/.:~-])((?:\.{1,2}|~)/[\w./~-]*|/[\w.-]+/[\w./-]*|[\w-]+(?:/[\w.-]+)*/\.\./[\w./-]*|\.\.(?=[\s?!,;]|$))"
)
"""Paths that are known as such by how they lead: up, from the root or home, whatever their last part looks like."""

_ABSOLUTE = re.compile(
    r"\b(?:read|open|show|cat|print|display|view|file|folder|directory|path|summari[sz]e|in|from|of|to|me|us|at|inside|into)\s+[\"'`“]?(/[\w.-]+)(?![\w./-])",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"'`“‘]([^\"'`“”‘’\n]{1,120}?\.[A-Za-z][A-Za-z0-9]{0,7})[\"'`”’]")
_DOMAINS = word_set("""com org net io de fr es co uk eu ai app dev gov edu info biz us ch at it nl""")
_ABBREVIATIONS = frozenset(("e.g", "i.e", "z.b", "a.m", "p.m", "d.h", "u.s", "u.k"))


def file_names(text: str, known: Sequence[str] = ()) -> list[str]:
    """The files that `text` names, in order, those of `known` by their path; a name need not exist."""
    written = [match[1] for match in _QUOTED.finditer(text)] + [match[1] for match in _NAME.finditer(text)]
    by_lower = {path.casefold(): path for path in known}
    found = [name for name in written if name.casefold() in by_lower or _is_file(name)]
    found += [name for name in _led(text) if name not in found]
    exact = [path for path in known if " " in path and path.casefold() in text.casefold()]
    names = [resolved(name, known) for name in sorted([*exact, *found], key=text.find)]
    whole = [name for name in names if not any(name != other and other.endswith(" " + name) for other in names)]
    return list(dict.fromkeys(whole)) or _by_stem(text, known)


def leads_out(path: str) -> bool:
    """Whether `path` leads out of the folder that it starts in, or does not start there at all."""
    return path.startswith("/") or posixpath.normpath(path).split("/")[0] == ".."


def resolved(name: str, known: Sequence[str]) -> str:
    """`name` as the workspace has it: by its path, else by its last part, whatever the case; else as it is."""
    lower = name.casefold() if leads_out(name) else posixpath.normpath(name.casefold())
    for path in known:
        if path.casefold() == lower:
            return path
    ends = [path for path in known if path.casefold().rpartition("/")[2] == lower]
    return ends[0] if len(ends) == 1 else name.removeprefix("./")


def similar(name: str, known: Sequence[str], most: int = 5) -> list[str]:
    """Those of `known` that look like `name`, the likeliest first; all when there are few."""
    base = name.rpartition("/")[2].casefold()
    by_base = {path: path.rpartition("/")[2].casefold() for path in known}
    stems = {path: lower.partition(".")[0] for path, lower in by_base.items()}
    ranked = sorted(known, key=lambda p: _likeness(base, by_base[p], stems[p]), reverse=True)
    close = [path for path in ranked if _likeness(base, by_base[path], stems[path]) > 0.5]
    return close[:most] or (ranked if len(ranked) <= most else [])


def spellings(name: str) -> tuple[str, ...]:
    """The file's name as a text may have it: the path, or its last part where that is surely a file's name."""
    last = name.rpartition("/")[2]
    return (name, last) if "." in last.strip(".") and last != name else (name,)


def without(text: str, names: Sequence[str]) -> str:
    """`text` without the file names in it and the words that only introduce them."""
    for name in sorted(names, key=len, reverse=True):
        for form in spellings(name):
            quoted = rf"[\"'`“‘]?{re.escape(form)}[\"'`”’]?"
            text = re.sub(
                rf"(?:\b(?:in|from|of|using)\s+)?(?:\bthe\s+)?(?:\bfile\s+)?{quoted}(?:\s+file\b)?(?:'s\b)?",
                " ",
                text,
                flags=re.IGNORECASE,
            )
    return " ".join(text.split())


def _led(text: str) -> list[str]:
    found = [match[1] for pattern in (_LED, _ABSOLUTE) for match in pattern.finditer(text)]
    trimmed = [name if name == ".." else name.rstrip(".") or name for name in found]
    return [name for name in trimmed if name.strip("./~") or leads_out(name)]


def _likeness(base: str, other: str, other_stem: str) -> float:
    contained = base.partition(".")[0] in other_stem or other_stem in base
    return max(difflib.SequenceMatcher(None, base, other).ratio(), 0.8 if contained else 0.0)


def _is_file(name: str) -> bool:
    extension = name.rpartition(".")[2].casefold()
    return name.casefold() not in _ABBREVIATIONS and (extension not in _DOMAINS or "/" in name)


def _by_stem(text: str, known: Sequence[str]) -> list[str]:
    """Known files said without their extension, as in "the meeting notes" for meeting-notes.md."""
    said = [stem(word) for word in words(text)]
    found = []
    for path in known:
        base = [stem(word) for word in words(path.rpartition("/")[2].rpartition(".")[0].replace("_", " "))]
        if sum(map(len, base)) >= 4 and contains_phrase(said, base) and _introduced(text, base):
            found.append(path)
    return found if len(found) <= 3 else []


def _introduced(text: str, base: Sequence[str]) -> bool:
    """Whether the words stand where a file does: "in the notes", "the notes file", "summarise the notes"."""
    name = r"[\s_-]+".join(re.escape(word) + r"\w{0,3}" for word in base)
    before = rf"\b(?:in|from|of|summari[sz]e|read|open|show|inside|check)\s+(?:the|my|our|your|this|that)?\s*{name}\b"
    after = rf"\b{name}\s+(?:file|document|doc|sheet|spreadsheet|csv|table|list)\b"
    return bool(re.search(f"{before}|{after}", text, re.IGNORECASE))

"""What it means to change something that a file lists: an entry's status or value, or a text wherever it stands.

"Change Acme to closed" is about the deal's status, not about its name. What may mean either is not done, but asked back.
"""

import re
from collections.abc import Callable

from agent.models.offline.editing import Edit, Unclear, records, with_box, with_value
from agent.models.offline.numbers import amount
from agent.models.offline.records import Document, Record
from agent.models.offline.states import has_state, is_state_word, labelled_state, state
from agent.models.offline.tables import NUMBERING
from agent.models.offline.vocabulary import GENERIC_DONE, GENERIC_OPEN, NEGATIONS, family, is_attribute, rephrased
from agent.models.offline.words import STOP, contains_phrase, joined, plural, words

EXACTLY = "exactly"
"""The verb of a replacement whose two texts were given in quotes: they are taken as they stand."""

_TEXT_VERBS = ("replace", "swap", "rename")
_SETTING = ("set", "mark", "flag", "switch", "move", "close", "reopen", "complete", "finish", "tick", "untick")
"""Verbs that are said of an entry only, never of a text."""

_THING = re.compile(
    r"^(?:the |my |our |this |that )+|"
    r"\s+(?:deal|entry|item|task|order|row|ticket|opportunity|account|lead|contract|project|todo|to-do|line)$",
    re.IGNORECASE,
)
_OF = re.compile(r"^(?:the )?(?P<label>[\w -]+?) (?:of|for) (?P<entry>.+)$", re.IGNORECASE)
_OWN = re.compile(r"^(?P<entry>.+?)(?:['’]s?)? (?P<label>[\w-]+)$", re.IGNORECASE)
_FROM = re.compile(r"^(?P<entry>.+?) from (?P<old>[\w €$£.,-]+)$", re.IGNORECASE)
_MOST_STATE_WORDS = 3


def edit(file: Document, verb: str, old: str, new: str) -> Edit:
    """`file` with `old` made `new`, as `verb` says; raises `Unclear` when that could mean more than one thing."""
    if verb == EXACTLY:
        return _replaced(file, old, new, whole=False)
    entry, label = _told_apart(file, old)
    if verb not in _TEXT_VERBS and label:
        return _with_field(file, entry, label, new)
    named = _entries(file, entry)
    stately = is_state(new, file)
    if verb in _TEXT_VERBS:
        if named and stately and verb != "rename":
            raise Unclear(_either(file, named[0], new))
        return _replaced(file, old, new)
    if stately and not is_state(old, file):
        return _with_status(file, entry, new)
    if named and amount(new):
        return _with_amount(file, _one(file, named, entry), new)
    if verb in _SETTING or any(map(_places, named)) or (amount(new) and not re.search(r"\d", old)):
        raise Unclear(_either(file, named[0], new) if named else f"it lists no entry called “{entry}”")
    return _replaced(file, old, new)


def is_state(text: str, file: Document | None = None) -> bool:
    """Whether `text` is a status: words for one, or what the file itself has for one."""
    said = words(rephrased(text.casefold()))
    known = [word for word in said if is_state_word(word)]
    if known and len(said) <= _MOST_STATE_WORDS and all(w in known or w in STOP or w in NEGATIONS for w in said):
        return True
    return file is not None and any(labelled_state(record) == text.casefold() for record in records(file))


def _told_apart(file: Document, text: str) -> tuple[str, str]:
    """The entry that `text` names and the label of the field that it means, "" when it says none."""
    if match := _FROM.match(text):
        text = match["entry"]
    for pattern in () if _entries(file, _bare(text)) else (_OF, _OWN):
        match = pattern.match(text)
        if match and is_attribute(match["label"]) and not _THING.search(" " + match["label"]):
            return _bare(match["entry"]), match["label"].casefold()
    return _bare(text), ""


def _bare(text: str) -> str:
    return _THING.sub("", text.strip(" \"'“”`")).strip(" \"'“”`") or text


def _entries(file: Document, name: str) -> list[Record]:
    """Those that are called `name`, or have it as their number."""
    wanted = words(name)
    return [record for record in records(file) if wanted and wanted in _callings(record)]


def _callings(record: Record) -> list[list[str]]:
    return [words(record.name), words(_bare(record.name)), *(words(v) for k, v in record.fields if k in NUMBERING)]


def _alike(file: Document, name: str) -> list[Record]:
    """Those called `name`, else those that have it in their names."""
    wanted = words(name)
    return _entries(file, name) or [one for one in records(file) if contains_phrase(words(one.name), wanted)]


def _one(file: Document, found: list[Record], name: str) -> Record:
    if not found:
        raise Unclear(f"it lists no entry called “{name}”")
    if len(found) > 1:
        several = joined([one.text for one in found], 5)
        raise Unclear(f"it lists more than one entry that “{name}” may mean: {several}")
    return found[0]


def _with_status(file: Document, name: str, new: str) -> Edit:
    found = _alike(file, name)
    entry = _one(file, [one for one in found if _places(one) or one.done is not None] or found, name)
    before = state(entry)
    if words(before) == words(new) or (entry.done is not None and _ticked(new) is entry.done):
        raise Unclear(f"{entry.name} is {before} already")
    places = _places(entry)
    if entry.done is not None:
        text = with_box(file, entry, ticked=_ticked(new)) if not places else ""
    elif len(places) == 1:
        text = with_value(file, entry, places[0], new)
    else:
        text = ""
    if not text:
        raise Unclear(_no_place(entry))
    return _edited(file, text, f"set {entry.name} from {before} to {new}")


def _ticked(status: str) -> bool:
    """Whether `status` is a tick in a box; a box cannot tell won from lost."""
    said = words(rephrased(status.casefold()))
    meant = {word for word in said if is_state_word(word)}
    if not meant or not meant <= GENERIC_DONE | GENERIC_OPEN or set(said) & NEGATIONS:
        raise Unclear(f"a box can be ticked or not, but not say “{status}”")
    return bool(meant & GENERIC_DONE)


def _places(record: Record) -> list[int]:
    """The numbers of the fields that give the record's status: the labelled one, or short parts that are a state."""
    fields = list(enumerate(record.fields))
    if labelled := [i for i, (key, value) in fields if key and value and family(key) == "status"]:
        return labelled
    short = [i for i, (key, value) in fields[1:] if not key and len(words(value)) <= _MOST_STATE_WORDS]
    return [i for i in short if has_state(record.fields[i][1]) and amount(record.fields[i][1]) is None]


def _no_place(entry: Record) -> str:
    over = next((heading for heading in reversed(entry.headings) if has_state(heading)), "")
    if over and not _places(entry) and entry.done is None:
        return f"{entry.name} stands under “{over}”, and I do not move entries between sections"
    if len(_places(entry)) > 1 or entry.done is not None:
        return f"it gives the status of {entry.name} in more than one place (“{entry.text}”)"
    return f"it gives {entry.name} no status of its own (“{entry.text}”)"


def _with_amount(file: Document, entry: Record, new: str) -> Edit:
    numeric = [i for i, (key, value) in enumerate(entry.fields) if amount(value) and key not in NUMBERING]
    if len(numeric) != 1:
        raise Unclear(f"I cannot tell which number of {entry.name} shall be {new}: name the field as well")
    text = with_value(file, entry, numeric[0], new)
    return _edited(file, text, f"changed {entry.name} from {entry.fields[numeric[0]][1]} to {new}")


def _with_field(file: Document, name: str, label: str, new: str) -> Edit:
    """With the field that `label` names, such as the owner of an entry, made `new`."""
    if family(label) == "status":
        return _with_status(file, name, new)
    holds = _called(label)
    found = _alike(file, name)
    entry = _one(file, [one for one in found if any(holds(key) for key, _ in one.fields)] or found, name)
    places = [i for i, (key, _) in enumerate(entry.fields) if holds(key)]
    if not places and family(label) == "value":
        return _with_amount(file, entry, new)
    if len(places) != 1:
        raise Unclear(f"{entry.name} has no field that is surely its {label} (“{entry.text}”)")
    text = with_value(file, entry, places[0], new)
    return _edited(file, text, f"changed the {label} of {entry.name} from {entry.fields[places[0]][1]} to {new}")


def _called(label: str) -> Callable[[str], bool]:
    return lambda key: key != "" and (key == label or (family(key) is not None and family(key) == family(label)))


def _either(file: Document, entry: Record, new: str) -> str:
    return (
        f"{entry.name} is an entry of it, so I cannot tell whether to rename it or to change one of its fields. Say "
        f"“rename {entry.name} to {new} in {file.path}”, or “set the status of {entry.name} to {new} in {file.path}”"
    )


def _replaced(file: Document, old: str, new: str, *, whole: bool = True) -> Edit:
    """With every `old` made `new`; `whole` leaves it alone inside longer words and numbers."""
    pattern = rf"(?<!\w)(?<!\d[.,]){re.escape(old)}(?!\w)(?![.,]\d)" if whole else re.escape(old)
    text, count = re.subn(pattern, lambda _: new, file.text)
    if not count:
        inside = " as a word of its own; put both texts in quotes to change it inside of words" * (old in file.text)
        raise Unclear(f"it does not have “{old}”{inside}")
    return Edit(text, f"I replaced “{old}” with “{new}” in {file.path} ({count} {plural('places', count)}).")


def _edited(file: Document, text: str, done: str) -> Edit:
    line = next((b for a, b in zip(file.text.splitlines(), text.splitlines(), strict=False) if a != b), "")
    return Edit(text, f"In {file.path} I {done}: {line.strip()[:200]}")

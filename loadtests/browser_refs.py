"""What stands in a snapshot: words, refs of elements, and which of these can be acted on."""

import re
from collections.abc import Iterable

_ROLES = (
    "link|button|textbox|searchbox|checkbox|radio|combobox|listbox|spinbutton|slider|switch|tab|menuitem|menuitemcheckbox"
    "|menuitemradio|treeitem"
)
_NAME = r'(?: "(?:[^"\\]|\\.)*")?'
_STATES = r"(?: \[(?!ref=)[^\]]*\])*"
_ACTIONABLE = re.compile(rf"\b(?:{_ROLES})\b{_NAME}{_STATES} \[ref=([^\]]+)\]")


def actionable_refs(text: str) -> set[str]:
    """The refs of all elements that can be acted on."""
    return set(_ACTIONABLE.findall(text))


def missing_words(text: str, words: Iterable[str]) -> list[str]:
    """Those of the words that are nowhere in the snapshot."""
    read = text.replace('\\"', '"')  # as quoted texts have it
    return [word for word in words if word not in read]


def ref_named(text: str, name: str) -> str:
    """The ref of the button of this name; raises LookupError."""
    found = re.search(rf'\bbutton "{re.escape(name)}"{_STATES} \[ref=([^\]]+)\]', text)
    if found is None:
        raise LookupError(f"the snapshot has no button {name!r}")
    return found[1]

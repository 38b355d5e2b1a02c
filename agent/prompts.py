"""Text that came from outside, marked as data before a model reads it, and read back from such marks."""

import re
from dataclasses import dataclass
from html import escape, unescape

_BLOCK = re.compile(r'<data kind="([^"]*)"((?: [a-z_]+="[^"]*")*)>\n(.*?)\n</data>', re.DOTALL)
_ATTRIBUTE = re.compile(r'([a-z_]+)="([^"]*)"')
_MARK = re.compile(r"<(?=/?data\b)", re.IGNORECASE)
_UNMARK = re.compile(r"&lt;(?=/?data\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DataBlock:
    """One marked piece: its `kind` (message, memory, file, result …), attributes such as `source`, and the text itself."""

    kind: str
    attributes: dict[str, str]
    text: str


def mark(kind: str, text: str, **attributes: str) -> str:
    """Mark `text` as data of this `kind`, so that nothing in it can end the mark or open another."""
    described = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f'<data kind="{escape(kind)}"{described}>\n{_MARK.sub("&lt;", text)}\n</data>'


def blocks(text: str) -> list[DataBlock]:
    """Every piece of `text` that `mark()` made, in order."""
    return [
        DataBlock(unescape(kind), {k: unescape(v) for k, v in _ATTRIBUTE.findall(rest)}, _UNMARK.sub("<", body))
        for kind, rest, body in _BLOCK.findall(text)
    ]

"""Where sentences begin and end."""

import re
from itertools import pairwise

_END = re.compile(r"(?:(?<![.!?…])[.!?…]+[\"'”’)\]]*(?=\s+[\"'“(\[]?[\w¿¡@#€$£&/-])|\n+)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|approx|incl|excl|no|nr|st|mr|mrs|ms|dr|prof|inc|ltd|co|corp|dept|fig|z\.b|bzw|ca)|\b[A-Z])\.$",
    re.IGNORECASE,
)


def spans(text: str) -> list[tuple[int, int]]:
    """Start and end of every sentence of `text`, line breaks ending one too, without the white space around."""
    ends = [m.end() for m in _END.finditer(text) if m[0].startswith("\n") or not _inside(text, m)]
    trimmed = (_trim(text, start, end) for start, end in pairwise([0, *ends, len(text)]))
    return [(start, end) for start, end in trimmed if end > start]


def sentences(text: str) -> list[str]:
    """The sentences of `text`."""
    return [text[start:end] for start, end in spans(text)]


def _inside(text: str, match: re.Match[str]) -> bool:
    """Whether the full stop belongs to an abbreviation, as in "e.g. this"."""
    before = text[max(0, match.start() - 8) : match.start() + 1]
    after = text[match.end() :].lstrip()[:1]
    return (
        match[0].startswith(".")
        and bool(_ABBREVIATION.search(before))
        and not (after.isupper() and before[-2:-1].isdigit())
    )


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))

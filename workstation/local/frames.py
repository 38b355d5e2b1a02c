"""What an interpreter says: frames of JSON from untrusted code, checked before anything is believed.

`ValueError`, `TypeError` and `KeyError` stand for all that is no frame of ours.
"""

import base64
import json
from typing import Any

from workstation.interface import RichResult, SessionError

OVERHEAD = 1 << 20
"""Bytes that a frame may have beyond its results, encoded."""
_ERROR_CHARACTERS = 64 << 10
_MOST_MARKS = 1_000
"""Commas and brackets in a frame that is larger than any error: results are few and encoded, they have no more."""


def parsed(frame: bytes) -> dict[str, Any]:
    """A frame, if it takes no longer to read than an honest one; raises `ValueError`."""
    if len(frame) > OVERHEAD and sum(map(frame.count, (b"[", b"{", b","))) > _MOST_MARKS:
        raise ValueError("no frame of ours")
    content: dict[str, Any] = json.loads(frame)
    return content


def rich(given: Any, most: int) -> RichResult:
    """A result as the interpreter sent it; raises `ValueError` or `TypeError` for anything else."""
    data = tuple((kind[:200], base64.b64decode(content, validate=True)) for kind, content in given)
    if not data or sum(len(content) for _, content in data) > most:
        raise ValueError("no result, or a larger one than was allowed")
    return RichResult(data=data)


def error(given: Any) -> SessionError:
    """An exception as the interpreter described it, cut to some length."""
    name, message, trace = (given[key][:_ERROR_CHARACTERS] for key in ("name", "message", "traceback"))
    if not all(isinstance(text, str) for text in (name, message, trace)):
        raise ValueError("no error of ours")
    return SessionError(name=name, message=message, traceback=trace)

r"""Paths as text: how the bytes that name a file become text that is safe to show, and back.

A name on disk is any bytes without `/` and NUL. As text, bytes that are UTF-8 and characters that print stand for
themselves; all else is an escape: `\xHH` (a byte that is not UTF-8, or an ASCII control character), `\uHHHH` and
`\UHHHHHHHH` (other characters that do not print), `\\` (a backslash). `decode(encode(raw)) == raw` for all bytes.
"""

import re

from workstation.errors import InvalidPath, PathOutsideWorkspace

ROOT = "."
"""The path of the workspace itself."""

_ESCAPE = re.compile(r"\\(\\|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.?)", re.DOTALL)


def encode(raw: bytes) -> str:
    """Write a name, a path or a link's target as text."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def decode(text: str) -> bytes:
    """Turn text into the bytes it stands for; raises `InvalidPath` for a bad escape or a lone surrogate."""
    try:
        if "\\" not in text:
            return text.encode("utf-8")
        return _decode_escapes(text)
    except (UnicodeEncodeError, ValueError, OverflowError) as error:
        raise InvalidPath(f"not a path, {error}: {show(text)}", path=show(text)) from error


def show(text: str) -> str:
    """Make text that somebody else wrote, such as a path that is none, safe to show; bounded."""
    return encode(text[:4096].encode("utf-8", "replace"))


def resolve(path: str, *, limit: int = 4095) -> bytes:
    """Turn a path into clean bytes relative to the root: no empty, `.` or `..` names; the root itself is `b"."`.

    `limit` bounds the result in bytes. Raises `InvalidPath` and `PathOutsideWorkspace`.
    """
    if len(path) > 10 * limit:  # ten characters, `\UHHHHHHHH`, are the longest way to write one
        raise InvalidPath(f"the path is longer than {limit} bytes", path=show(path))
    raw = decode(path)
    if not raw or b"\0" in raw:
        raise InvalidPath(f"not a path: {show(path)!r} (the workspace itself is {ROOT!r})", path=show(path))
    if raw.startswith(b"/"):
        raise PathOutsideWorkspace(f"paths are relative to the workspace, not absolute: {show(path)}", path=show(path))
    clean = b"/".join(_names(raw, path)) or b"."
    if len(clean) > limit:
        raise InvalidPath(f"the path is longer than {limit} bytes", path=show(path))
    return clean


def split(path: bytes) -> tuple[bytes, bytes]:
    """Split a resolved path into its directory (`b"."` at the top) and its last name."""
    directory, _, name = path.rpartition(b"/")
    return directory or b".", name


def join(directory: bytes, name: bytes) -> bytes:
    """Put a name below a resolved directory."""
    return name if directory == b"." else directory + b"/" + name


def _names(raw: bytes, path: str) -> list[bytes]:
    names: list[bytes] = []
    for name in raw.split(b"/"):
        if name == b"..":
            if not names:
                raise PathOutsideWorkspace(f"leads out of the workspace: {show(path)}", path=show(path))
            names.pop()
        elif name not in (b"", b"."):
            names.append(name)
    return names


def _escaped(char: str) -> str:
    code = ord(char)
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:  # what surrogateescape makes of a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _decode_escapes(text: str) -> bytes:
    parts: list[bytes] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        parts += [text[end : escape.start()].encode("utf-8"), _unescaped(escape[1])]
        end = escape.end()
    return b"".join([*parts, text[end:].encode("utf-8")])


def _unescaped(body: str) -> bytes:
    if body == "\\":
        return b"\\"
    if body[:1] not in ("x", "u", "U") or len(body) < 3:
        raise ValueError(f"unknown escape \\{body} (a backslash is written \\\\)")
    code = int(body[1:], 16)
    raw = bytes([code]) if body[0] == "x" else chr(code).encode("utf-8")
    if raw in (b"/", b"\0"):
        raise ValueError("an escaped slash or NUL")
    return raw

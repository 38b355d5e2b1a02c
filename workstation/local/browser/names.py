"""Names for files that somebody else proposed, made safe to use and to show."""

import os

_MOST_BYTES = 255
_MOST_SUFFIX_BYTES = 32
_SPARE_BYTES = 8
"""Room for the number that tells apart files of the same name."""
_RESERVED = frozenset(("con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))))


def safe_name(proposed: str) -> str:
    """The last name of a path: printable, without separators and leading dots, of at most 255 bytes with a number."""
    printed = "".join(
        "_" if char in '/\\<>:"|?*' else char for char in proposed[: 4 * _MOST_BYTES] if char.isprintable()
    )
    name = printed.encode("utf-8", "ignore").decode().strip(" .") or "download"
    stem, suffix = _parts(name)
    if stem.partition(".")[0].strip().lower() in _RESERVED:  # no file on Windows, where a workspace may be copied to
        stem = f"_{stem}"
    return _cut(stem, _MOST_BYTES - _SPARE_BYTES - len(suffix.encode())) + suffix


def numbered(name: str, number: int) -> str:
    """The name for the file of that `number`, from 1, among those of the same safe name."""
    stem, suffix = _parts(name)
    return name if number == 1 else f"{stem} ({number}){suffix}"


def _parts(name: str) -> tuple[str, str]:
    stem, suffix = os.path.splitext(name)
    if stem.lower().endswith(".tar"):
        stem, suffix = stem[:-4], stem[-4:] + suffix
    return (stem, suffix) if len(suffix.encode()) <= _MOST_SUFFIX_BYTES else (name, "")


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode("utf-8", "ignore").rstrip(" .")

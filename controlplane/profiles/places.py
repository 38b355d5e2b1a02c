"""Where each key and each value stands in a TOML or JSON text, which the parsers of these do not tell."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator

from controlplane.profiles.fields import Path

_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_TEXT = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:\\.|[^"\\])*"|' r"'[^']*'", re.DOTALL)
_BARE = re.compile(r"[^,\]}#\n]*")
_NAME = re.compile(r'"(?:\\.|[^"\\])*"|' r"'[^']*'|[\w-]+")


class Places:
    """The offsets of all keys and values of a text that its parser has accepted.

    `repeated` are the keys that JSON's parser lets stand twice, at their second place. Raises RecursionError for a text
    that is nested more deeply than anything that people write.
    """

    def __init__(self, text: str, *, is_json: bool) -> None:
        self._text, self._at = text, 0
        self._quoted: Callable[[str], str] = json.loads if is_json else _toml_text
        self._keys: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}
        self.repeated: list[Path] = []
        if is_json:
            self._skip(_BLANK)
            self._value(())
        else:
            self._statements()

    def of(self, path: Path, *, key: bool = False) -> int:
        """The offset of the value at `path`, or of its key; of the nearest table around it when it is not there."""
        kinds = (self._keys, self._values) if key else (self._values, self._keys)
        around = [path[:length] for length in range(len(path), -1, -1)]
        return next((kind[place] for place in around for kind in kinds if place in kind), 0)

    def _statements(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._take("[[") or self._take("["):
                is_element = self._text[self._at - 2 : self._at] == "[["
                table = self._header(is_element=is_element)
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self, *, is_element: bool) -> Path:
        """The table that the header opens: a table by its name is in the last element of each list on the way."""
        path: Path = ()
        for name, at in self._names():
            path = self._last_element((*path, name))
            self._keys.setdefault(path, at)
        if is_element:
            path = path[:-1] if isinstance(path[-1], int) else path
            self._elements[path] = self._elements.get(path, -1) + 1
            path = self._last_element(path)
            self._keys[path] = at
        while self._take("]"):
            pass
        return path

    def _last_element(self, path: Path) -> Path:
        return (*path, self._elements[path]) if path in self._elements else path

    def _pair(self, table: Path) -> None:
        path = table
        for name, at in self._names():
            path = (*path, name)
            self._keys.setdefault(path, at)
        if path in self._values:
            self.repeated.append(path)
            self._keys[path] = at
        self._skip(_BLANK)
        assert self._take("=") or self._take(":")
        self._skip(_BLANK)
        self._value(path)

    def _names(self) -> Iterator[tuple[str, int]]:
        """The names of a key with dots, each with its offset."""
        while True:
            self._skip(_SPACE)
            at = self._at
            written = self._skip(_NAME)
            yield (self._quoted(written) if written[0] in "\"'" else written), at
            self._skip(_SPACE)
            if not self._take("."):
                return

    def _value(self, path: Path) -> None:
        self._values[path] = self._at
        if self._take("["):
            for i in self._until("]"):
                self._value((*path, i))
        elif self._take("{"):
            for _ in self._until("}"):
                self._pair(path)
        elif not self._skip(_TEXT):
            self._skip(_BARE)

    def _until(self, end: str) -> Iterator[int]:
        """Number what stands up to `end`, between commas."""
        count = 0
        self._skip(_BLANK)
        while not self._take(end):
            yield count
            count += 1
            self._skip(_BLANK)
            self._take(",")
            self._skip(_BLANK)

    def _take(self, mark: str) -> bool:
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) if found else 0
        return found

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        self._at += len(found[0]) if found else 0
        return found[0] if found else ""


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Both counted from one, the column in characters."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _toml_text(written: str) -> str:
    text: str = tomllib.loads(f"text = {written}")["text"]
    return text

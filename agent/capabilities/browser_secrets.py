"""Passwords that were typed into pages, so that no answer tells them: a page may show them anywhere, in its address too."""

import re
from collections import OrderedDict
from html import escape
from urllib.parse import quote, quote_plus

from pydantic import BaseModel

from agent.capabilities.base import MARKED

HIDDEN = "[hidden]"
_MOST = 200
_ATTRIBUTE = re.compile(r'( (?!kind=)[a-z_]+=)"([^"]*)"')
_SHORTEST = 4
"""Shorter ones stand in too many words."""


class TypedPasswords:
    """The latest passwords, for as long as this process lives."""

    def __init__(self) -> None:
        self._spellings: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def add(self, password: str) -> None:
        """Remember one."""
        if len(password) < _SHORTEST:
            return
        spellings = {password, quote(password, safe=""), quote(password), quote_plus(password), escape(password)}
        self._spellings[password] = tuple(sorted(spellings, key=len, reverse=True))
        self._spellings.move_to_end(password)
        if len(self._spellings) > _MOST:
            self._spellings.popitem(last=False)

    def hidden_in(self, result: BaseModel) -> BaseModel:
        """The result, with none of them in what a page says."""
        if (said := getattr(result, MARKED, None)) is None:
            return result
        return result.model_copy(update={MARKED: self.hide_in(said)})

    def hide_in(self, text: str) -> str:
        """`text` without any of them; marks in it, which `agent.prompts.mark` wrote, stay marks."""
        if not self._spellings:
            return text
        return "\n".join(map(self._hide_in_line, text.split("\n")))

    def _hide_in_line(self, line: str) -> str:
        if line == "</data>":
            return line
        if line.startswith("<data "):
            return _ATTRIBUTE.sub(lambda found: f'{found[1]}"{self._hide(found[2])}"', line)
        return self._hide(line)

    def _hide(self, text: str) -> str:
        for password in sorted(self._spellings, key=len, reverse=True):
            for spelling in self._spellings[password]:
                text = text.replace(spelling, HIDDEN)
        return text

"""Dialogs: the page waits in one until it is answered, and for a while only."""

import asyncio
import logging
from collections.abc import Callable

from playwright.async_api import Dialog as Asked
from playwright.async_api import Error

from workstation.errors import ActionFailed, DialogOpen
from workstation.interface import AnswerDialog, Dialog, DialogKind
from workstation.local.browser.tasks import Tasks

log = logging.getLogger(__name__)

UNANSWERED_SECONDS = 60.0
_MOST_CHARACTERS = 2000
_MOST_TOLD = 300
_KINDS = {
    "alert": DialogKind.ALERT,
    "confirm": DialogKind.CONFIRM,
    "prompt": DialogKind.PROMPT,
    "beforeunload": DialogKind.BEFORE_UNLOAD,
}
_LEAVING = "The page asks whether to leave it: what was entered may be lost."


class Dialogs:
    """The dialogs of one page, of which one is open at most; `say` tells the page's log of those that nobody answered."""

    def __init__(
        self,
        page_id: str,
        *,
        tasks: Tasks,
        mask: Callable[[str], str],
        say: Callable[[str], None],
    ) -> None:
        self._page_id, self._tasks, self._mask, self._say = page_id, tasks, mask, say
        self._asked: Asked | None = None
        self._expiring: asyncio.Task[None] | None = None
        self.current: Dialog | None = None
        self.opened = _future()
        """Done as soon as a dialog is open; another one after each answer."""

    def ask(self, asked: Asked) -> None:
        """The page asks."""
        self._asked = asked
        kind = _KINDS.get(asked.type, DialogKind.ALERT)
        message = _LEAVING if kind is DialogKind.BEFORE_UNLOAD and not asked.message else self._shown(asked.message)
        self.current = Dialog(kind=kind, message=message, suggestion=self._shown(asked.default_value))
        if not self.opened.done():
            self.opened.set_result(None)
        self.close()
        self._expiring = self._tasks.start(self._expire(asked), f"dialog of {self._page_id}")

    def close(self) -> None:
        """Wait no longer for an answer."""
        if self._expiring is not None:
            self._expiring.cancel()
            self._expiring = None

    def error(self) -> DialogOpen:
        """What every other call is told."""
        assert self.current is not None
        said = self.current.message
        said = said if len(said) <= _MOST_TOLD else f"{said[:_MOST_TOLD]}…"
        kind = self.current.kind.value.replace("_", " ")
        return DialogOpen(f"the page waits in its {kind} dialog {said!r}: answer it first", page_id=self._page_id)

    async def answer(self, answer: AnswerDialog) -> None:
        """Answer what is asked. Raises `ActionFailed` when nothing is."""
        asked, dialog = self._asked, self.current
        if asked is None or dialog is None:
            raise ActionFailed("the page waits in no dialog", page_id=self._page_id)
        if answer.text is not None and dialog.kind is not DialogKind.PROMPT:
            raise ActionFailed(f"a dialog of kind {dialog.kind} takes no text", page_id=self._page_id)
        self._clear(asked)
        if not answer.accept:
            await asked.dismiss()
        elif dialog.kind is DialogKind.PROMPT:
            await asked.accept(asked.default_value if answer.text is None else answer.text)
        else:
            await asked.accept()

    async def _expire(self, asked: Asked) -> None:
        await asyncio.sleep(UNANSWERED_SECONDS)
        if self._asked is not asked or self.current is None:
            return
        self._expiring = None  # it is this, and goes on
        self._say(f"the dialog {self.current.message[:_MOST_TOLD]!r} was dismissed: nobody answered it")
        self._clear(asked)
        try:
            await asked.dismiss()
        except Error:
            log.debug("a dialog of %s went away before it was dismissed", self._page_id)

    def _clear(self, asked: Asked) -> None:
        if self._asked is asked:
            self.close()
            self._asked = self.current = None
            self.opened = _future()

    def _shown(self, text: str) -> str:
        plain = self._mask(text[: 2 * _MOST_CHARACTERS]).encode("utf-8", "replace").decode()
        return plain if len(plain) <= _MOST_CHARACTERS else f"{plain[:_MOST_CHARACTERS]}…"


def _future() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()

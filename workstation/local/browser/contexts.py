"""The one Playwright context of a Browser: cookies and storage that all its pages share."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Error, StorageState

from workstation.errors import WorkstationUnavailable
from workstation.local.browser.engine import Engine
from workstation.local.browser.profile import Profile
from workstation.local.browser.shadows import OPEN_SHADOWS
from workstation.local.browser.storage import parse_storage, put_storage, take_storage
from workstation.local.browser.submissions import Submissions
from workstation.local.browser.tasks import Tasks

log = logging.getLogger(__name__)

_SECONDS, _MAKE_SECONDS = 10.0, 30.0
WIDTH, HEIGHT = 1280, 800


class Contexts:
    """Makes the context when it is asked for, and another when Chromium died."""

    def __init__(self, engine: Engine, profile: Profile | None, tasks: Tasks, submissions: Submissions) -> None:
        self._engine, self._profile, self._tasks, self._submissions = engine, profile, tasks, submissions
        self._watched: Chromium | None = None
        self._made: Callable[[BrowserContext], None] = lambda _: None
        self._lost: Callable[[], None] = lambda: None
        self._changing = asyncio.Lock()
        self._chromium: Chromium | None = None
        self._context: BrowserContext | None = None
        self._state: StorageState | None = None
        self._keeping: asyncio.Task[None] | None = None

    def follow(self, made: Callable[[BrowserContext], None], lost: Callable[[], None]) -> None:
        """Have `made` told of each new one, and `lost` when one is gone."""
        self._made, self._lost = made, lost

    async def get(self) -> BrowserContext:
        """The context. Raises `SandboxUnavailable` and `WorkstationUnavailable`.

        It is made to the end when the caller is cancelled: Chromium would have it, and nobody else.
        """
        getting = self._tasks.begin(self._get(), "browser context")
        await asyncio.wait([getting])
        if getting.cancelled():
            raise WorkstationUnavailable("the browser is closed")
        return getting.result()

    def look(self) -> None:
        """See whether Chromium died without a word, as it does with its driver."""
        if self._context is not None and not self.alive:
            self._lose(self._context)

    async def storage(self, most_bytes: int, seconds: float) -> str:
        """Cookies and storage of all pages; see `Browser.storage`."""
        context = await self.get()
        async with _reachable(seconds):
            return await take_storage(context, most_bytes=most_bytes)

    async def set_storage(self, state: str, most_bytes: int, seconds: float) -> None:
        """Replace them; see `Browser.set_storage`."""
        parse_storage(state, most_bytes=most_bytes)
        context = await self.get()
        async with _reachable(seconds):
            await put_storage(context, state, most_bytes=most_bytes)

    async def rest(self, *, for_ever: bool = False) -> None:
        """Save cookies and storage and close the context; the next begins with them, or with `for_ever` none follows."""
        async with self._changing:
            context = self._context
            self._forget()
            if context is None or not self.alive:
                return
            if self._profile is not None or not for_ever:
                await self._save(context)
            try:
                async with asyncio.timeout(_SECONDS):
                    await context.close()
            except (Error, TimeoutError) as error:
                log.warning("a browser context did not close: %s", str(error).partition("\n")[0] or "it took too long")

    @property
    def alive(self) -> bool:
        """Whether the Chromium that the context is in lives."""
        return self._chromium is not None and self._engine.lives(self._chromium)

    async def discard(self) -> None:
        """Chromium hangs: the next context is in another."""
        if self._chromium is not None:
            await self._engine.discard(self._chromium)

    async def _get(self) -> BrowserContext:
        async with self._changing:
            for _ in range(2):
                chromium = await self._engine.chromium()
                if self._context is not None and self._chromium is chromium:
                    return self._context
                self._forget()
                try:
                    async with asyncio.timeout(_MAKE_SECONDS):
                        self._context = await self._make(chromium)
                except TimeoutError:
                    await self._engine.discard(chromium)
                    raise WorkstationUnavailable("Chromium hung and was replaced: try again") from None
                except Error as error:  # it died just now, and another is there in a moment
                    log.warning("a browser context was not made: %s", error.message.partition("\n")[0])
                    continue
                self._chromium = chromium
                return self._context
            raise WorkstationUnavailable("Chromium keeps dying")

    def _forget(self) -> None:
        self._context = None
        if self._keeping is not None:
            self._keeping.cancel()

    async def _save(self, context: BrowserContext) -> None:
        if self._profile is not None:
            await self._profile.save(context)
            return
        try:
            async with asyncio.timeout(_SECONDS):
                self._state = await context.storage_state(indexed_db=True)
        except (Error, TimeoutError) as error:
            log.warning("cookies and storage are lost: %s", str(error).partition("\n")[0] or "it took too long")

    async def _make(self, chromium: Chromium) -> BrowserContext:
        if self._watched is not chromium:
            await self._submissions.watch(chromium)
            self._watched = chromium
        state = self._state if self._profile is None else self._profile.state
        context = await chromium.new_context(
            accept_downloads=True,
            locale="en-US",
            permissions=["clipboard-write"],  # for "Copy" buttons; whatever is not named here is refused
            service_workers="block",  # they would outlive their pages
            storage_state=state,
            user_agent=_user_agent(chromium.version),
            viewport={"width": WIDTH, "height": HEIGHT},
        )
        context.on("close", lambda _: self._lose(context))
        await context.add_init_script(OPEN_SHADOWS)
        self._made(context)
        if self._profile is not None:
            self._keeping = self._tasks.start(self._profile.keep(context), "browser profile")
        return context

    def _lose(self, context: BrowserContext) -> None:
        if self._context is context:
            self._forget()
            self._lost()


@asynccontextmanager
async def _reachable(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except (Error, TimeoutError):
        raise WorkstationUnavailable("cookies and storage cannot be reached now: try again") from None


def _user_agent(version: str) -> str:
    """That of an ordinary Chrome of this version, which tells no more than the first number."""
    return (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{version.partition('.')[0]}.0.0.0 Safari/537.36"
    )

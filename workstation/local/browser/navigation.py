"""Navigation: which addresses a page may be sent to, going there, and what is said when that fails."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

from playwright.async_api import Error, Page, Response
from playwright.async_api import TimeoutError as TimedOut

from empla.addresses import canonical_host
from workstation.egress import Door
from workstation.errors import BrowserError, InvalidArgument, NavigationBlocked, NavigationFailed, PageTimedOut
from workstation.interface import Direction, LoadState
from workstation.local.browser.devtools import devtools
from workstation.local.browser.failures import net_error, net_words, translate

BLANK = "about:blank"
_MOST_CHARACTERS = 20_000
_MOST_REASON = 500
_SHOWN = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*(?=:)", re.IGNORECASE)
_SPECIAL = re.compile(r"(https?)://([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_ALLOWED = re.compile(r"https?://|about:blank$|about:srcdoc$|blob:https?://|chrome-error://|$", re.IGNORECASE)
_NO_PROXY = frozenset(("ERR_PROXY_CONNECTION_FAILED",))
_TUNNEL = frozenset(("ERR_TUNNEL_CONNECTION_FAILED", "ERR_EMPTY_RESPONSE"))
_LOOKS, _LOOK_SECONDS = 20, 0.02
_LEAVE_SECONDS, _STOP_SECONDS, _DEATH_SECONDS = 5.0, 1.0, 0.3
_EGRESS = "x-empla-egress"
_TELL = "only addresses of http and https can be opened, such as https://example.com/"
_LOAD_STATES = {
    LoadState.DOCUMENT: "domcontentloaded",
    LoadState.LOADED: "load",
    LoadState.QUIET: "networkidle",
}

type LoadStateName = str


def check_address(url: str, page_id: str) -> str:
    """The address, if a page may be sent to it. Raises `InvalidArgument` for none at all, `NavigationBlocked` for others."""
    if not url or _CONTROL.search(url) or url != url.strip():
        raise InvalidArgument(f"{_shown(url)} is no address: {_TELL}")
    if len(url) > _MOST_CHARACTERS:
        raise InvalidArgument(f"an address has at most {_MOST_CHARACTERS} characters, not {len(url)}")
    scheme = _SCHEME.match(url)
    if scheme is not None and scheme[0].lower() not in ("http", "https"):
        raise NavigationBlocked(f"addresses of {scheme[0][:40]}: are not opened: {_TELL}", page_id=page_id)
    parts = _SPECIAL.fullmatch(url)
    if parts is None:
        raise InvalidArgument(f"{_shown(url)} is no address: {_TELL}")
    if "@" in parts[2]:
        raise InvalidArgument(f"an address with a user or password in it is not opened: {_TELL}")
    _check_authority(parts[2])
    return url


def is_forbidden(url: str) -> bool:
    """Whether a page must not stand there, however it came to it."""
    return not _ALLOWED.match(url)


def load_state(state: LoadState) -> LoadStateName:
    """Playwright's word for it."""
    return _LOAD_STATES[state]


class Navigator:
    """Sends one page to addresses; `door` gives Chromium's way out, if it has one."""

    def __init__(self, page_id: str, page: Page, door: Callable[[], Door | None]) -> None:
        self._page_id, self._page, self._door = page_id, page, door

    async def go(self, url: str, state: LoadState, seconds: float) -> Response | None:
        """Go to an address; see `_arrive` for the rest. Raises `NavigationFailed`, `NavigationBlocked`, `PageTimedOut`."""
        return await self._arrive(lambda: self._page.goto(url, wait_until="commit", timeout=0), url, state, seconds)

    async def move(self, direction: Direction, state: LoadState, seconds: float) -> Response | None:
        """Go back, forward, or there again."""
        if direction is Direction.RELOAD:
            move = lambda: self._page.reload(wait_until="commit", timeout=0)  # noqa: E731
            return await self._arrive(move, self._page.url, state, seconds)
        step = -1 if direction is Direction.BACK else 1
        url = await self._in_history(step)
        steps = self._page.go_back if step < 0 else self._page.go_forward
        return await self._arrive(lambda: steps(wait_until="commit", timeout=0), url, state, seconds)

    async def leave_forbidden(self) -> None:
        """Leave an address where no page may stand, and raise `NavigationBlocked`."""
        url = self._page.url
        if is_forbidden(url):
            await self._page.goto(BLANK, timeout=1000 * _LEAVE_SECONDS)
            message = f"it led to an address of {url.partition(':')[0][:40]}:, which no page may show"
            raise NavigationBlocked(message, page_id=self._page_id)

    async def check(self, response: Response) -> None:
        """Raise for an answer that is not the server's but our own proxy's: `NavigationBlocked`, `NavigationFailed`.

        The proxy lets no server send its header over http, and answers nothing in a tunnel: over https it is forged.
        """
        outcome = response.headers.get(_EGRESS, "") if response.url.lower().startswith("http:") else ""
        if not outcome:
            return
        reason = (await _body(response))[:_MOST_REASON] or f"the request was {outcome}"
        kind = NavigationBlocked if outcome == "refused" else NavigationFailed
        raise kind(reason.strip(), page_id=self._page_id)

    def failure(self, message: str, since: datetime, url: str = "") -> BrowserError:
        """What Chromium's reason means, with what the way out refused `since` then, or could not do for `url`."""
        name = net_error(message)
        door = self._door()
        if name in _NO_PROXY and door is None:
            return NavigationBlocked("this browser has no way out: nothing is allowed", page_id=self._page_id)
        if name in _TUNNEL and door is not None:
            host = _host_of(url)
            refused = [access for access in reversed(door.refusals) if access.time >= since]
            if refused:  # of another host where a redirect led there
                access = next((access for access in refused if access.host == host), refused[0])
                message = f"{access.host}:{access.port} was refused: {access.reason}"
                return NavigationBlocked(message[:_MOST_REASON], page_id=self._page_id)
            for access in reversed(door.failures):
                if access.time >= since and access.host == host:
                    message = f"{host}:{access.port} gave no page: {access.reason}"
                    return NavigationFailed(message[:_MOST_REASON], page_id=self._page_id)
        return NavigationFailed(f"the address gave no page: {net_words(name)}", page_id=self._page_id)

    async def _arrive(
        self, move: Callable[[], Awaitable[Response | None]], url: str, state: LoadState, seconds: float
    ) -> Response | None:
        """Wait until the page is there and as far as `state` says.

        A page that is still loading when its time is over is left as far as it is: that is what a person would look at.
        """
        since, deadline = datetime.now(UTC), asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                response = await move()
        except TimeoutError:
            await self._stop()
            raise NavigationFailed(f"no answer came within {seconds:.3g} s", page_id=self._page_id) from None
        except Error as error:
            if "Download is starting" in error.message:
                return None
            await _let_fail(self._page, error)
            raise self._translated(error, since, url) from None
        if response is not None:
            async with asyncio.timeout_at(deadline + 1):
                await self.check(response)
        try:
            async with asyncio.timeout_at(deadline):
                await self._page.wait_for_load_state(load_state(state), timeout=0)  # type: ignore[arg-type]
        except TimeoutError:
            pass  # it is there, and goes on loading
        except Error as error:
            raise self._translated(error, since, url) from None
        return response

    def _translated(self, error: Error, since: datetime, url: str) -> BrowserError:
        if net_error(error.message):
            return self.failure(error.message, since, url)
        if isinstance(error, TimedOut):
            return PageTimedOut("the page did not answer in time", page_id=self._page_id)
        if "interrupted by another navigation" in error.message:
            return NavigationFailed("the page went elsewhere meanwhile", page_id=self._page_id)
        if "invalid URL" in error.message:
            return NavigationFailed("it is no address that Chromium knows", page_id=self._page_id)
        return translate(error, self._page_id)

    async def _stop(self) -> None:
        """Have the page stay where it is, whatever answer still comes."""
        with suppress(Error, TimeoutError):  # it is gone, or busy
            async with asyncio.timeout(_STOP_SECONDS), devtools(self._page) as session:
                await session.send("Page.stopLoading")

    async def _in_history(self, step: int) -> str:
        """The address that lies a step away. Raises `NavigationFailed` where there is none."""
        async with devtools(self._page) as session:
            history = await session.send("Page.getNavigationHistory")
        place = history["currentIndex"] + step
        if not 0 <= place < len(history["entries"]):
            where = "back" if step < 0 else "forward"
            raise NavigationFailed(f"there is nothing to go {where} to", page_id=self._page_id)
        url = str(history["entries"][place]["url"])
        if is_forbidden(url):
            raise NavigationBlocked(f"what lies there is no page of the web: {_TELL}", page_id=self._page_id)
        return url


async def _let_fail(page: Page, error: Error) -> None:
    """Let Chromium show its page that says how it failed: that would come in between the next navigation."""
    name = net_error(error.message)
    if name == "ERR_ABORTED":  # as when the page dies, of which the word comes last
        with suppress(Error):
            await page.wait_for_event("crash", timeout=1000 * _DEATH_SECONDS)
    if name in ("", "ERR_ABORTED"):
        return
    for _ in range(_LOOKS):
        if page.url.startswith("chrome-error:"):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _body(response: Response) -> str:
    try:
        return " ".join((await response.text()).split())
    except Error:
        return ""  # the page went on already


def _host_of(url: str) -> str:
    """The host of an address as the way out writes it; '' where it has none."""
    try:
        host = urlsplit(url).hostname or ""
        return canonical_host(f"[{host}]" if ":" in host else host)
    except ValueError:
        return ""


def _check_authority(authority: str) -> None:
    try:
        host = urlsplit(f"http://{authority}/").hostname or ""
        port = urlsplit(f"http://{authority}/").port
        canonical_host(f"[{host}]" if ":" in host else host)
    except ValueError as error:
        raise InvalidArgument(f"{_shown(authority)} is no host: {str(error)[:_SHOWN]}") from None
    if port == 0:
        raise InvalidArgument("there is no port 0")


def _shown(text: str) -> str:
    if "@" in text:
        return "that"  # it may hold a password
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")

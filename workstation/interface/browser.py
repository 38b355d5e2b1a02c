"""Browser: web pages as compact trees of elements that can be read and acted on.

A snapshot gives each element a ref. A ref holds until the page's next snapshot or navigation; an older one is
refused, so that nothing is ever clicked that was not seen.

All pages of one Browser share cookies and storage, as the windows of one person's browser do. What stands in a password
field is never told: snapshots and logs show that it is filled, no more.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Direction(StrEnum):
    """Where `navigate` goes when it is given no address."""

    BACK = "back"
    FORWARD = "forward"
    RELOAD = "reload"


class LoadState(StrEnum):
    """How long to wait after a navigation: for the document, for all it loads, or until the network is quiet."""

    DOCUMENT = "document"
    LOADED = "loaded"
    QUIET = "quiet"


class ImageFormat(StrEnum):
    """How pictures are encoded."""

    PNG = "png"
    JPEG = "jpeg"


class DialogKind(StrEnum):
    """What a page asks with: `window.alert`, `confirm`, `prompt`, or the question whether to leave it."""

    ALERT = "alert"
    CONFIRM = "confirm"
    PROMPT = "prompt"
    BEFORE_UNLOAD = "before_unload"


class DownloadState(StrEnum):
    """How far a download is."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """An open page: where it is and what it calls itself; `status` is the HTTP status of the last navigation, if any."""

    page_id: str
    url: str
    title: str
    status: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The page's accessibility tree as indented text with a `[ref=…]` behind each element that can be acted on.

    With `truncated`, the tree goes on: ask for a larger one, or for the part below one `ref`. With `changes`, `text` holds
    only what is not as in the snapshot before: whole parts of the tree, in the places where they stand.
    """

    page: Page
    text: str
    truncated: bool
    changes: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialog:
    """A dialog that a page waits in; `suggestion` is what a prompt proposes."""

    kind: DialogKind
    message: str
    suggestion: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Click:
    """Click an element; `button` is left, middle or right, `clicks` 2 for a double click."""

    ref: str
    button: str = "left"
    clicks: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """Put `text` into a field in place of what it holds; `submit` presses Enter after it."""

    ref: str
    text: str
    submit: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Press:
    """Press a key such as `Enter` or `Control+a`, on an element or on what has the focus."""

    key: str
    ref: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Select:
    """Choose options of a list by value or label; all others are unchosen."""

    ref: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hover:
    """Move the pointer over an element."""

    ref: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drag:
    """Take an element with the pointer and let go of it over another."""

    ref: str
    to_ref: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scroll:
    """Bring an element into view, or without one scroll the page by `x` and `y` pixels."""

    ref: str | None = None
    x: int = 0
    y: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """Give a file input these files of the workspace."""

    ref: str
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerDialog:
    """Answer the dialog that the page waits in; `text` is what a prompt is given in place of its suggestion."""

    accept: bool
    text: str | None = None


type Action = Click | Fill | Press | Select | Hover | Drag | Scroll | Upload | AnswerDialog


@dataclass(frozen=True, kw_only=True, slots=True)
class ActResult:
    """What an action led to: the page as it is now, pages that it opened, downloads that it began.

    With a `dialog`, the page waits for `AnswerDialog` and does nothing else until then.
    """

    page: Page
    opened: tuple[Page, ...] = ()
    download_ids: tuple[str, ...] = ()
    dialog: Dialog | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image of a page, with its size in pixels."""

    format: ImageFormat
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PageText:
    """Readable text of a page from character `offset`; `total` is how many there are."""

    page: Page
    text: str
    offset: int
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file that a page gave; `path` is where it lies in the workspace once it is complete, `size` bytes so far."""

    download_id: str
    page_id: str
    url: str
    name: str
    state: DownloadState
    size: int
    path: str | None = None
    failure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsoleEntry:
    """What a page wrote to its console, or an error that nothing caught; `level` is log, info, warning, error or debug."""

    sequence: int
    level: str
    text: str
    place: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestEntry:
    """A request of a page; `status` is None as long as there is no answer, `failure` says why there is none."""

    sequence: int
    method: str
    url: str
    kind: str
    status: int | None = None
    failure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLog:
    """The latest entries of a page, the oldest first. `dropped` of those asked for are no longer kept."""

    console: tuple[ConsoleEntry, ...]
    requests: tuple[RequestEntry, ...]
    dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A frame of the live view; `captured_ns` is nanoseconds since 1970 UTC."""

    picture: Picture
    captured_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BrowserLimits:
    """The bounds of one Browser.

    Attributes:
        pages: pages open at a time.
        snapshot_characters: the most text of one snapshot.
        text_characters: the most text of one `read_text`.
        text_bytes: the most that one `Fill` types.
        screenshot_pixels: the largest picture, width times height.
        pdf_bytes: the largest PDF.
        download_bytes: the largest download.
        upload_bytes: all files of one upload together.
        log_entries: how many entries of each kind a page's log keeps.
        storage_bytes: cookies and storage together, as `storage` gives them.
        navigation_seconds: how long a navigation may take.
        action_seconds: how long an action may take.
        frames_per_second: the fastest live view.
        idle_seconds: how long an unused page stays open.
    """

    pages: int
    snapshot_characters: int
    text_characters: int
    text_bytes: int
    screenshot_pixels: int
    pdf_bytes: int
    download_bytes: int
    upload_bytes: int
    log_entries: int
    storage_bytes: int
    navigation_seconds: float
    action_seconds: float
    frames_per_second: float
    idle_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BrowserCapabilities:
    """What this Browser can do: engine and version, whether it runs in a sandbox and behind the egress rules, limits.

    With `persistent`, cookies and storage are found again by the next Browser of the same profile.
    """

    engine: str
    sandboxed: bool
    egress_checked: bool
    live_view: bool
    persistent: bool
    limits: BrowserLimits


class Browser(Protocol):
    """Web pages; raises `BrowserError`s, `SandboxUnavailable`, `InvalidArgument`, `LimitExceeded` and others.

    One object serves many calls at once; calls for one page run one after another.
    """

    async def capabilities(self) -> BrowserCapabilities:
        """Say what works here and within which limits."""
        ...

    async def open_page(self, page_id: str, *, url: str = "", width: int = 1280, height: int = 800) -> Page:
        """Open a page under an id of the caller's choice, at `url` (http or https) or empty; sizes are in pixels.

        The same id again answers the open one and navigates nowhere. Raises what `navigate` raises; the page is then
        not open.
        """
        ...

    async def pages(self) -> tuple[Page, ...]:
        """All open pages, those that pages opened themselves with them, the oldest first."""
        ...

    async def navigate(
        self, page_id: str, to: str | Direction, *, wait_for: LoadState = LoadState.LOADED, timeout: float | None = None
    ) -> Page:
        """Go to an address (http or https), or back, forward, or there again; `timeout` in seconds.

        An address that gives a file begins a download and leaves the page where it was. Raises `NavigationFailed`,
        `NavigationBlocked`, `PageNotFound`, `PageCrashed`, `DialogOpen`.
        """
        ...

    async def snapshot(
        self,
        page_id: str,
        *,
        ref: str | None = None,
        depth: int | None = None,
        changes: bool = False,
        max_characters: int | None = None,
    ) -> Snapshot:
        """Take the page's accessibility tree, or the part below `ref`; earlier refs are stale afterwards.

        Frames that have not loaded, do not answer or are too large are left out, which its last lines say.
        `depth` leaves out what lies deeper; `changes` tells only what is not as in the last snapshot, where there is one.
        Raises `StaleRef`, `DialogOpen`, `PageTimedOut`, `PageNotFound`, `PageCrashed`.
        """
        ...

    async def act(self, page_id: str, action: Action, *, timeout: float | None = None) -> ActResult:
        """Act on an element of the latest snapshot.

        Raises `StaleRef`, `ActionFailed`, `NavigationBlocked`, `SubmissionBlocked` for a form that may not go where it
        would, `DialogOpen` (answer it first), and for an upload also the errors of FileSystem.
        """
        ...

    async def allow_submission(self, sender: str, receiver: str, *, seconds: float) -> None:
        """Let forms go from one host to the other for `seconds`, at most 300, though they may not else.

        The hosts are those of a `SubmissionBlocked`. Raises `InvalidArgument`.
        """
        ...

    async def allow_download(self, url: str, *, seconds: float) -> None:
        """Let downloads come from the host of this address for `seconds`, at most 300, though they may not else.

        The address is that of a `Download`. Raises `InvalidArgument`.
        """
        ...

    async def wait_for(
        self,
        page_id: str,
        *,
        text: str = "",
        text_gone: str = "",
        url: str = "",
        load_state: LoadState | None = None,
        timeout: float | None = None,
    ) -> Page:
        """Wait until all that is named holds: `text` is visible, `text_gone` is not, the address contains `url`.

        Raises `PageTimedOut` after `timeout` seconds, `DialogOpen`, `PageNotFound`, `PageCrashed`.
        """
        ...

    async def screenshot(
        self,
        page_id: str,
        *,
        ref: str | None = None,
        full_page: bool = False,
        format: ImageFormat = ImageFormat.PNG,  # noqa: A002  # the word for it
    ) -> Picture:
        """Take a picture of what is in view, of the full page, or of one element; raises `LimitExceeded`, `StaleRef`."""
        ...

    def pdf(self, page_id: str) -> AsyncGenerator[bytes]:
        """Print the page to PDF and stream it."""
        ...

    async def read_text(self, page_id: str, *, offset: int = 0, max_characters: int | None = None) -> PageText:
        """Read the page as text without navigation, menus and scripts."""
        ...

    async def downloads(self, page_id: str | None = None) -> tuple[Download, ...]:
        """The downloads of a page, or of all, the latest first."""
        ...

    async def log(self, page_id: str, *, after: int = 0) -> PageLog:
        """What the page wrote to its console and which requests it made, after the entry `after` of either."""
        ...

    async def storage(self) -> str:
        """Cookies and storage of all pages, as JSON; who has it is logged in wherever this Browser is."""
        ...

    async def set_storage(self, state: str) -> None:
        """Put this in place of all cookies and storage; '' clears them. Raises `InvalidArgument`, `LimitExceeded`."""
        ...

    async def close_page(self, page_id: str) -> None:
        """Close a page and what it still loads; one that is closed already is fine."""
        ...

    def live_view(self, page_id: str, *, frames_per_second: float = 2.0, quality: int = 60) -> AsyncGenerator[Frame]:
        """Stream JPEG pictures of the page as it changes until the stream is closed; `quality` from 1 to 100.

        A slow viewer misses frames and holds up nothing.
        """
        ...

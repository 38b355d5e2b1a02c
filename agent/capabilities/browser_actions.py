"""What the actions of the Browser capability take and give, as a model sees them.

Every model call pays for this list: descriptions are short, and what a name says is not said again.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, SerializerFunctionWrapHandler, model_serializer

from agent.capabilities.base import Action

OPENED_CHARACTERS = 6_000
"""The most text of a snapshot, when a page is opened or looked at."""
CHANGED_CHARACTERS = 2_000
"""The most text of what an action changed."""
READ_CHARACTERS = 12_000
MOST_SNAPSHOT = 30_000
MAX_FILLED = 60_000
MAX_NAME = 55
"""A Browser takes ids of 64 characters, and each message has a mark of its own before them."""
MAX_PATHS = 20
MAX_LISTED = 30
MAX_WAIT = 60
OPEN_SECONDS = 120.0
"""For an action that may have to start the browser first."""
ACT_SECONDS = 75.0
DEFAULT_PAGE = "main"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


_REF = Field(min_length=1, max_length=20)
_PATH = Field(min_length=1, max_length=4000, description="In the workspace; a file there is replaced.")


class _OnPage(_Closed):
    page: str = Field(default=DEFAULT_PAGE, min_length=1, max_length=MAX_NAME, pattern=r"^[A-Za-z0-9_-]+$")


class OpenPage(_OnPage):
    """Which address, in which page."""

    url: str = Field(min_length=1, max_length=8_000, description="http:// or https://")


class Navigate(_OnPage):
    """Where to go from here."""

    to: Literal["back", "forward", "reload"]


class TakeSnapshot(_OnPage):
    """How much of the page to look at."""

    ref: str | None = Field(default=None, max_length=20, description="Only what is below it.")
    depth: int | None = Field(default=None, ge=1, le=100)
    changes: bool = Field(default=False, description="Only what is new since the last one.")
    max_characters: int = Field(default=OPENED_CHARACTERS, ge=500, le=MOST_SNAPSHOT)


class Click(_OnPage):
    """What to click."""

    ref: str = _REF
    button: Literal["left", "right", "middle"] = "left"
    double: bool = False


class Fill(_OnPage):
    """What to write where."""

    ref: str = _REF
    text: str = Field(max_length=MAX_FILLED)
    submit: bool = Field(default=False, description="Press Enter after it.")


class TypePassword(_OnPage):
    """What to write where, without a trace of it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    ref: str = _REF
    password: SecretStr = Field(min_length=1, max_length=1_000)


class Press(_OnPage):
    """Which key."""

    key: str = Field(min_length=1, max_length=50, description="Such as Enter, Escape, ArrowDown, Control+a.")
    ref: str | None = Field(default=None, max_length=20, description="Default: what has the focus.")


class Select(_OnPage):
    """Which options of which list."""

    ref: str = _REF
    values: list[str] = Field(max_length=100, description="Labels or values; all others are unchosen.")


class Hover(_OnPage):
    """What to point at."""

    ref: str = _REF


class Drag(_OnPage):
    """What to move where."""

    ref: str = _REF
    to_ref: str = _REF


class Scroll(_OnPage):
    """How far, or to what."""

    ref: str | None = Field(default=None, max_length=20, description="Bring it into view.")
    down: int = Field(default=0, ge=-100_000, le=100_000, description="Pixels; negative is up.")


class UploadFiles(_OnPage):
    """Which files."""

    ref: str = _REF
    paths: list[str] = Field(min_length=1, max_length=MAX_PATHS, description="In the workspace.")


class AnswerDialog(_OnPage):
    """What to answer."""

    accept: bool
    text: str | None = Field(default=None, max_length=10_000, description="For a prompt.")


class WaitFor(_OnPage):
    """What must hold: all that is named."""

    text: str = Field(default="", max_length=1_000)
    text_gone: str = Field(default="", max_length=1_000)
    url: str = Field(default="", max_length=1_000, description="A part of the address.")
    timeout: float = Field(default=20, gt=0, le=MAX_WAIT)


class ReadPage(_OnPage):
    """From which character on."""

    offset: int = Field(default=0, ge=0, description="next_offset of the answer before.")


class SaveScreenshot(_OnPage):
    """Where to, and what of."""

    path: str = Field(min_length=1, max_length=4000, description="A .png or .jpg in the workspace; replaced if there.")
    ref: str | None = Field(default=None, max_length=20, description="Only this element.")
    full_page: bool = False


class SavePdf(_OnPage):
    """Where to."""

    path: str = _PATH


class ListPages(_Closed):
    """Nothing to say."""


class ClosePage(_OnPage):
    """Which page."""


class ListDownloads(_Closed):
    """Nothing to say."""


class ReadPageLog(_OnPage):
    """How much of it."""

    everything: bool = Field(default=False, description="Not only errors and failed requests.")


class _Given(BaseModel):
    """A result of which only what says something is told."""

    @model_serializer(mode="wrap")
    def _short(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value not in ("", [], None)}


class DownloadedFile(_Given):
    """A download; `path` is where the file lies once it is complete, `size` its bytes so far."""

    id: str
    page: str
    state: str
    size: int
    path: str | None
    failure: str


class PageView(_Given):
    """The page in `marked`: address, title and snapshot; `note` says what else is to be known."""

    page: str
    status: int | None = None
    downloads: list[DownloadedFile] = []
    note: str = ""
    marked: str


class Acted(_Given):
    """What an action led to: in `marked` the page with what is new in it, or the dialog that it waits in."""

    page: str
    opened: list[str] = []
    downloads: list[DownloadedFile] = []
    note: str = ""
    marked: str


class ReadText(_Given):
    """The main text of a page as Markdown; there is more from `next_offset` on."""

    page: str
    next_offset: int | None
    total: int
    marked: str


class SavedPicture(_Given):
    """The file, its size in bytes and in pixels."""

    path: str
    size: int
    width: int
    height: int


class SavedPdf(_Given):
    """The file, its size in bytes and its pages."""

    path: str
    size: int
    pages: int


class Pages(_Given):
    """The names of open pages, the latest last; `marked` has their addresses and titles."""

    pages: list[str]
    marked: str


class Closed(_Given):
    """Which page is closed now."""

    page: str


class Downloads(_Given):
    """The latest first."""

    downloads: list[DownloadedFile]


class LogEntries(_Given):
    """How many entries there are, the latest of them in `marked`."""

    console: int
    requests: int
    marked: str


def _look(name: str, description: str, takes: type[BaseModel], gives: type[BaseModel], **rest: float) -> Action:
    return Action(name, description, takes, gives, repeatable=True, deadline=rest.get("deadline", ACT_SECONDS))


def _do(name: str, description: str, takes: type[BaseModel]) -> Action:
    return Action(name, description, takes, Acted, repeatable=False, deadline=ACT_SECONDS)


ACTIONS = (
    Action(
        "open_page",
        "Open an address in the browser, in the page of that name or a new one. Gives a snapshot: the tree of the page, "
        "where [ref=e12] names what can be acted on. Refs hold until the next snapshot.",
        OpenPage,
        PageView,
        repeatable=True,
        deadline=OPEN_SECONDS,
        moves=True,
    ),
    Action(
        "navigate", "Go back, forward or reload.", Navigate, PageView, repeatable=True, deadline=ACT_SECONDS, moves=True
    ),
    _look("snapshot", "Look at a page again.", TakeSnapshot, PageView),
    _look("read_page", "Read the main text of a page as Markdown.", ReadPage, ReadText),
    _do("click", "Click an element. Like all that acts on a page it gives what changed, with fresh refs.", Click),
    _do("fill", "Put text into a field.", Fill),
    Action(
        "type_password",
        "Put a password into a field; it is shown and kept nowhere.",
        TypePassword,
        Acted,
        repeatable=True,
        deadline=ACT_SECONDS,
        moves=True,
    ),
    _do("press", "Press a key.", Press),
    _do("select", "Choose options of a list.", Select),
    Action("hover", "Point at an element.", Hover, Acted, repeatable=True, deadline=ACT_SECONDS, moves=True),
    _do("drag", "Drag an element onto another.", Drag),
    _do("scroll", "Scroll a page.", Scroll),
    _do("upload_files", "Give files to a file field.", UploadFiles),
    _do("answer_dialog", "Answer the dialog that a page waits in.", AnswerDialog),
    Action(
        "wait_for",
        "Wait until a page shows a text, no longer shows one, or is at an address.",
        WaitFor,
        Acted,
        repeatable=True,
        deadline=MAX_WAIT + 30,
        moves=True,
    ),
    _look("save_screenshot", "Save a picture of a page.", SaveScreenshot, SavedPicture),
    _look("save_pdf", "Print a page to a PDF file.", SavePdf, SavedPdf),
    _look("list_pages", "List the open pages.", ListPages, Pages),
    _look("close_page", "Close a page.", ClosePage, Closed),
    _look("list_downloads", "List what pages downloaded.", ListDownloads, Downloads),
    _look("page_log", "Errors and failed requests of a page.", ReadPageLog, LogEntries),
)

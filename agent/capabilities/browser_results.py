"""What a model is told of pages: facts of ours as JSON, and whatever pages say within marks, of bounded size."""

from agent.capabilities import browser_actions as act
from agent.capabilities.base import EffectKey
from agent.capabilities.browser_visits import name_of
from agent.errors import ActionFailed
from agent.prompts import mark, without_marks
from workstation import errors
from workstation.errors import WorkstationError
from workstation.interface import ActResult, Dialog, Download, Page, PageLog, RequestEntry, Snapshot

_MOST_TITLE = 200
_MOST_URL = 500
_MOST_LOG = 30
_MOST_ENTRY = 300
_BAD_STATUS = 400
_HINTS: dict[type[WorkstationError], str] = {
    errors.StaleRef: "take a snapshot and use a ref of it",
    errors.PageNotFound: "open_page opens it, list_pages names those that are open",
    errors.PageCrashed: "open its address again with open_page",
    errors.DialogOpen: "answer it with answer_dialog",
    errors.ActionFailed: "the element did not take it; look at the page, and try another way",
    errors.NavigationFailed: "if the page hangs, close_page and open it again",
    errors.PageTimedOut: "if the page hangs, close_page and open it again",
}
_QUOTING = (errors.DialogOpen, errors.ActionFailed)
"""Errors that may quote the page."""


def failure(error: WorkstationError) -> ActionFailed:
    """The error as a model reads it: `REASON: what happened (what to do next)`, what may be the page's words in marks."""
    hint = next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), "")
    if isinstance(error, _QUOTING):
        return ActionFailed(f"{error.reason}: {hint}\n{mark('page', str(error))}")
    return ActionFailed(f"{error.reason}: {without_marks(str(error))}{f' ({hint})' if hint else ''}")


def page_view(snapshot: Snapshot, key: EffectKey, downloads: tuple[Download, ...] = (), note: str = "") -> act.PageView:
    """A page that was opened or looked at."""
    return act.PageView(
        page=name_of(snapshot.page.page_id, key),
        status=snapshot.page.status,
        downloads=[download_row(one, key) for one in downloads],
        note=note,
        marked=_marked(snapshot),
    )


def acted(
    result: ActResult, seen: Snapshot | None, key: EffectKey, downloads: tuple[Download, ...] = (), note: str = ""
) -> act.Acted:
    """What an action led to; `seen` is what changed, if that could be seen."""
    parts = [_marked(seen) if seen is not None else place(result.page, "")]
    parts += [place(page, "", name=name_of(page.page_id, key)) for page in result.opened]
    if result.dialog is not None:
        parts = [dialog_text(result.dialog)]
        note = note or "the page waits in a dialog: answer_dialog"
    return act.Acted(
        page=name_of(result.page.page_id, key),
        opened=[name_of(page.page_id, key) for page in result.opened],
        downloads=[download_row(one, key) for one in downloads],
        note=note,
        marked="\n".join(parts),
    )


def dialog_text(dialog: Dialog) -> str:
    """A dialog, marked."""
    suggestion = {"suggestion": dialog.suggestion[:_MOST_TITLE]} if dialog.suggestion else {}
    return mark("dialog", dialog.message, type=dialog.kind.value, **suggestion)


def pages(found: tuple[Page, ...], key: EffectKey) -> act.Pages:
    """The open pages."""
    lines = [f"{name_of(page.page_id, key)}: {_line(page.title, _MOST_TITLE)} {page.url[:_MOST_URL]}" for page in found]
    marked = mark("pages", "\n".join(lines)) if lines else ""
    return act.Pages(pages=[name_of(page.page_id, key) for page in found], marked=marked)


def download_row(download: Download, key: EffectKey) -> act.DownloadedFile:
    """A download."""
    return act.DownloadedFile(
        id=download.download_id,
        page=name_of(download.page_id, key),
        state=download.state.value,
        size=download.size,
        path=download.path,
        failure=_line(download.failure, _MOST_ENTRY),
    )


def log_entries(log: PageLog, *, everything: bool) -> act.LogEntries:
    """The latest entries; unless everything is wanted, errors and failed requests."""
    console = [entry for entry in log.console if everything or entry.level == "error"]
    asked = [each for each in log.requests if everything or each.failure or (each.status or 0) >= _BAD_STATUS]
    lines = [(entry.sequence, f"{entry.level} {_line(entry.text, _MOST_ENTRY)} {entry.place}") for entry in console]
    lines += [(each.sequence, f"{each.method[:20]} {each.url[:_MOST_ENTRY]} {_came_to(each)}") for each in asked]
    latest = [_line(line, 2 * _MOST_ENTRY + 100) for _, line in sorted(lines)[-_MOST_LOG:]]
    return act.LogEntries(console=len(console), requests=len(asked), marked=mark("log", "\n".join(latest)))


def _came_to(request: RequestEntry) -> str:
    return _line(request.failure, 100) or str(request.status or "waiting")


def _marked(snapshot: Snapshot) -> str:
    return place(snapshot.page, snapshot.text)


def place(page: Page, text: str, **more: str) -> str:
    """Text of a page, marked with where it is from."""
    return mark("page", text, **more, url=page.url[:_MOST_URL], title=_line(page.title, _MOST_TITLE))


def _line(text: str, most: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"

"""What is kept of pages in the workspace: PDFs, pictures and downloads."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from agent.models.offline.desk import Desk, ToolFailed
from agent.models.offline.replies import closed
from agent.models.offline.web.asked import PICTURES, Asked
from agent.models.offline.web.pages import Web, WebPage
from agent.models.offline.web.telling import link_to
from agent.models.offline.words import joined

_AS = re.compile(r"\b(?:as|to|into)\s+[\"'“`]?(?P<name>[\w./-]*\w)", re.IGNORECASE)


class Keeping:
    """Keeps what is asked for of the pages that `web` opened."""

    def __init__(self, desk: Desk, web: Web) -> None:
        self._desk, self._web = desk, web

    def printed(self, asked: Asked, pages: Sequence[WebPage]) -> str:
        """A PDF of each page, under the name given or one like its title."""
        given = [name for name in asked.names if name.lower().endswith(".pdf")]
        lines = []
        for number, page in enumerate(pages):
            path = given[number] if number < len(given) else self._free(f"{_slug(page)}.pdf")
            saved = self._desk.use("save_pdf", path=path, **_on(page))
            count = saved.get("pages")
            size = f" ({count} {'page' if count == 1 else 'pages'})" if isinstance(count, int) and count else ""
            lines.append(f"I saved {page.shown} as a PDF: {saved.get('path') or path}{size}.")
        return "\n".join([*lines, *_held(asked, len(given), len(pages))])

    def pictured(self, asked: Asked, pages: Sequence[WebPage]) -> str:
        """A picture of each page, under the name given or one like its title."""
        given = [name for name in asked.names if name.lower().endswith(PICTURES)]
        whole = {"full_page": True} if re.search(r"\b(?:full|whole|entire)\b", asked.masked, re.IGNORECASE) else {}
        lines = []
        for number, page in enumerate(pages):
            path = given[number] if number < len(given) else self._free(f"{_slug(page)}.png")
            saved = self._desk.use("save_screenshot", path=path, **whole, **_on(page))
            size = (
                f" ({saved['width']} × {saved['height']} pixels)" if saved.get("width") and saved.get("height") else ""
            )
            lines.append(f"I took a screenshot of {page.shown}: {saved.get('path') or path}{size}.")
        return "\n".join(lines)

    def _free(self, path: str) -> str:
        """`path`, or one like it where a file has that name: only a name that was given replaces a file."""
        try:
            known = set(self._desk.paths() if not self._desk.has("list_files") else self._top())
        except ToolFailed:
            return path
        stem, dot, ending = path.rpartition(".")
        return next(
            one
            for n in range(1, len(known) + 2)
            if (one := path if n == 1 else f"{stem}-{n}{dot}{ending}") not in known
        )

    def _top(self) -> list[str]:
        rows = self._desk.use("list_files").get("entries")
        return (
            [str(row.get("path", "")).removeprefix("./") for row in rows if isinstance(row, dict)]
            if isinstance(rows, list)
            else []
        )

    def downloaded(self, asked: Asked, page: WebPage) -> str:
        """The file that an address gives, or that the link of the page does which is called as the message calls it."""
        source = page.url
        if not page.files and not page.refused and (target := link_to(asked.masked, self._web.read(page), page.url)):
            page, source = self._web.open(target, "download"), target
        if page.files:
            return f"I downloaded {source} into {joined(self._named(asked, page.files))}."
        if page.refused:
            return f"I did not download {source}: {closed(page.refused)}"
        return f"I found nothing on {page.shown} that is called like that to download."

    def _named(self, asked: Asked, files: Sequence[str]) -> list[str]:
        """Where the files lie: one that was given a name is moved there, for pages name what they give themselves."""
        name = next((match["name"] for match in _AS.finditer(asked.masked) if match["name"] in asked.names), "")
        if not name or len(files) != 1 or name == files[0] or not self._desk.has("move_file"):
            return [*files]
        if folder := name.rpartition("/")[0]:
            self._desk.use("make_directory", path=folder)
        self._desk.use("move_file", path=files[0], to=name, replace=True)
        return [name]


def _held(asked: Asked, given: int, pages: int) -> list[str]:
    """What the PDFs of so many pages hold, where that may not be what was meant: all pages in one, or a comparison."""
    said = []
    if 0 < given < pages:
        said.append(
            f"A PDF holds one web page: you named {given} for {pages} pages, so I named the rest after their titles."
        )
    if asked.compares:
        holds = "Each PDF holds its page" if pages > 1 else "The PDF holds the page"
        said.append(f"{holds} as the site prints it, not the comparison.")
    return said


def _slug(page: WebPage) -> str:
    """A file's name, without ending, from the page's title or else its address."""
    parts = urlsplit(page.url)
    said = page.title or f"{parts.hostname or 'page'} {parts.path}"
    plain = re.sub(r"[^\w]+", "-", said.casefold()).strip("-_")[:60].strip("-_")
    return plain or "page"


def _on(page: WebPage) -> dict[str, str]:
    return {} if page.name == "main" else {"page": page.name}

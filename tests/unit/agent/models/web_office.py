"""An office with a browser: pages as Markdown by their address, behind the tools of the Browser capability."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from agent.models.interface import ToolCall, ToolResult
from agent.prompts import mark
from tests.unit.agent.models.office import ALL_TOOLS, Office

WEB_TOOLS = (*ALL_TOOLS, "open_page", "read_page", "save_pdf", "save_screenshot")
PIECE = 12_000


@dataclass
class WebOffice(Office):
    """`pages` are (title, Markdown) by address; `failures` what the tools say of addresses that do not open."""

    tools: tuple[str, ...] = WEB_TOOLS
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    downloads: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    opened: dict[str, str] = field(default_factory=dict)

    def _run(self, call: ToolCall) -> ToolResult:
        if call.name not in ("open_page", "read_page"):
            return super()._run(call)
        try:
            content = getattr(self, f"_{call.name}")(call.arguments)
        except LookupError as error:
            return ToolResult(call_id=call.call_id, name=call.name, content=str(error.args[0]), is_error=True)
        return ToolResult(call_id=call.call_id, name=call.name, content=content)

    def _open_page(self, arguments: Mapping[str, JsonValue]) -> str:
        url, page = str(arguments["url"]), str(arguments.get("page", "main"))
        if url in self.failures:
            raise LookupError(self.failures[url])
        if path := self.downloads.get(url):
            row = {"id": "d1", "page": page, "state": "complete", "size": 3, "path": path}
            return _told({"page": page, "downloads": [row]}, "", "about:blank", "")
        self.opened[page] = url
        title, _ = self.pages.get(url, ("Not found", ""))
        return _told({"page": page, "status": self.statuses.get(url, 200)}, "- main [ref=e1]", url, title)

    def _read_page(self, arguments: Mapping[str, JsonValue]) -> str:
        page, offset = str(arguments.get("page", "main")), int(str(arguments.get("offset", 0)))
        url = self.opened[page]
        title, text = self.pages[url]
        end = offset + PIECE
        more = {"next_offset": end} if end < len(text) else {}
        return _told({"page": page, "total": len(text)} | more, text[offset:end], url, title)

    def _save_pdf(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        self.files[str(arguments["path"])] = "%PDF"
        return {"path": arguments["path"], "size": 4, "pages": 1}

    def _save_screenshot(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        self.files[str(arguments["path"])] = "PNG"
        return {"path": arguments["path"], "size": 3, "width": 1280, "height": 720}


def _told(facts: dict[str, object], text: str, url: str, title: str) -> str:
    return f"{json.dumps(facts)}\n{mark('page', text, url=url, title=title)}"

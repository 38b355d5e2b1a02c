"""The Workspace capability: the employee's files, through whatever FileSystem it was given."""

from contextlib import aclosing
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from agent.capabilities.base import Action, BaseCapability
from agent.errors import ActionFailed
from workstation.errors import WorkstationError
from workstation.interface import EntryKind, FileSystem, SearchEnd, SearchHit, SearchQuery

READ_BYTES = 48 * 1024
MAX_WRITE = 1024 * 1024
MAX_LISTED = 500
MAX_HITS = 100


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


_PATH = Field(min_length=1, max_length=1000, description="Relative to the workspace, such as deals/notes.md.")


class ListFiles(_Closed):
    """Which directory."""

    path: str = Field(default=".", max_length=1000)


class ListedFile(BaseModel):
    """One entry; `kind` is file, directory, symlink or other, `size` in bytes."""

    path: str
    kind: str
    size: int


class ListedFiles(BaseModel):
    """The entries; with `truncated` there are more."""

    entries: list[ListedFile]
    truncated: bool


class ReadFile(_Closed):
    """Which file, from which byte, at most how many bytes."""

    path: str = _PATH
    offset: int = Field(default=0, ge=0, description="Byte to start at; take next_offset of the answer before.")
    limit: int = Field(default=READ_BYTES, ge=1, le=READ_BYTES)


class FileText(BaseModel):
    """Text of a file; with `truncated`, read on at `next_offset`."""

    path: str
    content: str
    truncated: bool
    next_offset: int | None


class SearchFiles(_Closed):
    """Which text, below which directory."""

    query: str = Field(min_length=1, max_length=500, description="Literal text within one line, any case.")
    path: str = Field(default=".", max_length=1000)


class Match(BaseModel):
    """A line that has the text."""

    path: str
    line: int
    text: str


class Matches(BaseModel):
    """The lines found; with `truncated` there may be more."""

    matches: list[Match]
    truncated: bool


class WriteFile(_Closed):
    """Which file, and all it shall contain."""

    path: str = _PATH
    content: str = Field(max_length=MAX_WRITE)


class FilePath(_Closed):
    """Which file."""

    path: str = _PATH


class MoveFile(_Closed):
    """From where to where; the full new path."""

    path: str = _PATH
    to: str = _PATH


class WrittenFile(BaseModel):
    """The file as it is now."""

    path: str
    size: int
    version: str


class Removed(BaseModel):
    """How many entries went."""

    removed: int


class WorkspaceCapability(BaseCapability):
    """Read, search and change the files of the employee's workspace."""

    name: ClassVar[str] = "workspace"
    actions: ClassVar[tuple[Action, ...]] = (
        Action("list_files", "List a directory of the workspace.", ListFiles, ListedFiles, repeatable=True),
        Action("read_file", "Read a text file, in pieces if it is long.", ReadFile, FileText, repeatable=True),
        Action("search_files", "Find lines that contain a text.", SearchFiles, Matches, repeatable=True),
        Action("write_file", "Create a file, or replace all it contains.", WriteFile, WrittenFile, repeatable=False),
        Action("append_file", "Add text to the end of a file.", WriteFile, WrittenFile, repeatable=False),
        Action("move_file", "Give a file another path.", MoveFile, WrittenFile, repeatable=False),
        Action("remove_file", "Remove one file.", FilePath, Removed, repeatable=False),
    )

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    async def _execute_action_impl(self, action: str, arguments: Any) -> BaseModel:
        try:
            return await getattr(self, f"_{action}")(arguments)  # type: ignore[no-any-return]
        except WorkstationError as error:
            raise ActionFailed(f"{error.reason}: {error}") from error

    async def _list_files(self, wanted: ListFiles) -> ListedFiles:
        listing = await self._files.list(wanted.path, limit=MAX_LISTED)
        entries = [ListedFile(path=e.path, kind=e.kind.name.lower(), size=e.size) for e in listing.entries]
        return ListedFiles(entries=entries, truncated=listing.truncated)

    async def _read_file(self, wanted: ReadFile) -> FileText:
        read = await self._files.read_file(wanted.path, offset=wanted.offset, length=wanted.limit)
        if b"\0" in read.data:
            raise ActionFailed(f"{wanted.path} is not a text file")
        data = read.data if read.ends else _whole_characters(read.data)
        return FileText(
            path=read.entry.path,
            content=data.decode("utf-8", "replace"),
            truncated=not read.ends,
            next_offset=None if read.ends else wanted.offset + len(data),
        )

    async def _search_files(self, wanted: SearchFiles) -> Matches:
        matches: list[Match] = []
        truncated = False
        query = SearchQuery(text=wanted.query, path=wanted.path, limit=MAX_HITS)
        async with aclosing(self._files.search(query)) as found:
            async for hit in found:
                if isinstance(hit, SearchEnd):
                    truncated = hit.truncated
                else:
                    matches.append(_match(hit))
        return Matches(matches=matches, truncated=truncated)

    async def _write_file(self, wanted: WriteFile) -> WrittenFile:
        entry = await self._files.write(wanted.path, wanted.content.encode(), parents=True)
        return WrittenFile(path=entry.path, size=entry.size, version=entry.version)

    async def _append_file(self, wanted: WriteFile) -> WrittenFile:
        entry = await self._files.append(wanted.path, wanted.content.encode(), parents=True)
        return WrittenFile(path=entry.path, size=entry.size, version=entry.version)

    async def _move_file(self, wanted: MoveFile) -> WrittenFile:
        entry = await self._files.move(wanted.path, wanted.to)
        return WrittenFile(path=entry.path, size=entry.size, version=entry.version)

    async def _remove_file(self, wanted: FilePath) -> Removed:
        entry = await self._files.stat(wanted.path)
        if entry.kind is EntryKind.DIRECTORY:
            raise ActionFailed(f"{wanted.path} is a directory")
        return Removed(removed=await self._files.remove(wanted.path, expected_version=entry.version))


def _match(hit: SearchHit) -> Match:
    return Match(path=hit.entry.path, line=hit.line or 0, text=hit.text)


def _whole_characters(data: bytes) -> bytes:
    """Drop a UTF-8 character that the cut went through, so that the next piece begins with it."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] & 0xC0 != 0x80:  # where the last character starts
            needs = 4 if data[-back] >= 0xF0 else 3 if data[-back] >= 0xE0 else 2 if data[-back] >= 0xC0 else 1
            return data[:-back] if needs > back else data
    return data

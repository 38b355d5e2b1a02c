"""The Workspace capability: the employee's files, through whatever FileSystem it was given."""

from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel

from agent.capabilities import workspace_actions as act
from agent.capabilities.base import Action, BaseCapability, EffectKey
from agent.capabilities.excerpt import whole_characters
from agent.errors import ActionFailed
from agent.prompts import without_marks
from workstation.errors import WorkstationError
from workstation.interface import Entry, EntryKind, FileSystem, SearchEnd, SearchHit, SearchQuery


class WorkspaceCapability(BaseCapability):
    """Read, search and change the files of the employee's workspace."""

    name: ClassVar[str] = "workspace"
    actions: ClassVar[tuple[Action, ...]] = act.ACTIONS

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    async def _execute_action_impl(self, action: str, arguments: Any, key: EffectKey) -> BaseModel:
        try:
            return await getattr(self, f"_{action}")(arguments)  # type: ignore[no-any-return]
        except WorkstationError as error:
            raise ActionFailed(f"{error.reason}: {without_marks(str(error))}") from error

    async def _list_files(self, wanted: act.ListFiles) -> act.ListedFiles:
        if wanted.name:
            return await self._list_fitting(wanted)
        listing = await self._files.list(wanted.path, after=wanted.after, limit=act.MAX_LISTED)
        hint = f"list again with after={listing.entries[-1].name!r}" if listing.truncated else ""
        return act.ListedFiles(entries=list(map(_listed, listing.entries)), truncated=listing.truncated, hint=hint)

    async def _list_fitting(self, wanted: act.ListFiles) -> act.ListedFiles:
        if wanted.after:
            raise ActionFailed(
                "after goes on with the listing of one directory; with name, use a narrower glob or path"
            )
        hits, end = await self._search(SearchQuery(name=wanted.name, path=wanted.path, limit=act.MAX_LISTED))
        entries = sorted((_listed(hit.entry) for hit in hits), key=lambda entry: entry.path)
        return act.ListedFiles(entries=entries, truncated=end.truncated, hint=_narrower(end))

    async def _read_file(self, wanted: act.ReadFile) -> act.FileText:
        read = await self._files.read_file(wanted.path, offset=wanted.offset, length=wanted.limit)
        if b"\0" in read.data:
            raise ActionFailed(f"{wanted.path} is not a text file")
        # A limit below the width of one character must not read on for ever.
        data = read.data if read.ends else whole_characters(read.data) or read.data
        return act.FileText(
            path=read.entry.path,
            content=data.decode("utf-8", "replace"),
            truncated=not read.ends,
            next_offset=None if read.ends else wanted.offset + len(data),
            size=read.entry.size,
            version=read.entry.version,
        )

    async def _search_files(self, wanted: act.SearchFiles) -> act.Matches:
        query = SearchQuery(
            text=wanted.query,
            name=wanted.name,
            path=wanted.path,
            case_sensitive=wanted.case_sensitive,
            limit=act.MAX_HITS,
        )
        hits, end = await self._search(query)
        matches = [act.Match(path=hit.entry.path, line=hit.line or 0, text=hit.text) for hit in hits]
        return act.Matches(matches=matches, truncated=end.truncated, hint=_narrower(end))

    async def _write_file(self, wanted: act.WriteFile) -> act.WrittenFile:
        content = wanted.content.encode()
        return _written(
            await self._files.write(wanted.path, content, expected_version=wanted.version or None, parents=True)
        )

    async def _append_file(self, wanted: act.AppendFile) -> act.WrittenFile:
        return _written(await self._files.append(wanted.path, wanted.content.encode(), parents=True))

    async def _edit_file(self, wanted: act.EditFile) -> act.EditedFile:
        """Replace a text in the bytes of the file, if nobody changed it meanwhile."""
        before = await self._files.read_file(
            wanted.path, length=act.MAX_EDITED_BYTES, expected_version=wanted.version or None
        )
        if not before.ends:
            raise ActionFailed(f"{wanted.path} is too large to be edited so; use run_command or run_python")
        old, new = wanted.old.encode(), wanted.new.encode()
        lines = _lines_of(old, before.data)
        if not lines:
            raise ActionFailed(f"the text to replace is not in {wanted.path}; read it and give the text exactly")
        if len(lines) > 1 and not wanted.everywhere:
            shown = ", ".join(map(str, lines[:10])) + (", …" if len(lines) > 10 else "")
            raise ActionFailed(
                f"the text is in {wanted.path} {len(lines)} times, at lines {shown}: give more of what is around it, "
                "or everywhere=true"
            )
        entry = await self._files.write(
            wanted.path, before.data.replace(old, new), expected_version=before.entry.version
        )
        return act.EditedFile(
            path=entry.path, size=entry.size, version=entry.version, replaced=len(lines), line=lines[0]
        )

    async def _make_directory(self, wanted: act.FilePath) -> act.WrittenFile:
        return _written(await self._files.make_directory(wanted.path, parents=True))

    async def _move_file(self, wanted: act.MoveFile) -> act.WrittenFile:
        return _written(await self._files.move(wanted.path, wanted.to, replace=wanted.replace))

    async def _copy_file(self, wanted: act.MoveFile) -> act.WrittenFile:
        return _written(await self._files.copy(wanted.path, wanted.to, replace=wanted.replace))

    async def _remove_file(self, wanted: act.RemoveFile) -> act.Removed:
        entry = await self._files.stat(wanted.path)
        if entry.kind is EntryKind.DIRECTORY:
            if not wanted.recursive:
                raise ActionFailed(f"{wanted.path} is a directory; recursive=true removes it with all that is in it")
            return act.Removed(removed=await self._files.remove(wanted.path, recursive=True))
        return act.Removed(removed=await self._files.remove(wanted.path, expected_version=entry.version))

    async def _file_info(self, wanted: act.FilePath) -> act.FileInfo:
        entry = await self._files.stat(wanted.path)
        modified = datetime.fromtimestamp(entry.modified_ns / 1e9, UTC)
        return act.FileInfo(
            path=entry.path,
            kind=entry.kind.value,
            size=entry.size,
            modified=modified.isoformat(timespec="seconds"),
            version=entry.version,
            target=entry.target,
        )

    async def _workspace_usage(self, _: act.WorkspaceUsage) -> act.UsedSpace:
        used = await self._files.usage()
        return act.UsedSpace(
            bytes=used.bytes,
            entries=used.entries,
            quota_bytes=used.quota_bytes,
            quota_entries=used.quota_entries,
            available_bytes=used.available_bytes,
            truncated=used.truncated,
        )

    async def _search(self, query: SearchQuery) -> tuple[list[SearchHit], SearchEnd]:
        hits: list[SearchHit] = []
        end = SearchEnd(entries=0, bytes=0)
        async with aclosing(self._files.search(query)) as found:
            async for hit in found:
                if isinstance(hit, SearchEnd):
                    end = hit
                else:
                    hits.append(hit)
        return hits, end


def _listed(entry: Entry) -> act.ListedFile:
    return act.ListedFile(path=entry.path, kind=entry.kind.value, size=entry.size)


def _written(entry: Entry) -> act.WrittenFile:
    return act.WrittenFile(path=entry.path, size=entry.size, version=entry.version)


def _narrower(end: SearchEnd) -> str:
    """What to do about a search that was cut short."""
    if not end.truncated:
        return ""
    why = [
        f"it reached the limit of {' and '.join(end.cut_by)}" if end.cut_by else "",
        f"{end.cut_files} large files were searched in part" if end.cut_files else "",
        f"{end.unreadable} could not be read" if end.unreadable else "",
    ]
    return f"not everything was searched: {'; '.join(filter(None, why))}. Search again with a narrower path or name"


def _lines_of(text: bytes, data: bytes) -> list[int]:
    """The lines, from 1, where the text begins; as `bytes.replace` finds it, without overlaps."""
    lines: list[int] = []
    line, position = 1, 0
    while (found := data.find(text, position)) >= 0:
        line += data.count(b"\n", position, found)
        lines.append(line)
        line += text.count(b"\n")
        position = found + len(text)
    return lines

"""Looking for names and contents, in slices short enough that nobody else in the process has to wait."""

import os
import re
import time
from collections.abc import Iterator

from workstation.errors import FileSystemError, InvalidArgument
from workstation.interface import Entry, EntryKind, FileSystemLimits, SearchEnd, SearchHit, SearchQuery
from workstation.local.globs import path_filter
from workstation.local.threads import Stop
from workstation.local.tree import Found, Walk
from workstation.local.workspace import describe, describe_named, directory_beneath, kind_of, open_file
from workstation.paths import encode, join, split

_BLOCK = 256 << 10  # a regular expression holds the interpreter's lock while it goes through that many bytes
_LONGEST_LINE = 1 << 20  # bytes; a longer line is looked at in pieces
_PROBE = 8 << 10  # a NUL in this many bytes from the start makes a file binary
_WIDTH = 240  # characters of a line in a hit
_BEFORE = 80  # of which this many before what was found
_SLICE_SECONDS = 0.1
_SLICE_HITS = 64
_LONGEST_PATTERN = 1000  # characters


def check_query(query: SearchQuery) -> None:
    """Raise `InvalidArgument` for a query that asks for nothing, too much at once, or more than a line."""
    if not query.text and not query.name:
        raise InvalidArgument("a search needs a text or a name to look for")
    if max(len(query.text), len(query.name)) > _LONGEST_PATTERN:
        raise InvalidArgument(f"a search takes at most {_LONGEST_PATTERN} characters")
    if "\n" in query.text:
        raise InvalidArgument("a search looks within lines: no line break in the text")
    if query.limit is not None and query.limit < 1:
        raise InvalidArgument("the limit of a search is at least 1")


class Search:
    """One search below the directory descriptor `top`, whose path is `base`: call `next_slice` until `end` is set."""

    def __init__(self, top: int, base: bytes, query: SearchQuery, limits: FileSystemLimits) -> None:
        self.end: SearchEnd | None = None
        self._top = top
        self._base = base
        self._limits = limits
        self._hits_left = min(query.limit or limits.search_hits, limits.search_hits)
        self._needle = re.compile(re.escape(query.text), 0 if query.case_sensitive else re.IGNORECASE)
        self._overlap = 4 * len(query.text)
        self._fits = path_filter(query.name, case_sensitive=query.case_sensitive)
        self._walk = Walk(top, limits, Stop())
        self._finds = self._names() if not query.text else self._contents()
        self._seconds = 0.0
        self._bytes = self._binary = self._cut_files = self._unreadable = 0
        self._cut_by: set[str] = set()

    def next_slice(self, stop: Stop) -> list[SearchHit]:
        """Search for about a tenth of a second, in a thread; returns what was found."""
        self._walk.stop = stop
        started = time.monotonic()
        hits: list[SearchHit] = []
        for hit in self._finds:
            elapsed = time.monotonic() - started
            if hit is not None and self._hits_left == 0:
                self._cut_by.add("search_hits")
            elif hit is not None:
                hits.append(hit)
                self._hits_left -= 1
            if self._seconds + elapsed > self._limits.search_seconds:
                self._cut_by.add("search_seconds")
            if self._cut_by:
                break
            if elapsed > _SLICE_SECONDS or len(hits) >= _SLICE_HITS:
                self._seconds += elapsed
                return hits
        self.end = self._summary()
        return hits

    def _summary(self) -> SearchEnd:
        return SearchEnd(
            entries=self._walk.seen,
            bytes=self._bytes,
            binary=self._binary,
            cut_files=self._cut_files,
            unreadable=self._unreadable + self._walk.unreadable,
            cut_by=tuple(sorted(self._cut_by | self._walk.cut_by)),
        )

    def _names(self) -> Iterator[SearchHit | None]:
        for found in self._walk:
            yield SearchHit(entry=self._entry(found)) if self._fits(encode(found.path)) else None

    def _contents(self) -> Iterator[SearchHit | None]:
        for found in self._walk:
            if kind_of(found.status) is EntryKind.FILE and self._fits(encode(found.path)):
                yield from self._file(found)
            yield None

    def _file(self, found: Found) -> list[SearchHit]:
        """The hits of one file, at most one more than are wanted."""
        if self._bytes >= self._limits.search_bytes:
            self._cut_by.add("search_bytes")
            return []
        try:
            fd = open_file(self._top, found.path, links=False)
        except (OSError, FileSystemError):  # gone or swapped since the walk saw it, locked, or not ours to read
            self._unreadable += 1
            return []
        try:
            entry = self._entry(found)
            return [
                SearchHit(entry=entry, line=line, text=text)
                for (line, text), _ in zip(self._lines(fd), range(self._hits_left + 1), strict=False)
            ]
        finally:
            os.close(fd)

    def _lines(self, fd: int) -> Iterator[tuple[int, str]]:
        """Number and text of each line with the needle in it."""
        number, last, carry = 1, 0, b""
        for block in self._blocks(fd):
            buffer = carry + block
            end = buffer.rfind(b"\n") + 1 if block else len(buffer)
            if end == 0 and len(buffer) < _LONGEST_LINE:
                carry = buffer
                continue
            text = buffer[: end or len(buffer)].decode("utf-8", "replace")
            for line, excerpt in self._matches(text, number):
                if line != last:
                    yield line, excerpt
                last = line
            number += text.count("\n")
            carry = buffer[end or len(buffer) - self._overlap :]

    def _matches(self, text: str, number: int) -> Iterator[tuple[int, str]]:
        position = counted = 0
        while match := self._needle.search(text, position):
            number += text.count("\n", counted, match.start())
            counted = match.start()
            start = text.rfind("\n", 0, match.start()) + 1
            end = text.find("\n", match.end())
            position = len(text) if end < 0 else end + 1
            begin = max(start, match.start() - _BEFORE)
            yield number, text[begin : min(position, begin + _WIDTH)].rstrip("\r\n")

    def _blocks(self, fd: int) -> Iterator[bytes]:
        """A file's bytes as far as the limits allow, none of a binary one, and an empty block last."""
        most = min(self._limits.search_file_bytes, self._limits.search_bytes - self._bytes)
        offset = 0
        while offset < most:
            self._walk.stop.check()
            block = os.pread(fd, min(_BLOCK, most - offset), offset)
            if offset == 0 and b"\0" in block[:_PROBE]:
                self._binary += 1
                return
            if not block:
                break
            offset += len(block)
            self._bytes += len(block)
            yield block
        if offset < os.fstat(fd).st_size:
            self._cut_files += 1
        yield b""

    def _entry(self, found: Found) -> Entry:
        path = join(self._base, found.path)
        if kind_of(found.status) is not EntryKind.SYMLINK:
            return describe(path, found.status)
        directory, name = split(found.path)
        try:
            with directory_beneath(self._top, directory, links=False) as parent:
                return describe_named(parent, name, path)
        except (OSError, FileSystemError):  # gone since: what the walk saw is still true of then
            return describe(path, found.status)

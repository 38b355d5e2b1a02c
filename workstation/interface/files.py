r"""FileSystem: an employee's files, each addressed by a path beneath the workspace.

**Paths are text**, relative to the workspace, with `/` between names and `.` for the workspace itself; `..` is worked
out on the text. A file's name may be any bytes, so what a reader could not see or a terminal would obey is written as
an escape: `\xHH` for a byte that is not UTF-8 and for ASCII control characters, `\uHHHH` or `\UHHHHHHHH` for any
other character that does not print (direction marks, odd spaces, …), and `\\` for a backslash. Every path and link
target that a FileSystem returns is written so and is accepted as it stands; `workstation.paths` has both directions.

**Links**: reading follows a symbolic link as long as the kernel finds its end beneath the workspace. Changing never
follows one that is the last name of a path: `write` and `append` raise `WrongKind`, `move` and `remove` act on the
link itself. FIFOs, sockets and devices are listed, moved and removed but never opened.

**Versions** are opaque: equal means unchanged. Taken from inode, times and size, they tell two states apart as finely
as the kernel's clock for files does.
"""

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

ABSENT: Final = "absent"
"""As an expected version: nothing may have that name yet."""


class EntryKind(StrEnum):
    """What an entry is; `other` is a FIFO, a socket or a device."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


class QuotaKind(StrEnum):
    """Whose word the quota is: nobody's, ours alone (jailed programs can exceed it), or the volume's own."""

    NONE = "none"
    ADVISORY = "advisory"
    ENFORCED = "enforced"


class ChangeKind(StrEnum):
    """What happened to a watched entry.

    `begun` comes first, once: what happens from then on is reported. `overflow` says that changes were lost, or that
    some directories are not followed, and the caller should look afresh.
    """

    BEGUN = "begun"
    CREATED = "created"
    MODIFIED = "modified"
    REMOVED = "removed"
    OVERFLOW = "overflow"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One name in the workspace.

    `size` is in bytes, `allocated` what it takes on disk (less for a sparse file), `modified_ns` nanoseconds since
    1970 UTC, `mode` the nine permission bits, `links` how many names the same file has, `target` where a symlink
    points.
    """

    path: str
    kind: EntryKind
    size: int
    allocated: int
    version: str
    modified_ns: int
    mode: int
    links: int
    target: str | None = None

    @property
    def name(self) -> str:
        """The last name of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A page of a directory, names in byte order; with `truncated`, go on `after` the last entry's name."""

    entries: tuple[Entry, ...]
    truncated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FileContent:
    """Bytes of a file from `offset`, and the entry they were read from; `ends` says whether the file ends with them."""

    entry: Entry
    data: bytes
    offset: int = 0

    @property
    def ends(self) -> bool:
        """Whether nothing follows these bytes in the file."""
        return self.offset + len(self.data) >= self.entry.size


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchQuery:
    """What to look for; `text` or `name` must be given.

    `text` is literal and within one line. `name` is a glob: without `/` it applies to the last name, with `/` to the
    path below `path`, where `**` stands for any number of directories. Given both, only files that fit `name` are
    read. `limit` counts hits; None asks for as many as the limits allow.
    """

    text: str = ""
    name: str = ""
    path: str = "."
    case_sensitive: bool = False
    limit: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchHit:
    """A find: an entry, and in contents the line (from 1) and its text, cut to some width around what was found."""

    entry: Entry
    line: int | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchEnd:
    """The last thing a search yields: what was looked at, and why that was not everything, if so.

    `cut_by` names the limits that were reached; `binary`, `cut_files` and `unreadable` count files that were skipped
    as binary, read in part only, or could not be read.
    """

    entries: int
    bytes: int
    binary: int = 0
    cut_files: int = 0
    unreadable: int = 0
    cut_by: tuple[str, ...] = ()

    @property
    def truncated(self) -> bool:
        """Whether hits may be missing."""
        return bool(self.cut_by or self.cut_files or self.unreadable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something happened to `path`; for `begun` and `overflow` that is the watched directory."""

    kind: ChangeKind
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedArchive:
    """What an archive became: entries made and the bytes of their content; entries of it that were left out."""

    entries: int
    bytes: int
    left_out: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the workspace takes: bytes on disk (hard links once), entries; the quota in both; bytes that the volume has left.

    An enforced quota of entries is the volume's number of inodes, of which it keeps some for itself. With `truncated`,
    there is more than was counted.
    """

    bytes: int
    entries: int
    quota: QuotaKind
    quota_bytes: int | None
    quota_entries: int | None
    available_bytes: int
    truncated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSystemLimits:
    """The bounds of one FileSystem.

    Attributes:
        path_bytes: length of a path.
        chunk_bytes: one piece of a streamed read; also the most `append` takes.
        read_bytes: the most `read_file` returns.
        file_bytes: the largest file that is written, appended to or copied, and the most that one `read` streams.
        list_entries: the longest page of `list`.
        tree_entries: entries a copy, an archive, a search or a count of usage goes through.
        tree_depth: directories below each other that those go down.
        tree_seconds: how long a copy, a recursive remove or unpacking an archive may take.
        search_hits: the most hits of one search.
        search_bytes: bytes that one search reads in all.
        search_file_bytes: bytes that a search reads of one file, from its start.
        search_seconds: how long one search may take.
        archive_bytes: the largest archive, both as it comes and decompressed.
        watch_directories: directories that one watch follows.
        watch_changes: changes that wait for a slow consumer of a watch; the kernel may keep fewer.
    """

    path_bytes: int = 4095
    chunk_bytes: int = 1 << 20
    read_bytes: int = 16 << 20
    file_bytes: int = 4 << 30
    list_entries: int = 10_000
    tree_entries: int = 200_000
    tree_depth: int = 256
    tree_seconds: float = 120.0
    search_hits: int = 1_000
    search_bytes: int = 256 << 20
    search_file_bytes: int = 8 << 20
    search_seconds: float = 20.0
    archive_bytes: int = 8 << 30
    watch_directories: int = 10_000
    watch_changes: int = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSystemCapabilities:
    """What this FileSystem can do: whether `watch` works, whose word the quota is, and the limits."""

    watch: bool
    quota: QuotaKind
    limits: FileSystemLimits = field(default_factory=FileSystemLimits)


class FileSystem(Protocol):
    """An employee's files.

    Raises `FileSystemError`s, and `InvalidArgument`, `LimitExceeded`, `Unsupported` or `WorkstationUnavailable`.
    One object serves many calls at once. A change is seen whole or not at all, except those of `append` and recursive
    `remove`.
    """

    async def capabilities(self) -> FileSystemCapabilities:
        """Say what works here and within which limits."""
        ...

    async def stat(self, path: str) -> Entry:
        """Describe what has that name; a symlink itself, not its target. Raises `NotFound`."""
        ...

    async def list(self, path: str = ".", *, after: str = "", limit: int | None = None) -> Listing:
        """List a directory, a page at a time: at most `limit` entries whose names come after `after`."""
        ...

    async def read_file(
        self, path: str, *, offset: int = 0, length: int | None = None, expected_version: str | None = None
    ) -> FileContent:
        """Read a file, or `length` bytes of it from `offset`, into memory.

        Past the end there is nothing to read and `data` is empty. Raises `FileTooLarge` when that is more than
        `read_bytes`: ask for a range then, or stream; `VersionConflict` when the file is not, or does not stay, the
        expected version; `FileBusy` when it shrinks meanwhile.
        """
        ...

    def read(
        self, path: str, *, offset: int = 0, length: int | None = None, expected_version: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Stream a file, or `length` bytes of it from `offset`, in pieces of at most `chunk_bytes`.

        The end is where the file ended when the stream began. Errors come with the first piece; later ones say that the
        file shrank (`FileBusy`) or did not stay the expected version (`VersionConflict`). Wrap it in
        `contextlib.aclosing` if you may stop early.
        """
        ...

    def read_with_entry(
        self, path: str, *, offset: int = 0, length: int | None = None, expected_version: str | None = None
    ) -> AsyncGenerator[Entry | bytes]:
        """Stream a file as `read` does, after the entry that the bytes are read from."""
        ...

    async def write(
        self,
        path: str,
        content: bytes | AsyncIterable[bytes],
        *,
        expected_version: str | None = None,
        parents: bool = False,
        durable: bool = True,
    ) -> Entry:
        """Make `content` the file's content, at once: readers see all of the old or all of the new.

        `expected_version` guards against overwriting what somebody else wrote (`ABSENT`: nothing may be there yet)
        and raises `VersionConflict`; it holds among the users of one FileSystem, not against jailed programs.
        `parents` makes missing directories. `durable` waits for the disk. Permission bits of a replaced file stay. If
        `content` raises, nothing changes.
        """
        ...

    async def append(self, path: str, data: bytes, *, parents: bool = False, durable: bool = True) -> Entry:
        """Add at most `chunk_bytes` to the end of a file, in one piece; a missing file is made."""
        ...

    async def make_directory(self, path: str, *, parents: bool = False) -> Entry:
        """Make a directory; with `parents`, missing ones above it too, and one that exists already is fine."""
        ...

    async def move(self, source: str, target: str, *, replace: bool = False) -> Entry:
        """Give an entry another path (the full new path, not the directory to put it in).

        Without `replace`, raises `AlreadyExists` if something is there. With it, a file takes a file's place, a
        directory an empty directory's.
        """
        ...

    async def copy(self, source: str, target: str, *, replace: bool = False) -> Entry:
        """Copy a file, a link as a link, or a whole directory; the copy appears at once, complete.

        `replace` as for `move`. Holes of sparse files stay holes, hard links become files of their own. A FIFO,
        socket or device raises `WrongKind`; too many entries or too deep a tree `LimitExceeded`.
        """
        ...

    async def remove(self, path: str, *, recursive: bool = False, expected_version: str | None = None) -> int:
        """Remove a file, a link or an empty directory, with `recursive` all below it; returns how many entries went.

        Links below are removed, not followed. What takes longer than the limits allow raises `LimitExceeded` and can be
        asked for again.
        """
        ...

    def search(self, query: SearchQuery) -> AsyncGenerator[SearchHit | SearchEnd]:
        """Look for names and contents; yields hits as they are found, and a `SearchEnd` last.

        Links are not followed, binary files (a NUL near the start) are skipped, and every bound that cut the search
        short is named.
        """
        ...

    def watch(self, path: str = ".", *, recursive: bool = True) -> AsyncGenerator[Change]:
        """Stream changes in the directory `path`, with `recursive` in all below it, as they happen; `begun` comes first.

        A rename is a removal and a creation, also one that takes the place of another entry, as `write` does; what a
        new directory holds is reported as created, some of it perhaps twice. Equal changes in a row are one. Links are
        not followed. Once the directory itself is removed or moved, its removal is reported and the stream ends.

        Raises `WrongKind` for a file (watch its directory), `Unsupported` where `capabilities().watch` is false, and
        `WorkstationUnavailable` when the machine has no watches left. Wrap it in `contextlib.aclosing` if you may stop.
        """
        ...

    def export_archive(self, path: str = ".") -> AsyncGenerator[bytes]:
        """Stream a file, or all that a directory holds, as an uncompressed tar archive (pax).

        Links are archived as links, hard links as files of their own, holes as zeros. FIFOs, sockets and devices, which
        hold nothing, are left out, and so is what vanishes meanwhile. A file that grows is archived as long as it was
        when it was opened; one that shrinks ends the stream with `FileBusy`. An archive without an error is complete.
        Raises `LimitExceeded` and `FileTooLarge` for what is too much, `PermissionDenied` for what cannot be read.
        """
        ...

    async def import_archive(self, path: str, content: bytes | AsyncIterable[bytes]) -> ImportedArchive:
        """Unpack a tar (also gzipped) or zip archive into the directory `path`.

        A directory that is missing appears at once, complete. Into one that exists (such as `.`) each top-level entry
        of the archive moves once all is unpacked; none replaces anything: `AlreadyExists`. If anything is wrong,
        nothing changes. Permission bits of files and their modification times are kept, owners and setuid bits are not.
        Devices, FIFOs and symbolic links that lead out of the workspace are left out, and counted.

        Raises `ArchiveInvalid` for what is damaged, cut short or no archive, for names that are absolute or hold `..`,
        and for hard links to anything but a file of the archive; `LimitExceeded`, `FileTooLarge` or `QuotaExceeded` for
        what unpacks to too much.
        """
        ...

    async def usage(self) -> Usage:
        """Count what the workspace takes and say what it may take."""
        ...

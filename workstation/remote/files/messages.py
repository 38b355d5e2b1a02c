"""What a FileSystem takes and gives, as messages and back."""

from dataclasses import fields, replace

from empla.v1 import workstation_pb2 as pb
from workstation import paths
from workstation.errors import InvalidArgument, WorkstationFailed
from workstation.interface import (
    Change,
    ChangeKind,
    Entry,
    EntryKind,
    FileSystemCapabilities,
    FileSystemLimits,
    ImportedArchive,
    Listing,
    QuotaKind,
    SearchEnd,
    SearchHit,
    SearchQuery,
    Usage,
)
from workstation.remote.enums import choice, numbers

PIECE_BYTES = 1 << 20
"""The longest piece of a stream, as `workstation.proto` says."""

_INT64_MAX = (1 << 63) - 1
_LONGEST_PATH = 1 << 16
"""Bytes: no kernel takes more, and the limit that holds is the workstation's."""
_LISTING_BYTES = 6 << 20
"""How large a page of entries may be: a message has at most 8 MiB."""
_ENTRY_KINDS = numbers(EntryKind, pb.FileKind)
_QUOTA_KINDS = numbers(QuotaKind, pb.QuotaKind)
_CHANGE_KINDS = numbers(ChangeKind, pb.FileChange.Kind)


def path_text(path: str) -> str:
    """A path as it crosses. Raises what a workstation would raise for one that is none, however long."""
    paths.resolve(path, limit=_LONGEST_PATH)
    return path


def name_text(name: str) -> str:
    """A name to go on after, as it crosses; raises `InvalidPath`."""
    paths.decode(name)
    return name[: 10 * _LONGEST_PATH]


def text(value: str) -> str:
    """Any other text. Raises `InvalidArgument` for half a character or far too many, which the wire does not carry."""
    if len(value) > _LONGEST_PATH:
        raise InvalidArgument(f"{len(value)} characters of text are too many")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"not text: {error}") from error
    return value


def number(value: int) -> int:
    """A number as it crosses: one that is too large means the same as the largest, to all who count bytes and entries."""
    return max(-1, min(value, _INT64_MAX))


def entry_message(entry: Entry) -> pb.FileEntry:
    """An entry as a message."""
    return pb.FileEntry(
        path=entry.path,
        kind=_ENTRY_KINDS[entry.kind],
        size=entry.size,
        allocated=entry.allocated,
        version=entry.version,
        modified_ns=entry.modified_ns,
        mode=entry.mode,
        links=entry.links,
        target=entry.target,
    )


def entry_of(message: pb.FileEntry) -> Entry:
    """The entry that a message means."""
    return Entry(
        path=message.path,
        kind=choice(_ENTRY_KINDS, message.kind, "kind of file"),
        size=message.size,
        allocated=message.allocated,
        version=message.version,
        modified_ns=message.modified_ns,
        mode=message.mode,
        links=message.links,
        target=message.target if message.HasField("target") else None,
    )


def read_message(path: str, offset: int, length: int | None, expected_version: str | None) -> pb.FileReadRequest:
    """What is to be read, as a message. Raises `InvalidArgument` and `InvalidPath` for what the wire could not carry."""
    return pb.FileReadRequest(
        path=path_text(path),
        offset=number(offset),
        length=None if length is None else number(length),
        expected_version=None if expected_version is None else text(expected_version),
    )


def range_of(request: pb.FileReadRequest, entry: Entry) -> tuple[int, int]:
    """Where in the file the range begins that is asked for, and how long it is."""
    end = entry.size if not request.HasField("length") else min(entry.size, request.offset + request.length)
    start = min(request.offset, end)
    return start, end - start


def listing_message(listing: Listing) -> pb.FileListing:
    """A page of entries as a message: with fewer entries, and truncated, where it would be too large."""
    message = pb.FileListing(entries=map(entry_message, listing.entries), truncated=listing.truncated)
    while message.ByteSize() > _LISTING_BYTES:
        del message.entries[len(message.entries) // 2 :]
        message.truncated = True
    return message


def listing_of(message: pb.FileListing) -> Listing:
    """The page that a message means."""
    return Listing(entries=tuple(map(entry_of, message.entries)), truncated=message.truncated)


def capabilities_message(capabilities: FileSystemCapabilities) -> pb.FileCapabilities:
    """Capabilities as a message; through the wire no piece is longer than one of its own."""
    limits = replace(capabilities.limits, chunk_bytes=min(capabilities.limits.chunk_bytes, PIECE_BYTES))
    return pb.FileCapabilities(
        watch=capabilities.watch,
        quota=_QUOTA_KINDS[capabilities.quota],
        limits=pb.FileLimits(**{field.name: getattr(limits, field.name) for field in fields(limits)}),
    )


def capabilities_of(message: pb.FileCapabilities) -> FileSystemCapabilities:
    """The capabilities that a message means."""
    limits = {field.name: getattr(message.limits, field.name) for field in fields(FileSystemLimits)}
    return FileSystemCapabilities(
        watch=message.watch,
        quota=choice(_QUOTA_KINDS, message.quota, "kind of quota"),
        limits=FileSystemLimits(**limits),
    )


def search_message(query: SearchQuery) -> pb.FileSearchRequest:
    """A search as a message. Raises `InvalidArgument` and `InvalidPath` for what the wire could not carry."""
    return pb.FileSearchRequest(
        text=text(query.text),
        name=text(query.name),
        path=path_text(query.path),
        case_sensitive=query.case_sensitive,
        limit=None if query.limit is None else number(query.limit),
    )


def search_of(message: pb.FileSearchRequest) -> SearchQuery:
    """The search that a message asks for."""
    return SearchQuery(
        text=message.text,
        name=message.name,
        path=message.path,
        case_sensitive=message.case_sensitive,
        limit=message.limit if message.HasField("limit") else None,
    )


def find_message(find: SearchHit | SearchEnd) -> pb.FileSearchResponse:
    """What a search yields, as a message."""
    if isinstance(find, SearchHit):
        return pb.FileSearchResponse(
            hit=pb.FileSearchHit(entry=entry_message(find.entry), line=find.line, text=find.text)
        )
    return pb.FileSearchResponse(
        end=pb.FileSearchEnd(
            entries=find.entries,
            bytes=find.bytes,
            binary=find.binary,
            cut_files=find.cut_files,
            unreadable=find.unreadable,
            cut_by=find.cut_by,
        )
    )


def find_of(message: pb.FileSearchResponse) -> SearchHit | SearchEnd:
    """What a search yielded."""
    match message.WhichOneof("event"):
        case "hit":
            hit = message.hit
            line = hit.line if hit.HasField("line") else None
            return SearchHit(entry=entry_of(hit.entry), line=line, text=hit.text)
        case "end":
            end = message.end
            return SearchEnd(
                entries=end.entries,
                bytes=end.bytes,
                binary=end.binary,
                cut_files=end.cut_files,
                unreadable=end.unreadable,
                cut_by=tuple(end.cut_by),
            )
    raise unknown("event of a search")


def change_message(change: Change) -> pb.FileChange:
    """A change as a message."""
    return pb.FileChange(kind=_CHANGE_KINDS[change.kind], path=change.path)


def change_of(message: pb.FileChange) -> Change:
    """The change that a message reports."""
    return Change(kind=choice(_CHANGE_KINDS, message.kind, "kind of change"), path=message.path)


def imported_message(imported: ImportedArchive) -> pb.FileImportedArchive:
    """What an archive became, as a message."""
    return pb.FileImportedArchive(entries=imported.entries, bytes=imported.bytes, left_out=imported.left_out)


def imported_of(message: pb.FileImportedArchive) -> ImportedArchive:
    """What an archive became."""
    return ImportedArchive(entries=message.entries, bytes=message.bytes, left_out=message.left_out)


def usage_message(usage: Usage) -> pb.FileUsage:
    """Usage as a message; a volume may call itself larger than the wire can say."""
    return pb.FileUsage(
        bytes=usage.bytes,
        entries=usage.entries,
        quota=_QUOTA_KINDS[usage.quota],
        quota_bytes=None if usage.quota_bytes is None else number(usage.quota_bytes),
        quota_entries=None if usage.quota_entries is None else number(usage.quota_entries),
        available_bytes=number(usage.available_bytes),
        truncated=usage.truncated,
    )


def usage_of(message: pb.FileUsage) -> Usage:
    """The usage that a message tells."""
    return Usage(
        bytes=message.bytes,
        entries=message.entries,
        quota=choice(_QUOTA_KINDS, message.quota, "kind of quota"),
        quota_bytes=message.quota_bytes if message.HasField("quota_bytes") else None,
        quota_entries=message.quota_entries if message.HasField("quota_entries") else None,
        available_bytes=message.available_bytes,
        truncated=message.truncated,
    )


def unknown(what: str) -> WorkstationFailed:
    """The error of an answer that this build cannot read: the peer is of another one."""
    return WorkstationFailed(f"the workstation answered with an unknown {what}")

"""What a workstation is: three Protocols, FileSystem, Compute and Browser, and the values they take and give.

`empla/v1/workstation.proto` mirrors them; the errors they raise are drawn in `workstation.errors`.
"""

from workstation.interface.files import (
    ABSENT,
    Change,
    ChangeKind,
    Entry,
    EntryKind,
    FileContent,
    FileSystem,
    FileSystemCapabilities,
    FileSystemLimits,
    Listing,
    QuotaKind,
    SearchEnd,
    SearchHit,
    SearchQuery,
    Usage,
)

__all__ = [
    "ABSENT",
    "Change",
    "ChangeKind",
    "Entry",
    "EntryKind",
    "FileContent",
    "FileSystem",
    "FileSystemCapabilities",
    "FileSystemLimits",
    "Listing",
    "QuotaKind",
    "SearchEnd",
    "SearchHit",
    "SearchQuery",
    "Usage",
]

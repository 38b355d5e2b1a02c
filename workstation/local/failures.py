"""The one place where the kernel's errors become the workstation's."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from workstation.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileBusy,
    FileSystemError,
    InvalidPath,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    StorageFailed,
    WorkstationError,
    WorkstationUnavailable,
    WrongKind,
)
from workstation.paths import encode

_MEANINGS: dict[int, tuple[type[FileSystemError], str]] = {
    errno.ENOENT: (NotFound, "there is no {path}"),
    errno.EEXIST: (AlreadyExists, "there is something at {path} already"),
    errno.ENOTEMPTY: (DirectoryNotEmpty, "the directory {path} is not empty"),
    errno.ENOTDIR: (WrongKind, "{path}, or a name on the way there, is not a directory"),
    errno.EISDIR: (WrongKind, "{path} is a directory"),
    errno.ENXIO: (WrongKind, "{path} is not a file"),
    errno.ENAMETOOLONG: (InvalidPath, "the path or a name in it is too long: {path}"),
    errno.ELOOP: (InvalidPath, "the links at {path} go round in circles or may not be followed"),
    errno.EINVAL: (InvalidPath, "{path} is no place for that"),
    errno.EXDEV: (InvalidPath, "{path} lies on another volume: copy, then remove"),
    errno.EACCES: (PermissionDenied, "the operating system forbids it: {path}"),
    errno.EPERM: (PermissionDenied, "the operating system forbids it: {path}"),
    errno.EROFS: (PermissionDenied, "the volume is read-only: {path}"),
    errno.ENOSPC: (QuotaExceeded, "the volume is full: {path}"),
    errno.EDQUOT: (QuotaExceeded, "the volume's quota is used up: {path}"),
    errno.EMLINK: (QuotaExceeded, "the directory cannot take more: {path}"),
    errno.EFBIG: (QuotaExceeded, "the volume takes no file that large: {path}"),
    errno.EAGAIN: (FileBusy, "another program holds {path}"),
    errno.EBUSY: (FileBusy, "{path} is in use"),
    errno.ETXTBSY: (FileBusy, "{path} is in use"),
}
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def translate(error: OSError, path: bytes) -> WorkstationError:
    """Say what the kernel's `error` at `path` means."""
    shown = encode(path)
    if error.errno in _EXHAUSTED:
        return WorkstationUnavailable(f"this machine has no descriptors or memory left: {shown}")
    kind, text = _MEANINGS.get(error.errno or 0, (StorageFailed, f"{error.strerror}: {{path}}"))
    return kind(text.replace("{path}", shown), path=shown)


@contextmanager
def failures(path: bytes) -> Iterator[None]:
    """Translate every OSError of the block, as one about `path`."""
    try:
        yield
    except OSError as error:
        raise translate(error, path) from error

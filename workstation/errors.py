"""Everything that can go wrong at a workstation, as one tree.

Beside each class stands its canonical gRPC code; the class's `reason` travels as the `ErrorInfo` reason::

    WorkstationError
    ├── InvalidArgument             an argument makes no sense                      INVALID_ARGUMENT
    ├── LimitExceeded               a bound of `capabilities()` is reached          RESOURCE_EXHAUSTED
    ├── Unsupported                 this workstation does not do that               UNIMPLEMENTED
    │   └── OpenAt2Missing          the kernel cannot keep paths beneath a root     UNIMPLEMENTED
    ├── WorkstationUnavailable      closed, gone or out of reach        retryable   UNAVAILABLE
    ├── WorkstationFailed           an error in it that nobody foresaw              INTERNAL
    ├── CredentialRefused           its token is missing, wrong or expired          UNAUTHENTICATED
    ├── SandboxUnavailable          the sandbox cannot be built                     FAILED_PRECONDITION
    ├── ProfileBusy                 another process uses that browser profile       FAILED_PRECONDITION
    ├── FileSystemError             has `path`
    │   ├── InvalidPath             no path at all: empty, NUL, too long            INVALID_ARGUMENT
    │   ├── PathOutsideWorkspace    leads out of the workspace                      PERMISSION_DENIED
    │   ├── PermissionDenied        the operating system forbids it                 PERMISSION_DENIED
    │   ├── NotFound                nothing has that name                           NOT_FOUND
    │   ├── AlreadyExists           something has that name already                 ALREADY_EXISTS
    │   ├── WrongKind               a directory where a file must be, a FIFO, …     FAILED_PRECONDITION
    │   ├── DirectoryNotEmpty       removing or replacing it needs more             FAILED_PRECONDITION
    │   ├── VersionConflict         somebody changed it meanwhile                   ABORTED
    │   ├── FileBusy                held by another program             retryable   UNAVAILABLE
    │   ├── ArchiveInvalid          damaged, cut short, unsafe, or no archive       INVALID_ARGUMENT
    │   ├── FileTooLarge            more bytes than the limits allow                OUT_OF_RANGE
    │   ├── QuotaExceeded           the workspace or its volume is full             RESOURCE_EXHAUSTED
    │   └── StorageFailed           the storage below is broken                     DATA_LOSS
    ├── ComputeError                has `target`: an exec_id or a session_id
    │   ├── ExecNotFound            no such execution                               NOT_FOUND
    │   ├── ExecConflict            the same exec_id with another command           ALREADY_EXISTS
    │   ├── ExecEnded               it is over and takes no input or signal         FAILED_PRECONDITION
    │   ├── OutputExpired           that offset is no longer kept                   OUT_OF_RANGE
    │   ├── StdinOffsetMismatch     input does not continue where it ended          OUT_OF_RANGE
    │   ├── SessionNotFound         no such session                                 NOT_FOUND
    │   ├── SessionBusy             it runs something already                       FAILED_PRECONDITION
    │   └── SessionLost             its interpreter died, its state is gone         ABORTED
    └── BrowserError                has `page_id`
        ├── PageNotFound            no such page                                    NOT_FOUND
        ├── PageCrashed             the page died                                   ABORTED
        ├── StaleRef                the ref is not of the latest snapshot           FAILED_PRECONDITION
        ├── ActionFailed            the element did not take the action             FAILED_PRECONDITION
        ├── DialogOpen              the page waits in a dialog                      FAILED_PRECONDITION
        ├── PageTimedOut            what was waited for did not come                DEADLINE_EXCEEDED
        ├── NavigationFailed        no answer, bad certificate, not a page          FAILED_PRECONDITION
        └── NavigationBlocked       the egress rules forbid that address            PERMISSION_DENIED
            └── SubmissionBlocked   a form may not go to that host                  PERMISSION_DENIED
"""

from typing import ClassVar


class WorkstationError(Exception):
    """A workstation could not do what was asked; `retryable` says whether the same call may succeed later."""

    reason: ClassVar[str] = "WORKSTATION_ERROR"
    retryable: ClassVar[bool] = False


class InvalidArgument(WorkstationError):
    """An argument makes no sense, whatever the state of the workstation."""

    reason = "INVALID_ARGUMENT"


class LimitExceeded(WorkstationError):
    """A bound is reached: `limit` is its field in the limits that `capabilities()` reports, `allowed` its value."""

    reason = "LIMIT_EXCEEDED"

    def __init__(self, message: str, *, limit: str, allowed: float) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class Unsupported(WorkstationError):
    """This workstation does not do that; `capabilities()` says so beforehand."""

    reason = "UNSUPPORTED"


class OpenAt2Missing(Unsupported):
    """The kernel (or a seccomp filter) does not offer openat2, so no path can be kept beneath the workspace."""

    reason = "OPENAT2_MISSING"


class WorkstationUnavailable(WorkstationError):
    """The workstation is not open, was closed, or cannot be reached."""

    reason = "WORKSTATION_UNAVAILABLE"
    retryable = True


class WorkstationFailed(WorkstationError):
    """A workstation in another process met an error of its own; its log says more."""

    reason = "WORKSTATION_FAILED"


class CredentialRefused(WorkstationError):
    """A workstation in another process does not take the token that it was shown."""

    reason = "CREDENTIAL_REFUSED"


class SandboxUnavailable(WorkstationError):
    """The sandbox cannot be built; the message says what to install or allow."""

    reason = "SANDBOX_UNAVAILABLE"


class ProfileBusy(WorkstationError):
    """Another process uses this browser profile; only one may at a time."""

    reason = "PROFILE_BUSY"


class FileSystemError(WorkstationError):
    """A file operation failed; `path` is the path it failed at, as text safe to show."""

    reason = "FILE_SYSTEM_ERROR"

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class InvalidPath(FileSystemError):
    """This cannot name anything: empty, a NUL, a bad escape, too long, or links that go round in circles."""

    reason = "INVALID_PATH"


class PathOutsideWorkspace(FileSystemError):
    """The path is absolute, or it or a link on its way leads out of the workspace."""

    reason = "PATH_OUTSIDE_WORKSPACE"


class PermissionDenied(FileSystemError):
    """The operating system forbids it."""

    reason = "PERMISSION_DENIED"


class NotFound(FileSystemError):
    """Nothing has that name, or a directory on the way is missing."""

    reason = "NOT_FOUND"


class AlreadyExists(FileSystemError):
    """Something has that name already and was not to be replaced."""

    reason = "ALREADY_EXISTS"


class WrongKind(FileSystemError):
    """The entry is not of the kind the operation needs, such as a directory, a link or a FIFO instead of a file."""

    reason = "WRONG_KIND"


class DirectoryNotEmpty(FileSystemError):
    """The directory holds something and was to be removed or replaced as if it did not."""

    reason = "DIRECTORY_NOT_EMPTY"


class VersionConflict(FileSystemError):
    """The entry's version is not the expected one; `actual` is None when nothing is there."""

    reason = "VERSION_CONFLICT"

    def __init__(self, message: str, *, path: str, expected: str, actual: str | None) -> None:
        super().__init__(message, path=path)
        self.expected = expected
        self.actual = actual


class FileBusy(FileSystemError):
    """Another program holds the file in a way that would make us wait."""

    reason = "FILE_BUSY"
    retryable = True


class ArchiveInvalid(FileSystemError):
    """An archive that is damaged, cut short, of another kind, or has an entry that may not be unpacked."""

    reason = "ARCHIVE_INVALID"


class FileTooLarge(FileSystemError):
    """More bytes than the limits allow; `allowed` is how many."""

    reason = "FILE_TOO_LARGE"

    def __init__(self, message: str, *, path: str, allowed: int) -> None:
        super().__init__(message, path=path)
        self.allowed = allowed


class QuotaExceeded(FileSystemError):
    """The workspace's quota is used up, or the volume below it is full."""

    reason = "QUOTA_EXCEEDED"


class StorageFailed(FileSystemError):
    """The storage below the workspace reported an error of its own."""

    reason = "STORAGE_FAILED"


class ComputeError(WorkstationError):
    """An execution or a session failed us; `target` is its id."""

    reason = "COMPUTE_ERROR"

    def __init__(self, message: str, *, target: str) -> None:
        super().__init__(message)
        self.target = target


class ExecNotFound(ComputeError):
    """No execution has that id, or it ended so long ago that it is forgotten."""

    reason = "EXEC_NOT_FOUND"


class ExecConflict(ComputeError):
    """An execution with that id exists and was started with something else."""

    reason = "EXEC_CONFLICT"


class ExecEnded(ComputeError):
    """The execution is over and takes no input or signal any more."""

    reason = "EXEC_ENDED"


class OutputExpired(ComputeError):
    """Output before `earliest` (a byte offset of `stream`) is no longer kept."""

    reason = "OUTPUT_EXPIRED"

    def __init__(self, message: str, *, target: str, stream: str, earliest: int) -> None:
        super().__init__(message, target=target)
        self.stream = stream
        self.earliest = earliest


class StdinOffsetMismatch(ComputeError):
    """Input must continue at byte `expected`; it was not taken."""

    reason = "STDIN_OFFSET_MISMATCH"

    def __init__(self, message: str, *, target: str, expected: int) -> None:
        super().__init__(message, target=target)
        self.expected = expected


class SessionNotFound(ComputeError):
    """No session has that id."""

    reason = "SESSION_NOT_FOUND"


class SessionBusy(ComputeError):
    """The session runs something already; it does one thing at a time."""

    reason = "SESSION_BUSY"


class SessionLost(ComputeError):
    """The session's interpreter died and its state is gone; open another."""

    reason = "SESSION_LOST"


class BrowserError(WorkstationError):
    """A page failed us; `page_id` says which."""

    reason = "BROWSER_ERROR"

    def __init__(self, message: str, *, page_id: str) -> None:
        super().__init__(message)
        self.page_id = page_id


class PageNotFound(BrowserError):
    """No page has that id, or it was closed."""

    reason = "PAGE_NOT_FOUND"


class PageCrashed(BrowserError):
    """The page died, for want of memory or by a fault; close it and open another."""

    reason = "PAGE_CRASHED"


class StaleRef(BrowserError):
    """The ref does not name an element of the page's latest snapshot; take a new one."""

    reason = "STALE_REF"

    def __init__(self, message: str, *, page_id: str, ref: str) -> None:
        super().__init__(message, page_id=page_id)
        self.ref = ref


class ActionFailed(BrowserError):
    """The element did not take the action: hidden, disabled, covered, or of another kind."""

    reason = "ACTION_FAILED"


class DialogOpen(BrowserError):
    """The page waits in a dialog, and does nothing else until it is answered."""

    reason = "DIALOG_OPEN"


class PageTimedOut(BrowserError):
    """The page did not come to what was waited for within its time."""

    reason = "PAGE_TIMED_OUT"


class NavigationFailed(BrowserError):
    """The address gave no page: no answer, a bad certificate, a failed connection."""

    reason = "NAVIGATION_FAILED"


class NavigationBlocked(BrowserError):
    """The egress rules forbid that address."""

    reason = "NAVIGATION_BLOCKED"


class SubmissionBlocked(NavigationBlocked):
    """A form of the host `sender` may not be sent to the host `receiver`; either is '' where it is not known."""

    reason = "SUBMISSION_BLOCKED"

    def __init__(self, message: str, *, page_id: str, sender: str, receiver: str) -> None:
        super().__init__(message, page_id=page_id)
        self.sender = sender
        self.receiver = receiver

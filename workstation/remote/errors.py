"""Errors of a workstation on the wire, both ways: the canonical code, the class's `reason`, its attributes as metadata."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import grpc.aio

from empla import rpc
from workstation import errors
from workstation.errors import CredentialRefused, WorkstationError, WorkstationFailed, WorkstationUnavailable

MAX_MESSAGE_CHARACTERS = 4096
"""All of an error must fit the metadata of a call."""

_CODES: dict[type[WorkstationError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.WorkstationUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.WorkstationFailed: grpc.StatusCode.INTERNAL,
    errors.CredentialRefused: grpc.StatusCode.UNAUTHENTICATED,
    errors.SandboxUnavailable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ProfileBusy: grpc.StatusCode.FAILED_PRECONDITION,
    errors.InvalidPath: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PathOutsideWorkspace: grpc.StatusCode.PERMISSION_DENIED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.WrongKind: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DirectoryNotEmpty: grpc.StatusCode.FAILED_PRECONDITION,
    errors.VersionConflict: grpc.StatusCode.ABORTED,
    errors.FileBusy: grpc.StatusCode.UNAVAILABLE,
    errors.ArchiveInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.FileTooLarge: grpc.StatusCode.OUT_OF_RANGE,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StorageFailed: grpc.StatusCode.DATA_LOSS,
    errors.ExecNotFound: grpc.StatusCode.NOT_FOUND,
    errors.ExecConflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.ExecEnded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutputExpired: grpc.StatusCode.OUT_OF_RANGE,
    errors.StdinOffsetMismatch: grpc.StatusCode.OUT_OF_RANGE,
    errors.SessionNotFound: grpc.StatusCode.NOT_FOUND,
    errors.SessionBusy: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SessionLost: grpc.StatusCode.ABORTED,
    errors.PageNotFound: grpc.StatusCode.NOT_FOUND,
    errors.PageCrashed: grpc.StatusCode.ABORTED,
    errors.StaleRef: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ActionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DialogOpen: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PageTimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.NavigationFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NavigationBlocked: grpc.StatusCode.PERMISSION_DENIED,
}

_AWAY = (WorkstationUnavailable, "the workstation is out of reach")
_REFUSED = (CredentialRefused, "the workstation does not take our token")
_MISFIT = (errors.InvalidArgument, "the workstation cannot take that message")
_WITHOUT_REASON: dict[grpc.StatusCode, tuple[type[WorkstationError], str]] = {
    grpc.StatusCode.UNAVAILABLE: _AWAY,
    grpc.StatusCode.CANCELLED: _AWAY,
    grpc.StatusCode.DEADLINE_EXCEEDED: (WorkstationUnavailable, "the workstation did not answer in time"),
    grpc.StatusCode.UNAUTHENTICATED: _REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: _REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: (errors.Unsupported, "this workstation does not do that"),
    grpc.StatusCode.INVALID_ARGUMENT: _MISFIT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _MISFIT,
    grpc.StatusCode.OUT_OF_RANGE: _MISFIT,
}
"""What a code means that gRPC itself, or who stands before the workstation, gave."""


def to_status(error: Exception) -> rpc.StatusError | None:
    """A workstation's error as it crosses the wire; None for one that nobody foresaw."""
    if not isinstance(error, WorkstationError):
        return None
    code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    told = {name: _text(getattr(error, name)) for name in _parameters(type(error)) if getattr(error, name) is not None}
    return rpc.StatusError(code, error.reason, _text(error)[:MAX_MESSAGE_CHARACTERS], metadata=told)


def _text(given: object) -> str:
    """As text that can be sent: what a page or a program says may hold half a character."""
    return str(given).encode("utf-8", "replace").decode()


def from_call(error: grpc.aio.AioRpcError) -> WorkstationError:
    """The error that a call ended with, as the workstation raised it there."""
    info, message = rpc.info_of(error), error.details() or ""
    kind = _BY_REASON.get(info.reason)
    if kind is not None:
        parameters = _parameters(kind)
        told = {name: parameters[name](text) for name, text in info.metadata.items() if name in parameters}
        return kind(message, **(dict.fromkeys(parameters) | told))
    kind, what = _WITHOUT_REASON.get(
        error.code(), (WorkstationFailed, "an error in the workstation; its log says more")
    )
    return kind(f"{what}: {message}")


def _parameters(kind: type[WorkstationError]) -> dict[str, Callable[[str], Any]]:
    """What an error is made with besides its message, and how that is read from text."""
    signature = inspect.signature(kind.__init__)
    return {
        name: parameter.annotation if parameter.annotation in (int, float) else str
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def _descendants(kind: type[WorkstationError]) -> Iterator[type[WorkstationError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


_BY_REASON = {kind.reason: kind for kind in _descendants(WorkstationError)}

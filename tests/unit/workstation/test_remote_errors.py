"""Every error of a workstation comes out of the wire as it went in."""

import inspect
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from workstation import errors
from workstation.errors import WorkstationError
from workstation.remote.errors import from_call, to_status

TEXT = "ä\n\\x00 100 %"


def kinds() -> list[type[WorkstationError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, WorkstationError)]
    abstract = {
        errors.WorkstationError,
        errors.FileSystemError,
        errors.ComputeError,
        errors.BrowserError,
    }
    return [kind for kind in found if kind not in abstract]


def example(kind: type[WorkstationError]) -> WorkstationError:
    values: dict[Any, Any] = {int: 7, float: 2.5}
    parameters = inspect.signature(kind.__init__).parameters.values()
    told = {p.name: values.get(p.annotation, TEXT) for p in parameters if p.kind is p.KEYWORD_ONLY}
    return kind(TEXT, **told)


def over_the_wire(error: WorkstationError) -> WorkstationError:
    status = to_status(error)
    assert status is not None
    packed = status.to_status()
    metadata = grpc.aio.Metadata(*((key, value) for key, value in packed.trailing_metadata))
    return from_call(grpc.aio.AioRpcError(packed.code, grpc.aio.Metadata(), metadata, details=packed.details))


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_the_same_comes_out(kind: type[WorkstationError]) -> None:
    sent = example(kind)
    received = over_the_wire(sent)
    assert type(received) is kind
    assert str(received) == str(sent)
    assert told(received) == told(sent)


def told(error: WorkstationError) -> dict[str, Any]:
    names = inspect.signature(type(error).__init__).parameters
    return {
        name: getattr(error, name) for name in names if name not in ("self", "message", "args") and hasattr(error, name)
    }


def test_codes_are_those_of_the_tree() -> None:
    """The docstring of `workstation.errors` is what the contract promises."""
    lines = dict(drawn())
    for kind in kinds():
        status = to_status(example(kind))
        assert status is not None
        assert status.code.name == lines[kind.__name__], kind


def drawn() -> Iterator[tuple[str, str]]:
    assert errors.__doc__
    for line in errors.__doc__.splitlines():
        if "── " in line:
            words = line.partition("── ")[2].split()
            yield words[0], words[-1]


def test_what_is_absent_stays_absent() -> None:
    received = over_the_wire(errors.VersionConflict("gone", path="a", expected="1", actual=None))
    assert isinstance(received, errors.VersionConflict)
    assert received.actual is None


def test_a_long_message_is_cut() -> None:
    assert len(str(over_the_wire(errors.InvalidArgument("x" * 100_000)))) == 4096


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.WorkstationUnavailable),
        (grpc.StatusCode.CANCELLED, errors.WorkstationUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.WorkstationUnavailable),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Unsupported),
        (grpc.StatusCode.UNAUTHENTICATED, errors.CredentialRefused),
        (grpc.StatusCode.PERMISSION_DENIED, errors.CredentialRefused),
        (grpc.StatusCode.INTERNAL, errors.WorkstationFailed),
        (grpc.StatusCode.UNKNOWN, errors.WorkstationFailed),
    ],
)
def test_a_bare_code(code: grpc.StatusCode, kind: type[WorkstationError]) -> None:
    bare = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="why")
    assert type(from_call(bare)) is kind

"""What a Compute takes and gives, as messages and back.

Numbers beyond what a message holds become the nearest that it does, which is as much out of bounds. Text that is no
Unicode is refused in requests, and shown as well as can be in what comes from a program.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from empla.v1 import workstation_pb2 as pb
from workstation import paths
from workstation.errors import InvalidArgument
from workstation.interface import (
    ComputeCapabilities,
    ComputeLimits,
    EndReason,
    ExecEnd,
    ExecLimits,
    ExecSignal,
    ExecSpec,
    ExecStatus,
    Output,
    OutputStream,
    QuotaKind,
    RichResult,
    RunEnd,
    Session,
    SessionError,
    SessionEvent,
    SessionSpec,
    SessionText,
    Terminal,
)
from workstation.remote.enums import choice, numbers

INT64_MAX = (1 << 63) - 1
UINT32_MAX = (1 << 32) - 1
CARRIED_BYTES = 7 << 20
"""The most that one message is given to carry, so that it fits with what comes beside it."""
LISTED_BYTES = 1 << 20
"""About how much of a list one message has."""

_CARRIED = ("argument_bytes", "stdin_bytes", "chunk_bytes", "code_bytes", "result_bytes")
_STREAMS = numbers(OutputStream, pb.OutputStream)
_SIGNALS = numbers(ExecSignal, pb.ExecSignal)
_REASONS = numbers(EndReason, pb.EndReason)
_QUOTA_KINDS = numbers(QuotaKind, pb.QuotaKind)


@contextmanager
def being_text(what: str) -> Iterator[None]:
    """Raises `InvalidArgument` when what is put into a message is no Unicode."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{what} is not text: {paths.show(error.object)[:100]}") from error


def int64(number: int) -> int:
    """The number, or the nearest that a message holds."""
    return max(-INT64_MAX, min(number, INT64_MAX))


def _shown(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _present(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


# What a Compute can do.


def capabilities_message(capabilities: ComputeCapabilities, instance: str) -> pb.ComputeCapabilities:
    """What a Compute can do, as far as messages carry it, in the process `instance`."""
    given = capabilities.limits
    numbers = {field.name: getattr(given, field.name) for field in fields(ComputeLimits) if field.name != "exec"}
    numbers |= {name: min(numbers[name], CARRIED_BYTES) for name in _CARRIED}
    return pb.ComputeCapabilities(
        isolation=capabilities.isolation,
        network=capabilities.network,
        terminal=capabilities.terminal,
        sessions=capabilities.sessions,
        workspace_quota=_QUOTA_KINDS[capabilities.workspace_quota],
        limits=pb.ComputeLimits(exec=_exec_limits_message(given.exec), **numbers),
        instance=instance,
    )


def capabilities_of(message: pb.ComputeCapabilities) -> ComputeCapabilities:
    """What a Compute can do."""
    numbers = {field.name: getattr(message.limits, field.name) for field in fields(ComputeLimits)}
    numbers["exec"] = _exec_limits_of(message.limits.exec)
    return ComputeCapabilities(
        isolation=message.isolation,
        network=message.network,
        terminal=message.terminal,
        sessions=message.sessions,
        workspace_quota=choice(_QUOTA_KINDS, message.workspace_quota, "kind of quota"),
        limits=ComputeLimits(**numbers),
    )


def _exec_limits_message(limits: ExecLimits) -> pb.ExecLimits:
    given = {field.name: getattr(limits, field.name) for field in fields(ExecLimits)}
    return pb.ExecLimits(**{name: int64(value) if isinstance(value, int) else value for name, value in given.items()})


def _exec_limits_of(message: pb.ExecLimits) -> ExecLimits:
    return ExecLimits(**{field.name: _present(message, field.name) for field in fields(ExecLimits)})


# Executions.


def exec_spec_message(spec: ExecSpec) -> pb.ExecSpec:
    """What to run. Raises `InvalidArgument` and `InvalidPath` for text that is none."""
    paths.resolve(spec.cwd)
    with being_text("an argument or a variable"):
        message = pb.ExecSpec(argv=spec.argv, cwd=spec.cwd, env=spec.env, stdin=spec.stdin)
    message.limits.CopyFrom(_exec_limits_message(spec.limits))
    if spec.terminal is not None:
        message.terminal.columns = max(0, min(spec.terminal.columns, UINT32_MAX))
        message.terminal.rows = max(0, min(spec.terminal.rows, UINT32_MAX))
    return message


def exec_spec_of(message: pb.ExecSpec) -> ExecSpec:
    """What to run."""
    size = message.terminal
    return ExecSpec(
        argv=tuple(message.argv),
        cwd=message.cwd,
        env=dict(message.env),
        stdin=message.stdin,
        terminal=Terminal(columns=size.columns, rows=size.rows) if message.HasField("terminal") else None,
        limits=_exec_limits_of(message.limits),
    )


def exec_status_message(status: ExecStatus) -> pb.ExecStatus:
    """How an execution stands."""
    return pb.ExecStatus(
        exec_id=status.exec_id,
        argv=status.argv,
        started_ns=status.started_ns,
        stdout_bytes=status.stdout_bytes,
        stderr_bytes=status.stderr_bytes,
        stdout_kept_from=status.stdout_kept_from,
        stderr_kept_from=status.stderr_kept_from,
        stdin_bytes=status.stdin_bytes,
        end=None if status.end is None else _exec_end_message(status.end),
    )


def exec_status_of(message: pb.ExecStatus) -> ExecStatus:
    """How an execution stands."""
    return ExecStatus(
        exec_id=message.exec_id,
        argv=tuple(message.argv),
        started_ns=message.started_ns,
        stdout_bytes=message.stdout_bytes,
        stderr_bytes=message.stderr_bytes,
        stdout_kept_from=message.stdout_kept_from,
        stderr_kept_from=message.stderr_kept_from,
        stdin_bytes=message.stdin_bytes,
        end=_exec_end_of(message.end) if message.HasField("end") else None,
    )


def _exec_end_message(end: ExecEnd) -> pb.ExecEnd:
    return pb.ExecEnd(
        reason=_REASONS[end.reason],
        exit_code=end.exit_code,
        signal=end.signal,
        cpu_seconds=end.cpu_seconds,
        wall_seconds=end.wall_seconds,
        peak_memory_bytes=end.peak_memory_bytes,
        message=_shown(end.message),
    )


def _exec_end_of(message: pb.ExecEnd) -> ExecEnd:
    return ExecEnd(
        reason=choice(_REASONS, message.reason, "reason of an end"),
        exit_code=_present(message, "exit_code"),
        signal=_present(message, "signal"),
        cpu_seconds=message.cpu_seconds,
        wall_seconds=message.wall_seconds,
        peak_memory_bytes=message.peak_memory_bytes,
        message=message.message,
    )


def output_message(output: Output) -> pb.ExecOutput:
    """A piece of output."""
    return pb.ExecOutput(stream=_STREAMS[output.stream], offset=output.offset, data=output.data)


def output_of(message: pb.ExecOutput) -> Output:
    """A piece of output."""
    stream = choice(_STREAMS, message.stream, "output")
    return Output(stream=stream, offset=message.offset, data=message.data)


def signal_number(signal: ExecSignal) -> pb.ExecSignal.ValueType:
    """A signal."""
    number: pb.ExecSignal.ValueType = _SIGNALS[signal]
    return number


def signal_of(value: int) -> ExecSignal:
    """A signal. Raises `InvalidArgument` for one that this build does not know."""
    return choice(_SIGNALS, value, "signal")


# Sessions.


def session_spec_message(spec: SessionSpec) -> pb.SessionSpec:
    """A session to open. Raises `InvalidPath` for a directory that is none."""
    paths.resolve(spec.cwd)
    limits = _exec_limits_message(spec.limits)
    return pb.SessionSpec(cwd=spec.cwd, limits=limits, idle_seconds=spec.idle_seconds)


def session_spec_of(message: pb.SessionSpec) -> SessionSpec:
    """A session to open."""
    limits, idle_seconds = _exec_limits_of(message.limits), _present(message, "idle_seconds")
    return SessionSpec(cwd=message.cwd, limits=limits, idle_seconds=idle_seconds)


def session_message(session: Session, instance: str) -> pb.Session:
    """An open session, in the process `instance`."""
    return pb.Session(session_id=session.session_id, python_version=session.python_version, instance=instance)


def session_of(message: pb.Session) -> Session:
    """An open session."""
    return Session(session_id=message.session_id, python_version=message.python_version)


def session_event_messages(events: Iterable[SessionEvent]) -> Iterator[pb.SessionEvent]:
    """Events of a run, as many in one message as it should have: each message costs more than what is in it."""
    first, size = pb.SessionEvent(), 0
    for event in events:
        message = _session_event_message(event)
        if size and size + message.ByteSize() > LISTED_BYTES:
            yield first
            size = 0
        if size:
            first.next.append(message)
        else:
            first = message
        size += message.ByteSize()
    if size:
        yield first


def session_events_of(message: pb.SessionEvent) -> Iterator[SessionEvent]:
    """The events in a message."""
    yield _session_event_of(message)
    yield from map(_session_event_of, message.next)


def _session_event_message(event: SessionEvent) -> pb.SessionEvent:
    match event:
        case SessionText():
            return pb.SessionEvent(text=pb.SessionText(stream=_STREAMS[event.stream], text=_shown(event.text)))
        case RichResult():
            return _result_message(event)
        case SessionError():
            error = pb.SessionError(
                name=_shown(event.name), message=_shown(event.message), traceback=_shown(event.traceback)
            )
            return pb.SessionEvent(error=error)
        case RunEnd():
            return pb.SessionEvent(end=_run_end_message(event))


def _result_message(result: RichResult) -> pb.SessionEvent:
    """A result; one that no message carries is left out, and that said."""
    size = sum(len(data) for _, data in result.data)
    if size > CARRIED_BYTES:
        note = f"… a result of {size} bytes is left out\n"
        return _session_event_message(SessionText(stream=OutputStream.STDERR, text=note))
    kinds = [pb.SessionRichResult.Representation(mime_type=_shown(kind), data=data) for kind, data in result.data]
    return pb.SessionEvent(result=pb.SessionRichResult(data=kinds))


def _run_end_message(end: RunEnd) -> pb.SessionRunEnd:
    return pb.SessionRunEnd(
        reason=_REASONS[end.reason],
        session_alive=end.session_alive,
        cpu_seconds=end.cpu_seconds,
        wall_seconds=end.wall_seconds,
        peak_memory_bytes=end.peak_memory_bytes,
    )


def _session_event_of(message: pb.SessionEvent) -> SessionEvent:
    read = _EVENTS.get(message.WhichOneof("event") or "")
    if read is None:
        raise InvalidArgument("the workstation sent an event that this build does not know")
    return read(message)


_EVENTS: dict[str, Callable[[pb.SessionEvent], SessionEvent]] = {
    "text": lambda message: SessionText(stream=choice(_STREAMS, message.text.stream, "output"), text=message.text.text),
    "result": lambda message: RichResult(data=tuple((kind.mime_type, kind.data) for kind in message.result.data)),
    "error": lambda message: SessionError(
        name=message.error.name, message=message.error.message, traceback=message.error.traceback
    ),
    "end": lambda message: _run_end_of(message.end),
}


def _run_end_of(message: pb.SessionRunEnd) -> RunEnd:
    return RunEnd(
        reason=choice(_REASONS, message.reason, "reason of an end"),
        session_alive=message.session_alive,
        cpu_seconds=message.cpu_seconds,
        wall_seconds=message.wall_seconds,
        peak_memory_bytes=message.peak_memory_bytes,
    )

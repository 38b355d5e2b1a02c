"""Every command of the parser: what prints data has it as JSON, and its errors too."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import click
import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from controlplane.cli import main
from empla.rpc import StatusError
from empla.v1 import control_pb2

Fixture = Callable[..., Any]
ID = "01890000-0000-7000-8000-000000000000"
FOR_PEOPLE = {("up",), ("chat",), ("completion",)}
"""Those that print no data: a service, a conversation, a script for a shell."""

ARGUMENTS = {
    "instruction": "Look",
    "category": "question",
    "domain": "example.com",
    "names": "packaging",
    "query": "word",
    "text": "Hello",
}
"""What fits an argument, by its name; else an id does, which is also a name."""

MORE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("budget", "set"): ("--day-dollars", "5"),
    ("context", "add"): ("--address", "127.0.0.1:1"),
    ("employee", "update"): ("--autonomy", "shadow"),
    ("employee", "delete"): ("--yes",),
    ("channel", "delete"): ("--yes",),
    ("memory", "forget"): ("--subject", "word"),
    ("schedules", "create"): ("--every", "90s"),
}
"""What a command needs besides its arguments."""

SETUP = {("context", verb): ("context", "add", ID, "--address", "127.0.0.1:1") for verb in ("show", "use", "remove")}
KNOWN: dict[tuple[str, ...], tuple[str, ...]] = {
    ("profile", "show"): ("sales-ae",),
    ("context", "show"): (ID,),
    **dict.fromkeys((("employee", "restart"), ("pause",), ("resume",)), (ID,)),
}


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        assert below is not None
        yield from _leaves(below, (*path, name))


COMMANDS = dict(_leaves(main))
OF_DATA = [path for path in COMMANDS if path not in FOR_PEOPLE]
HERE = {("doctor",), ("compute", "packages", "add"), ("compute", "packages", "remove"), ("backup",), ("restore",)}
"""What looks at this machine, or for packages: other tests read their JSON."""
ANSWERED = [path for path in OF_DATA if path not in HERE]


def _line(path: tuple[str, ...]) -> tuple[str, ...]:
    arguments = [p for p in COMMANDS[path].params if isinstance(p, click.Argument) and (p.required or path in KNOWN)]
    given = KNOWN.get(path) or tuple(ARGUMENTS.get(argument.name or "", ID) for argument in arguments)
    return (*path, *given, *MORE.get(path, ()), "--json")


@pytest.fixture
def willing(peer: Any) -> Any:
    """A control plane that answers everything with next to nothing."""
    for method in control_pb2.DESCRIPTOR.services_by_name["ControlPlane"].methods:
        answer = GetMessageClass(method.output_type)()
        peer.answers[method.name] = (lambda _, one=answer: [one]) if method.server_streaming else answer
    peer.answers["TailLogs"] = lambda _: [control_pb2.LogLine(text='{"message": "x"}')]
    peer.answers["ListSidecars"] = control_pb2.ListSidecarsResponse(sidecars=[control_pb2.Sidecar(sidecar_id=ID)])
    channel = control_pb2.Channel(channel_id=ID, name=ID)
    peer.answers["ListChannels"] = control_pb2.ListChannelsResponse(channels=[channel])
    peer.answers["GetReview"] = control_pb2.Review(message_id=ID)
    peer.answers["SendMessage"] = peer.answers["GetMessage"] = control_pb2.Message(state="answered")
    rule = control_pb2.EgressRule(domain="example.com")
    peer.answers["GetEmployee"] = control_pb2.Employee(profile=control_pb2.Profile(egress=[rule]))
    return peer


@pytest.mark.parametrize("path", OF_DATA, ids=" ".join)
def test_it_takes_json(path: tuple[str, ...]) -> None:
    assert "as_json" in {parameter.name for parameter in COMMANDS[path].params}


@pytest.mark.parametrize("path", ANSWERED, ids=" ".join)
def test_it_prints_json(willing: Any, empla: Fixture, path: tuple[str, ...]) -> None:
    if path in SETUP:
        empla(*SETUP[path])
    result = empla(*_line(path))
    assert result.exit_code == 0, result.stderr
    json.loads(result.stdout)


@pytest.mark.parametrize("path", OF_DATA, ids=" ".join)
def test_its_errors_are_json(peer: Any, empla: Fixture, path: tuple[str, ...]) -> None:
    result = empla(*path, "--no-such-option", "--json")
    error = json.loads(result.stderr)["error"]
    assert (result.stdout, error["reason"], error["exit_code"], bool(error["message"])) == ("", "USAGE", 2, True)


@pytest.mark.parametrize("path", ANSWERED, ids=" ".join)
def test_what_the_control_plane_refuses_is_json(peer: Any, empla: Fixture, path: tuple[str, ...]) -> None:
    refusal = StatusError(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_TOO_LOW", "not with this token")
    peer.answers = {m.name: refusal for m in control_pb2.DESCRIPTOR.services_by_name["ControlPlane"].methods}
    result = empla(*_line(path))
    if not peer.calls:
        return  # it asks no control plane
    error = json.loads(result.stderr)["error"]
    assert (result.stdout, error["reason"], error["exit_code"], result.exit_code) == ("", "SCOPE_TOO_LOW", 5, 5)

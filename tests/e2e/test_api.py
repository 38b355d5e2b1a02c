"""The gRPC API as a program meets it that has only the address and the token."""

from collections import Counter
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from empla import rpc
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc
from tests.e2e.system import EMPLOYEE, PATIENCE, System, authorized

SERVICE = "empla.v1.ControlPlane"


class ReflectedService:
    """A client that knows nothing but what reflection tells it."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self._channel, self._metadata = channel, authorized(token)
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._service = DescriptorPool(self._database).FindServiceByName(SERVICE)

    @property
    def names(self) -> list[str]:
        return list(self._database.get_services())

    def call(self, method: str, **fields: Any) -> Any:
        """The answer of an RPC, or its stream."""
        found = self._service.FindMethodByName(method)
        request, response = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
        kind = self._channel.unary_stream if found.server_streaming else self._channel.unary_unary
        call = kind(
            f"/{SERVICE}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(request(**fields), metadata=self._metadata, timeout=PATIENCE)


def test_a_client_that_knows_only_reflection_gets_an_answer_from_a_file(system: System):
    name = f"{uuid4().hex}.md"
    (system.workspace() / name).write_text("- Acme: open\n- Brandt: open\n- Corte: closed\n- Dufour: open\n")
    with system.channel() as channel:
        service = ReflectedService(channel, system.token)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(service.names)
        text = f"Summarise {name} and tell me how many open deals it lists"
        message = service.call("SendMessage", employee=EMPLOYEE, text=text, wait_ms=60_000)
        assert message.state == "answered"
        assert "3" in message.replies[0].text.replace(name, "")
        assert service.call("GetMessage", message_id=message.message_id).stages == message.stages


def test_a_conversation_is_told_as_it_happens(system: System):
    (system.workspace() / "told.md").write_text("- Acme: open\n")
    with system.channel() as channel:
        request = pb.ConverseRequest(employee=EMPLOYEE, text="Summarise told.md", idempotency_key=uuid4().hex)
        converse = control_pb2_grpc.ControlPlaneStub(channel).Converse
        told = list(converse(request, metadata=authorized(system.token), timeout=PATIENCE))
        again = list(converse(request, metadata=authorized(system.token), timeout=PATIENCE))
    kinds = [event.WhichOneof("event") for event in told]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "reply"
    assert Counter(kinds)["reply"] == 1
    begun = [(e.step.stage, e.step.step) for e in told if e.HasField("step") and not e.step.outcome]
    ended = [(e.step.stage, e.step.step) for e in told if e.HasField("step") and e.step.outcome == "succeeded"]
    assert begun == ended
    assert [stage for stage, _ in ended] == sorted(
        [stage for stage, _ in ended], key=["receive", "analyze", "work", "merge"].index
    )
    calls = [(e.tool_call.action, e.tool_call.outcome) for e in told if e.HasField("tool_call")]
    assert calls[:2] == [("read_file", ""), ("read_file", "succeeded")]
    assert streamed(told) == told[-1].reply.replies[0].text
    # The same key is the same message, and its end is told again.
    assert [event.WhichOneof("event") for event in again] == ["accepted", "reply"]
    assert again[0].accepted.duplicate
    assert again[-1].reply.message_id == told[0].accepted.message_id


def streamed(told: list[pb.ConverseEvent]) -> str:
    """The text that the deltas leave."""
    text = ""
    for event in told:
        if event.HasField("text_delta"):
            text = ("" if event.text_delta.restart else text) + event.text_delta.text
    return text


def test_a_wrong_token_is_refused(system: System):
    with pytest.raises(grpc.RpcError) as refused:
        system.call("ListEmployees", pb.ListEmployeesRequest(), token="wrong")
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with system.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        control_pb2_grpc.ControlPlaneStub(channel).ListEmployees(pb.ListEmployeesRequest(), timeout=PATIENCE)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("method", "request_", "code", "reason"),
    [
        ("SendMessage", pb.SendMessageRequest(employee="nobody", text="x"), "NOT_FOUND", "EMPLOYEE_UNKNOWN"),
        ("SendMessage", pb.SendMessageRequest(employee=EMPLOYEE), "INVALID_ARGUMENT", "INVALID"),
        (
            "SendMessage",
            pb.SendMessageRequest(employee=EMPLOYEE, text="x" * (2**18 + 1)),
            "RESOURCE_EXHAUSTED",
            "TOO_LARGE",
        ),
        ("GetMessage", pb.GetMessageRequest(message_id="1"), "INVALID_ARGUMENT", "INVALID"),
        ("GetMessage", pb.GetMessageRequest(message_id=str(uuid4())), "NOT_FOUND", "UNKNOWN"),
        (
            "CreateEmployee",
            pb.CreateEmployeeRequest(name=EMPLOYEE, profile_name=EMPLOYEE),
            "ALREADY_EXISTS",
            "ALREADY_EXISTS",
        ),
        ("StopSidecar", pb.StopSidecarRequest(sidecar_id=str(uuid4())), "NOT_FOUND", "SIDECAR_UNKNOWN"),
        ("Resume", pb.ResumeRequest(employee=EMPLOYEE), "FAILED_PRECONDITION", "NOT_PAUSED"),
        (
            "ListFiles",
            pb.ListFilesRequest(employee=EMPLOYEE, path="../x"),
            "INVALID_ARGUMENT",
            "PATH_OUTSIDE_WORKSPACE",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(
    system: System, method: str, request_: Any, code: str, reason: str
):
    with pytest.raises(grpc.RpcError) as refused:
        system.call(method, request_)
    assert (refused.value.code().name, rpc.reason_of(refused.value)) == (code, reason)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "link/passwd"])
def test_a_path_outside_the_workspace_is_a_typed_error_and_an_honest_reply(system_with_model: System, path: str):
    link = system_with_model.workspace() / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    message = system_with_model.send(f"Please read {path}")
    assert message.state == "answered"
    [effect] = message.effects
    assert (effect.action, effect.state, effect.result_json) == ("read_file", "failed", "")
    assert effect.error.startswith("PATH_OUTSIDE_WORKSPACE")
    assert "PATH_OUTSIDE_WORKSPACE" in message.replies[0].text
    assert "root:" not in message.replies[0].text

"""Employees to write to, each with a signed webhook of its own whose replies come to a callback of ours."""

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from controlplane.channels import sign
from controlplane.profiles import shipped_profile
from empla.capabilities import MOST_PER_MINUTE
from empla.v1 import control_pb2, control_pb2_grpc

ATTACH_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Desk:
    """One employee and the webhook in front of it."""

    employee: str
    receive_path: str
    secret: str

    def request(self, event_id: str, conversation: str, text: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a signed delivery."""
        delivery = {"event_id": event_id, "sender": "ada@example.com", "conversation": conversation, "text": text}
        body, timestamp = json.dumps(delivery).encode(), str(int(time.time()))
        signature = sign(self.secret.encode(), timestamp, body)
        headers = {
            "Content-Type": "application/json",
            "X-Empla-Timestamp": timestamp,
            "X-Empla-Signature": signature,
        }
        return body, headers


def hire(
    stub: control_pb2_grpc.ControlPlaneStub, count: int, callback_url: str, *, capped: bool = True, start: bool = True
) -> list[Desk]:
    """`count` new employees with a channel each, all attached if they `start`; raises TimeoutError when they do not.

    All that is sent to them may be of one sender, so with `capped` false they work on as much as a profile may say.
    """
    run = uuid4().hex[:8]
    names = [f"load-{run}-{number:02}" for number in range(count)]
    profile = shipped_profile("sales-ae")
    if not capped:
        most = control_pb2.RateCaps(sender_per_minute=MOST_PER_MINUTE, employee_per_minute=MOST_PER_MINUTE)
        profile.rate_caps.CopyFrom(most)
    for name in names:
        stub.CreateEmployee(control_pb2.CreateEmployeeRequest(name=name, profile=profile, start=start))
    if start:
        _wait_until_attached(stub, names)
    return [_open_desk(stub, name, callback_url) for name in names]


def dismiss(stub: control_pb2_grpc.ControlPlaneStub, desks: list[Desk]) -> None:
    """Stop and delete the employees; what they wrote stays in the database."""
    for desk in desks:
        stub.DeleteEmployee(control_pb2.DeleteEmployeeRequest(employee=desk.employee, force=True))


def _wait_until_attached(stub: control_pb2_grpc.ControlPlaneStub, names: list[str]) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    waiting = set(names)
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not attached within {ATTACH_SECONDS:g} s: {', '.join(sorted(waiting))}")
        waiting = {name for name in waiting if not _is_attached(stub, name)}
        time.sleep(0.1)


def _is_attached(stub: control_pb2_grpc.ControlPlaneStub, name: str) -> bool:
    employee = stub.GetEmployee(control_pb2.GetEmployeeRequest(employee=name))
    return bool(employee.observed_state == control_pb2.OBSERVED_STATE_ATTACHED)


def _open_desk(stub: control_pb2_grpc.ControlPlaneStub, name: str, callback_url: str) -> Desk:
    wanted: dict[str, Any] = {"name": name, "kind": "webhook", "employee": name, "callback_url": callback_url}
    created = stub.CreateChannel(control_pb2.CreateChannelRequest(**wanted))
    return Desk(name, created.channel.receive_path, created.secret)

"""Employees and channels as operators are shown them."""

from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.channels import Channel
from controlplane.employees import AUTONOMY, EmployeeRecord
from controlplane.gateway import Streams
from controlplane.lifecycle import Lifecycle
from controlplane.routing import Rule
from controlplane.vitals import Vitals
from empla.v1 import control_pb2 as pb


def shown_employee(record: EmployeeRecord, lifecycle: Lifecycle, streams: Streams, vitals: Vitals) -> pb.Employee:
    """An employee with what is observed of it."""
    pid = lifecycle.process_on_record(record)
    employee = pb.Employee(
        employee_id=str(record.employee_id),
        tenant=record.tenant,
        name=record.name,
        profile=record.profile,
        autonomy=AUTONOMY[record.autonomy],
        desired_state=pb.DesiredState.Value(f"DESIRED_STATE_{record.desired_state.upper()}"),
        observed_state=lifecycle.observed(record),
        paused=record.paused,
        epoch=record.epoch,
        pid=pid,
        restarts=record.failures.restarts,
    )
    if record.pause is not None:
        ParseDict(record.pause, employee.pause)
    employee.created_at.FromDatetime(record.created_at)
    if record.launched_at is not None:
        employee.launched_at.FromDatetime(record.launched_at)
    failures = record.failures
    if failures.ended_at is not None and failures.next_at is not None:
        employee.last_end.reason = failures.reason
        employee.last_end.at.FromDatetime(failures.ended_at)
        if failures.wait > 0 and record.desired_state == "running" and not pid:
            employee.last_end.next_start.FromDatetime(failures.next_at)
    stream = streams.seen(record.employee_id)
    if stream is not None and stream.heartbeat is not None:
        beat = stream.heartbeat
        employee.health.CopyFrom(
            pb.EmployeeHealth(
                state=beat.state,
                stage=beat.stage,
                in_flight=beat.in_flight,
                memory_bytes=beat.memory_bytes,
                loop_lag_ms=beat.loop_lag_ms,
                build=stream.build,
                model=beat.model,
                reported=beat.reported,
                away=beat.away,
            )
        )
        employee.health.heartbeat_at.FromMilliseconds(round(stream.heartbeat_at * 1000))
    vitals.show(record, employee)
    return employee


def glance(employee: pb.Employee) -> pb.Employee:
    """An employee for a list of many."""
    employee.profile.ClearField("instructions")
    return employee


def shown_channel(channel: Channel) -> pb.Channel:
    """A channel without its secret."""
    created_at = Timestamp()
    created_at.FromDatetime(channel.created_at)
    return pb.Channel(
        channel_id=str(channel.channel_id),
        tenant=channel.tenant,
        name=channel.name,
        kind=channel.kind,
        employee=channel.employee,
        callback_url=channel.callback_url,
        receive_path=channel.receive_path,
        created_at=created_at,
        rules=map(shown_rule, channel.rules),
    )


def shown_rule(rule: Rule) -> pb.RoutingRule:
    """A routing rule."""
    shown = pb.RoutingRule(
        rule_id=str(rule.rule_id), channel_id=str(rule.channel_id), position=rule.position, employee=rule.employee
    )
    shown.condition.update(rule.condition)
    return shown

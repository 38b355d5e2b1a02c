"""`empla employee list --watch`: employees as the control plane tells of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Thread

from controlplane.cli.client import UNREACHABLE, connected, load_settings
from controlplane.cli.document import as_document
from controlplane.cli.errors import Failure, Unreachable
from controlplane.cli.outages import lasting
from controlplane.cli.target import Target, chosen_target
from controlplane.cli.watch import LOOK_SECONDS, Screen, print_json_line
from empla.v1 import control_pb2

_WATCH_SECONDS = 24 * 3600.0
_AHEAD = 1000
"""Events that may wait to be shown; beyond that the control plane waits as well."""

type Table = Callable[[list[control_pb2.Employee]], list[str]]


def watch_employees(table: Table, *, as_json: bool) -> None:
    """Show what there is and what changes: tables, or a line of JSON for each event."""
    target = chosen_target(load_settings())
    events = lasting(lambda: _events(target), patient=False)
    if as_json:
        for event in events:
            _print(event)
    else:
        _draw(events, table)


def _events(target: Target) -> Iterator[control_pb2.EmployeeEvent]:
    """The events of one stream; before them an empty one, for all are told again."""
    with connected(target) as control_plane:
        call = control_plane.WatchEmployees(control_pb2.WatchEmployeesRequest(), timeout=_WATCH_SECONDS)
        try:
            for number, event in enumerate(call):
                if not number:
                    yield control_pb2.EmployeeEvent()
                yield event
        finally:
            call.cancel()
    raise Unreachable(f"the control plane at {target.address}{target.said} ended the stream", reason=UNREACHABLE)


def _print(event: control_pb2.EmployeeEvent) -> None:
    kind = event.WhichOneof("event") or "begin"
    employee = as_document(getattr(event, kind)) if kind in ("changed", "deleted") else None
    print_json_line({"event": kind} | ({"employee": employee} if employee else {}))


def _draw(events: Iterator[control_pb2.EmployeeEvent], table: Table) -> None:
    """Draw after each burst of events, and now and then without any, for tables say how long ago something was."""
    arrived: Queue[control_pb2.EmployeeEvent | Failure] = Queue(_AHEAD)
    Thread(target=_read, args=(events, arrived), name="watched employees", daemon=True).start()
    screen, known = Screen(), _Known()
    while True:
        for event in _burst(arrived):
            if isinstance(event, Failure):
                raise event
            known.take(event)
        if known.complete:
            screen.draw(table(sorted(known.employees.values(), key=lambda one: (one.name, one.employee_id))))


def _read(events: Iterator[control_pb2.EmployeeEvent], arrived: "Queue[control_pb2.EmployeeEvent | Failure]") -> None:
    try:
        for event in events:
            arrived.put(event)
    except Failure as error:
        arrived.put(error)


def _burst(
    arrived: "Queue[control_pb2.EmployeeEvent | Failure]",
) -> Iterator[control_pb2.EmployeeEvent | Failure]:
    """What arrives together, waited for as long as a table is fresh."""
    try:
        yield arrived.get(timeout=LOOK_SECONDS)
        while True:
            yield arrived.get_nowait()
    except Empty:
        return


@dataclass
class _Known:
    """The employees, once all have been told."""

    employees: dict[str, control_pb2.Employee] = field(default_factory=dict)
    complete: bool = False

    def take(self, event: control_pb2.EmployeeEvent) -> None:
        match event.WhichOneof("event"):
            case "changed":
                self.employees[event.changed.employee_id] = event.changed
            case "deleted":
                self.employees.pop(event.deleted.employee_id, None)
            case "complete":
                self.complete = True
            case None:  # a stream begins
                self.employees, self.complete = {}, False

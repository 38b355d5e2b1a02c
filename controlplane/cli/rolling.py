"""`empla employee restart --all`: everybody in a new process, a few at once, so that the others answer meanwhile."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

import click
import grpc

from controlplane.cli.client import DEADLINE, connected, failure_of, load_settings
from controlplane.cli.errors import Failure
from controlplane.cli.output import print_json
from controlplane.cli.pages import listed
from controlplane.cli.target import chosen_target
from empla.v1 import control_pb2, control_pb2_grpc

DEFAULT_PARALLEL = 2
MOST_PARALLEL = 32


def restart_all(tenant: str, *, parallel: int, drain: int, as_json: bool) -> None:
    """Restart every employee that should run; ends with a `Failure` after the first that does not attach again."""
    target = chosen_target(load_settings())
    with connected(target) as control_plane:
        request = control_pb2.ListEmployeesRequest(tenant=tenant)
        found = listed(control_plane.ListEmployees, request, "employees")
        running = [one for one in found if one.desired_state == control_pb2.DESIRED_STATE_RUNNING]
        done: list[str] = []
        try:
            for restarted in _rolled(control_plane, running, parallel, drain):
                done.append(restarted.name)
                click.echo(f"{len(done)}/{len(running)} {restarted.name}: restarted", err=as_json)
        except _Stopped as stopped:
            why = failure_of(stopped.error, target).format_message()
            raise Failure(
                f"{stopped.name} was not restarted: {why}; {len(done)} of {len(running)} are, the rest runs as before: "
                f"look at `empla employee show {stopped.name}`, then do it again",
                reason="ROLL_STOPPED",
                fields={"employee": stopped.name, "restarted": ", ".join(done)},
            ) from stopped.error
    if as_json:
        print_json({"restarted": done})
    elif not running:
        click.echo("no employee should run, so none is restarted")


class _Stopped(Exception):
    """One could not be restarted."""

    def __init__(self, name: str, error: grpc.RpcError) -> None:
        super().__init__(name)
        self.name, self.error = name, error


def _rolled(
    control_plane: control_pb2_grpc.ControlPlaneStub,
    employees: Sequence[control_pb2.Employee],
    parallel: int,
    drain: int,
) -> Iterator[control_pb2.Employee]:
    """Each as it is attached again; after a failure none is begun, and those that were are waited for."""
    waiting, failed = iter(employees), None

    def restart(one: control_pb2.Employee) -> control_pb2.Employee:
        request = control_pb2.RestartEmployeeRequest(employee=one.employee_id, drain_seconds=drain)
        return control_plane.RestartEmployee(request, timeout=2 * DEADLINE + (drain or 10))

    with ThreadPoolExecutor(parallel) as threads:
        begun: dict[Future[control_pb2.Employee], str] = {}
        while True:
            if failed is None:
                for one in islice(waiting, parallel - len(begun)):
                    begun[threads.submit(restart, one)] = one.name
            if not begun:
                break
            for ended in wait(begun, return_when=FIRST_COMPLETED).done:
                name = begun.pop(ended)
                try:
                    restarted = ended.result()
                except grpc.RpcError as error:
                    failed = failed or _Stopped(name, error)
                else:
                    yield restarted
    if failed is not None:
        raise failed

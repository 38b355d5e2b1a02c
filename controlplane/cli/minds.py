"""`empla employee cycles` and `beliefs`: what an employee's proactive loop did, and what came of it."""

from collections import Counter
from collections.abc import Iterable

import click
from google.protobuf.struct_pb2 import Struct

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.output import json_option, local_time, milliseconds, print_json, print_table
from controlplane.cli.pages import listed
from empla.v1 import control_pb2


@click.command()
@click.argument("name", type=EMPLOYEE)
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@json_option
def cycles(name: str, limit: int, as_json: bool) -> None:
    """Print what an employee's loop perceived and did, the latest first; a cycle without any news is not kept."""
    with connected() as control_plane:
        found = listed(control_plane.ListCycles, control_pb2.ListCyclesRequest(employee=name), "cycles", limit)
    if as_json:
        print_json([as_document(cycle) for cycle in found])
        return
    header = ("STARTED", "TOOK", "EPOCH", "OUTCOME", "PERCEIVED", "DECIDED")
    print_table(header, map(_row, found), nothing=f"{name} has not been through a cycle that had any news")


def _row(cycle: control_pb2.Cycle) -> tuple[str, ...]:
    took = cycle.finished_at.ToMilliseconds() - cycle.started_at.ToMilliseconds()
    return (
        local_time(cycle.started_at),
        milliseconds(took) if cycle.phase == "done" else "",
        str(cycle.epoch),
        cycle.outcome or f"in {cycle.phase}",
        _counted(Counter(cycle.perceived).items()),
        cycle.error or _decided(cycle.intention),
    )


def _decided(what: Struct) -> str:
    """`2 × remember, plan: 1 × made`: how many there are of each list, and of those of each group."""
    said = []
    for name, value in sorted(what.fields.items()):
        match value.WhichOneof("kind"):
            case "list_value":
                said.append(f"{len(value.list_value.values)} × {name}")
            case "struct_value":
                said.append(f"{name}: {_decided(value.struct_value)}".removesuffix(": "))
    return ", ".join(said)


def _counted(items: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in items)


@click.command()
@click.argument("name", type=EMPLOYEE)
@json_option
def beliefs(name: str, as_json: bool) -> None:
    """Print what an employee believes, how sure it is now, and why; with --json also what it was before."""
    with connected() as control_plane:
        found = listed(control_plane.ListBeliefs, control_pb2.ListBeliefsRequest(employee=name), "beliefs")
    if as_json:
        print_json([as_document(belief) for belief in found])
        return
    header = ("SUBJECT", "PREDICATE", "OBJECT", "SURE", "SINCE", "WHY")
    print_table(header, map(_belief, found), nothing=f"{name} believes nothing yet")


def _belief(belief: control_pb2.Belief) -> tuple[str, ...]:
    last = belief.changes[0] if belief.changes else control_pb2.BeliefChange()
    what = (belief.subject, belief.predicate, belief.object)
    return (*what, f"{belief.confidence:.2f}", local_time(belief.supported_at), f"{last.change}: {last.why}")

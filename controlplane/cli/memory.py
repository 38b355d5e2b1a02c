"""`empla memory`: what employees remember."""

import click

from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.errors import InvalidInput
from controlplane.cli.output import age, json_option, print_json, print_table
from controlplane.cli.safe_text import printable
from empla.memories import KINDS
from empla.v1 import control_pb2

FORGET_SECONDS = 330.0
"""All that an employee was ever told is looked through."""


@click.group()
def memory() -> None:
    """See what employees remember, and have it forgotten."""


@memory.command()
@click.argument("employee", type=EMPLOYEE, metavar="NAME")
@click.argument("query", default="", metavar="[WORDS]")
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@click.option("--kind", type=click.Choice(KINDS), help="Only of this kind; procedural is how to do things.")
@json_option
def search(employee: str, query: str, limit: int, kind: str | None, as_json: bool) -> None:
    """List memories of the employee NAME that share one of WORDS, the best first; without WORDS the newest."""
    request = control_pb2.SearchMemoryRequest(employee=employee, query=query, limit=limit, kind=kind or "")
    with connected() as control_plane:
        found = control_plane.SearchMemory(request).memories
    if as_json:
        print_json([as_document(item) for item in found])
        return
    rows = [(item.memory_id, age(item.created_at), _kind(item), item.source, item.content) for item in found]
    print_table(("MEMORY", "AGE", "KIND", "SOURCE", "TEXT"), rows, nothing="no memory fits")


@memory.command()
@click.argument("employee", type=EMPLOYEE, metavar="NAME")
@click.option("--id", "memory_id", metavar="ID", help="The one memory ID.")
@click.option("--person", metavar="NAME", help="What it learnt from this sender, or what names this person.")
@click.option("--conversation", metavar="NAME", help="What it learnt in this conversation.")
@click.option("--subject", metavar="WORDS", help="What has all of these words.")
@json_option
def forget(employee: str, as_json: bool, **what: str | None) -> None:
    """Remove memories and beliefs of the employee NAME for good and say which; messages stay on record."""
    given = {name: value for name, value in what.items() if value is not None}
    if len(given) != 1:
        raise InvalidInput("say what to forget by exactly one of --id, --person, --conversation and --subject")
    memories, beliefs, messages = list[str](), list[str](), 0
    with connected() as control_plane:
        while True:
            answer = control_plane.Forget(control_pb2.ForgetRequest(employee=employee, **given), timeout=FORGET_SECONDS)
            memories += answer.memory_ids
            beliefs += answer.belief_ids
            messages += answer.messages
            if not answer.more:
                break
    if as_json:
        print_json({"memory_ids": memories, "belief_ids": beliefs, "messages": messages, "kept": list(answer.kept)})
        return
    gone = [*memories, *beliefs]
    for one in gone:
        click.echo(one)
    click.echo(f"{len(gone)} forgotten" if gone or messages else "nothing to forget")
    if messages:
        click.echo(f"{messages} messages stay on record, and are shown to the employee no more")
    for one in answer.kept:
        click.echo(f"kept: {printable(one)}")


def _kind(memory: control_pb2.Memory) -> str:
    """The kind of a memory; of a procedure with what became of it."""
    if memory.kind != "procedural":
        return memory.kind
    return f"{memory.kind} ({memory.state}, {memory.successes} of {memory.uses} went well)"

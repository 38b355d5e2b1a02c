"""`empla routing`: which employee gets what comes by a channel."""

import click

from controlplane.cli.channel import channel_named
from controlplane.cli.client import connected
from controlplane.cli.completing import EMPLOYEE
from controlplane.cli.document import as_document
from controlplane.cli.output import json_option, print_json, print_table
from empla.v1 import control_pb2


@click.group()
def routing() -> None:
    """Say which employee gets what comes by a channel."""


@routing.command()
@click.argument("channel")
@click.argument("employee", type=EMPLOYEE)
@click.option("--sender", metavar="PATTERN", help="Only of senders like that, such as '*@acme.com'.")
@click.option("--conversation", metavar="PATTERN", help="Only of conversations like that.")
@click.option("--position", type=click.IntRange(1), help="When it is tried; low ones come first.  [default: last]")
@json_option
def add(
    *,
    channel: str,
    employee: str,
    sender: str | None,
    conversation: str | None,
    position: int | None,
    as_json: bool,
) -> None:
    """Have messages of CHANNEL go to EMPLOYEE if they fit all that is given; without any, all messages."""
    condition = {"sender": sender, "conversation": conversation}
    with connected() as control_plane:
        rule = control_pb2.RoutingRule(
            channel_id=channel_named(control_plane, channel).channel_id, employee=employee, position=position or 0
        )
        rule.condition.update({name: pattern for name, pattern in condition.items() if pattern is not None})
        made = control_plane.CreateRoutingRule(control_pb2.CreateRoutingRuleRequest(rule=rule))
    if as_json:
        print_json(as_document(made))
    else:
        click.echo(f"rule {made.rule_id}, at position {made.position}: {in_words(made)}")


@routing.command(name="list")
@click.argument("channel")
@json_option
def list_(channel: str, as_json: bool) -> None:
    """List the rules of CHANNEL in the order in which they are tried; the first that fits wins."""
    with connected() as control_plane:
        request = control_pb2.ListRoutingRulesRequest(channel_id=channel_named(control_plane, channel).channel_id)
        rules = control_plane.ListRoutingRules(request).rules
    if as_json:
        print_json([as_document(rule) for rule in rules])
        return
    rows = [(str(rule.position), rule.rule_id, in_words(rule)) for rule in rules]
    print_table(("POSITION", "RULE", "WHAT"), rows, nothing="no rules; make one with `empla routing add`")


@routing.command()
@click.argument("rule_id", metavar="ID")
@json_option
def delete(rule_id: str, as_json: bool) -> None:
    """Remove the rule ID."""
    with connected() as control_plane:
        control_plane.DeleteRoutingRule(control_pb2.DeleteRoutingRuleRequest(rule_id=rule_id))
    if as_json:
        print_json({"rule_id": rule_id, "deleted": True})
    else:
        click.echo(f"{rule_id}: deleted")


def in_words(rule: control_pb2.RoutingRule) -> str:
    """What a rule says, such as `sender *@acme.com → ada`."""
    conditions = [f"{name} {pattern}" for name, pattern in sorted(rule.condition.items(), reverse=True)]
    return f"{' and '.join(conditions) or 'every message'} → {rule.employee}"

"""`python -m loadtests.bench`: measure the figures, print a table, write JSON to loadtests/results/."""

import asyncio
from typing import Any

import click

from loadtests import (
    browser,
    containers,
    fairness,
    growth,
    interference,
    recall,
    report,
    sidecars,
    transitions,
    webhook_growth,
    webhook_reply,
    workstation,
)
from loadtests.report import Figure

ROWS = (
    "transitions",
    "growth",
    "webhook",
    "webhook-growth",
    "slow-model",
    "fairness",
    "interference",
    "recall",
    "workstation",
    "browser",
    "sidecars",
    "containers",
)


@click.command()
@click.option("--quick", is_flag=True, help="Seconds instead of minutes: shows that it runs, says little.")
@click.option("--only", type=click.Choice(ROWS), multiple=True, help="Some rows only; may be repeated.")
def bench(*, quick: bool, only: tuple[str, ...]) -> None:
    """Measure the system's figures on this machine."""
    facts: dict[str, Any] = {"quick": quick, **report.machine()}
    figures: list[Figure] = []
    for row in only or ROWS:
        click.echo(f"measuring: {row} …", err=True)
        figures += _measure(row, facts, quick=quick)
    if "postgresql" in facts:
        click.echo("PostgreSQL: " + ", ".join(f"{name} = {value}" for name, value in facts["postgresql"].items()))
    click.echo(report.table(figures))
    click.echo(f"\nwritten to {report.write(figures, facts)}")


def _measure(row: str, facts: dict[str, Any], *, quick: bool) -> list[Figure]:
    lengths = webhook_reply.QUICK if quick else webhook_reply.FULL
    match row:
        case "transitions":
            steps = transitions.QUICK if quick else transitions.FULL
            figures, facts["postgresql"] = asyncio.run(transitions.measure(steps))
            return figures
        case "growth":
            return asyncio.run(growth.measure(growth.QUICK if quick else growth.FULL))
        case "webhook":
            return webhook_reply.measure(lengths)
        case "webhook-growth":
            return webhook_growth.measure(webhook_growth.QUICK if quick else webhook_growth.FULL)
        case "fairness":
            return fairness.measure(fairness.QUICK if quick else fairness.FULL)
        case "interference":
            return interference.measure(interference.QUICK if quick else interference.FULL)
        case "recall":
            return asyncio.run(recall.measure(recall.QUICK if quick else recall.FULL))
        case "workstation":
            return asyncio.run(workstation.measure(workstation.QUICK if quick else workstation.FULL))
        case "browser":
            return asyncio.run(browser.measure(browser.QUICK if quick else browser.FULL))
        case "sidecars":
            return asyncio.run(sidecars.measure(sidecars.QUICK if quick else sidecars.FULL))
        case "containers":
            return asyncio.run(containers.measure(containers.QUICK if quick else containers.FULL))
        case _:
            return webhook_reply.measure_with_slow_model(lengths)


if __name__ == "__main__":
    bench()

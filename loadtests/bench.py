"""`python -m loadtests.bench`: measure the figures, print a table, write JSON to loadtests/results/."""

import asyncio
from typing import Any

import click

from loadtests import report, transitions
from loadtests.report import Figure


@click.command()
@click.option("--quick", is_flag=True, help="Seconds instead of minutes: shows that it runs, says little.")
def bench(*, quick: bool) -> None:
    """Measure the system's figures on this machine."""
    figures, facts = asyncio.run(_measure(quick=quick))
    click.echo(report.table(figures))
    click.echo(f"\nwritten to {report.write(figures, facts)}")


async def _measure(*, quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    facts: dict[str, Any] = {"quick": quick, **report.machine()}
    steps, durable = await transitions.measure(transitions.QUICK if quick else transitions.FULL)
    click.echo("PostgreSQL: " + ", ".join(f"{name} = {value}" for name, value in durable.items()))
    return steps, facts | {"postgresql": durable}


if __name__ == "__main__":
    bench()

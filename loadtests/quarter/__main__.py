"""The command: see `python -m loadtests.quarter --help`."""

import sys
from datetime import UTC, datetime

import click

from loadtests import report
from loadtests.quarter.account import Account
from loadtests.quarter.plot import write_plots
from loadtests.quarter.simulation import simulation

START = datetime(2027, 2, 1, 7, tzinfo=UTC)
"""A Monday: clocks are set forward on March 14 in New York, and on March 28 in Berlin."""
MOST_WRONGS = 50


@click.command()
@click.option("--days", default=90, show_default=True, help="How long; from 60 on, growth is told as well.")
@click.option("--employees", default=5, show_default=True, type=click.IntRange(2, 5))
@click.option("--seed", default=1, show_default=True, help="Of what is said of whom to whom.")
def quarter(days: int, employees: int, seed: int) -> None:
    """Let a small staff live through a quarter in some minutes, and see that all came as it must.

    Ends with 1 when something did not, or when memory, storage or latency have grown.
    """
    with simulation(START, seed, employees=employees) as life:
        account = life.run(
            days, lambda day: click.echo(f"day {day} of {days}: {len(life.account.wrongs)} wrong", err=True)
        )
    sys.exit(_report(account, seed))


def _report(account: Account, seed: int) -> bool:
    figures = account.figures()
    for wrong in account.wrongs[:MOST_WRONGS]:
        click.echo(wrong)
    click.echo(report.table(figures))
    days = [day.as_json() for day in account.days]
    facts = {"seed": seed, "wrongs": account.wrongs, "days": days, **report.machine()}
    path = report.write(figures, facts, name="quarter")
    click.echo(f"\nwritten to {path} and {write_plots(account.days, path.with_suffix('.svg'))}")
    return any(figure.met is False for figure in figures)


if __name__ == "__main__":
    quarter()

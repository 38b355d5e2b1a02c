"""`python -m loadtests.chaos`: everything dies at random under load, and every message is accounted for."""

import sys
import time

import click

from tests.e2e.callback_server import callback_server
from tests.e2e.chaos import Chaos, open_desks
from tests.e2e.conftest import own_system
from tests.e2e.model_server import model_server


@click.command()
@click.option("--messages", default=5_000, show_default=True, help="How many are sent.")
@click.option("--rate", default=10.0, show_default=True, help="How many a second.")
@click.option("--employees", default=5, show_default=True, help="Whom they are sent to.")
@click.option("--seed", type=int, help="Of the blows; by default another one each time.")
def chaos(messages: int, rate: float, employees: int, seed: int | None) -> None:
    """Start a system, send messages to it while its processes are killed and frozen, and print what became of them.

    Ends with 1 when a message was lost, stuck, answered or worked on twice, or given to a person without need.
    """
    seed = time.time_ns() if seed is None else seed
    with callback_server() as callbacks, model_server() as model, own_system(model) as system:
        system.start()
        account = Chaos(system, open_desks(system, employees, callbacks), callbacks, seed).run(
            messages=messages, rate=rate
        )
    click.echo(f"seed: {seed}\n{account}")
    sys.exit(bool(account.wrongs))


if __name__ == "__main__":
    chaos()

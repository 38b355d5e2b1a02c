"""`python -m loadtests.chaos`: everything dies at random under load, and every message is accounted for."""

import sys
import time
from contextlib import ExitStack

import click

from tests.e2e.callback_server import callback_server
from tests.e2e.chaos import Chaos, open_desks
from tests.e2e.conftest import own_system
from tests.e2e.door import far_database
from tests.e2e.model_server import model_server


@click.command()
@click.option("--messages", default=5_000, show_default=True, help="How many are sent.")
@click.option("--rate", default=10.0, show_default=True, help="How many a second.")
@click.option("--employees", default=5, show_default=True, help="Whom they are sent to.")
@click.option("--seed", type=int, help="Of the blows; by default another one each time.")
@click.option("--half-open", is_flag=True, help="The network to the database falls silent, instead of the database.")
def chaos(messages: int, rate: float, employees: int, seed: int | None, half_open: bool) -> None:
    """Start a system, send messages to it while its processes are killed and frozen, and print what became of them.

    Ends with 1 when a message was lost, stuck, answered or worked on twice, or given to a person without need.
    """
    seed = time.time_ns() if seed is None else seed
    with ExitStack() as stack:
        callbacks, model = stack.enter_context(callback_server()), stack.enter_context(model_server())
        far = stack.enter_context(far_database()) if half_open else None
        own = own_system(model, EMPLA_DATABASE_URL=far.url) if far else own_system(model)
        system = stack.enter_context(own)
        system.start()
        desks = open_desks(system, employees, callbacks)
        account = Chaos(system, desks, callbacks, seed, far).run(messages=messages, rate=rate)
    click.echo(f"seed: {seed}\n{account}")
    sys.exit(bool(account.wrongs))


if __name__ == "__main__":
    chaos()

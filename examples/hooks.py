"""An employee with hooks: how long each answer took goes into a CSV file, and what it does for it onto the terminal.

    python examples/hooks.py ./home answers.csv "What is 17 * 23?" "Write 'Acme: open' to deals.md"

Asks one thing after the other, prints the answers and ends. ./home keeps the employee's database and files. docs/hooks.md
has all that hooks can be told of, and how employees of a control plane get them.
"""

import argparse
import asyncio
import csv
from contextlib import suppress
from functools import partial
from pathlib import Path

from agent.employee import DigitalEmployee
from agent.hooks import Hooks
from agent.identity import Identity
from agent.local import LocalGateway
from agent.models.offline import OfflineModel
from agent.moments import CapabilityCalled, MessageAnswered
from controlplane.development import Launch, Office, office
from controlplane.errors import ControlError
from empla.store.errors import StoreError

DRAIN_MS = 5000


def note(answers: Path, answer: MessageAnswered) -> None:
    """A hook that writes to a disk, which may take its time: it is called in a thread of its own."""
    with answers.open("a", newline="") as file:
        csv.writer(file).writerow([answer.at.isoformat(), answer.employee, answer.sender, round(answer.milliseconds)])


async def say(call: CapabilityCalled) -> None:
    """A hook on the employee's own event loop."""
    print(f"  {call.employee} uses {call.action}: {call.outcome} after {call.milliseconds:.0f} ms", flush=True)


async def ask(here: Office, launch: Launch, gateway: LocalGateway, question: str) -> str:
    """Store a message, deliver it with whatever an earlier start left, and wait for what comes of it."""
    message_id = await here.store(launch.record, question)
    for message in await here.undelivered(launch.record):
        gateway.deliver(message)
    await gateway.handed_over(message_id)
    ended = await here.settled(launch.record, message_id)
    return "\n".join(reply.text for reply in ended.replies) or f"({ended.state}: {ended.reason})"


async def live(home: Path, answers: Path, questions: list[str]) -> None:
    """The employee, until all is answered."""
    async with office(home) as here, asyncio.TaskGroup() as life:
        launch = await here.launch("ada", "sales-ae")
        gateway = LocalGateway(launch.configuration)
        employee = DigitalEmployee(
            Identity(launch.record.employee_id, launch.record.tenant_id, launch.epoch),
            launch.database_url,
            launch.workspace,
            gateway,
            OfflineModel(),
            hooks=Hooks().on(MessageAnswered, partial(note, answers)).on(CapabilityCalled, say),
        )
        life.create_task(employee.start())
        for question in questions:
            print(f"ada: {await ask(here, launch, gateway, question)}", flush=True)
        gateway.drain(DRAIN_MS)


def main() -> None:
    """See above."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("home", type=Path, help="a directory for database and files, made when it is not there")
    asked.add_argument("answers", type=Path, help="the CSV file; what it has stays")
    asked.add_argument("questions", nargs="+", metavar="question", help="what the employee is asked")
    said = asked.parse_args()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(live(said.home.absolute(), said.answers, said.questions))
    except* (ControlError, StoreError, OSError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        asked.error(str(error))


if __name__ == "__main__":
    main()

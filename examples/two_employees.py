"""Two employees in one process, without a control plane: the same code that runs in production.

    python examples/two_employees.py ./home "What is 17 * 23?" "Write 'Acme: open' to deals.md"

Asks both of them everything, prints what they answer, and lets them live until Ctrl-C. ./home keeps their database, which
is started for the time, and their files; the next start finds everything.
"""

import argparse
import asyncio
import signal
from pathlib import Path

from agent.employee import DigitalEmployee
from agent.identity import Identity
from agent.local import LocalGateway
from agent.models.offline import OfflineModel
from controlplane.development import Launch, Office, office
from controlplane.errors import ControlError
from empla.store.errors import StoreError

STAFF = (("ada", "sales-ae"), ("bob", "support"))
"""Name and profile of each."""
DRAIN_MS = 5000


class Colleague:
    """An employee of this process, and the way to talk to it."""

    def __init__(self, here: Office, launch: Launch) -> None:
        self._office, self._record = here, launch.record
        self.name = launch.record.name
        self.gateway = LocalGateway(launch.configuration)
        self.employee = DigitalEmployee(
            Identity(launch.record.employee_id, launch.record.tenant_id, launch.epoch),
            launch.database_url,
            launch.workspace,
            self.gateway,
            OfflineModel(),
        )

    async def listen(self) -> None:
        """Take what is stored: of an earlier start, what is asked here, and the steps of its own plans."""
        await self._office.deliver(self._record, self.gateway.deliver)

    async def ask(self, text: str) -> str:
        """Store a message, and wait for what comes of it."""
        message_id = await self._office.store(self._record, text)
        await self.gateway.handed_over(message_id)
        ended = await self._office.settled(self._record, message_id)
        replies = [reply.text for reply in ended.replies if reply.state == "sent"]
        return "\n".join(replies) or f"({ended.state}: {ended.reason})"


async def converse(colleague: Colleague, questions: list[str]) -> None:
    """Ask one thing after the other, and print the answers."""
    for question in questions:
        print(f"{colleague.name}: {await colleague.ask(question)}", flush=True)


async def end(stop: asyncio.Event, colleagues: list[Colleague]) -> None:
    """Once `stop` is set, let everybody finish what is in work."""
    await stop.wait()
    for colleague in colleagues:
        colleague.gateway.drain(DRAIN_MS)


async def live(home: Path, questions: list[str]) -> None:
    """Both employees, until Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with office(home) as here, asyncio.TaskGroup() as beside:
        colleagues = [Colleague(here, await here.launch(name, profile)) for name, profile in STAFF]
        tasks = [beside.create_task(end(stop, colleagues))]
        tasks += [beside.create_task(colleague.listen()) for colleague in colleagues]
        tasks += [beside.create_task(converse(colleague, questions)) for colleague in colleagues]
        print(f"{' and '.join(name for name, _ in STAFF)} are there; Ctrl-C ends this", flush=True)

        first, second = (colleague.employee for colleague in colleagues)
        await asyncio.gather(first.start(), second.start())

        for task in tasks:
            task.cancel()


def main() -> None:
    """See above."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("home", type=Path, help="a directory for database and files, made when it is not there")
    asked.add_argument("questions", nargs="*", metavar="question", help="what both are asked")
    said = asked.parse_args()
    try:
        asyncio.run(live(said.home.absolute(), said.questions))
    except* (ControlError, StoreError, OSError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        asked.error(str(error))


if __name__ == "__main__":
    main()

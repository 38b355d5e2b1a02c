"""The peer of a step transition: DBOS's durable step within a workflow, in a process of its own.

`python -m loadtests.dbos_steps DSN` reads lines `{"in_flight": n, "seconds": s}` and answers each with a line: a JSON list
of how long each step took, in milliseconds. DBOS takes over the executor of the loop it runs in, hence the process.
"""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

STEPS_A_WORKFLOW = 8
"""As many as one message has transitions."""

_LINE_LIMIT = 64 * 1024 * 1024
_ANSWER = "The notes list three open deals: Acme, Globex and Initech."


class DbosProcess:
    """The running peer."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def run(self, *, in_flight: int, seconds: float) -> list[float]:
        """Workflows, `in_flight` at a time, until `seconds` are over; milliseconds of each step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"in_flight": in_flight, "seconds": seconds}).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the DBOS process ended early")
        taken: list[float] = json.loads(line)
        return taken


@asynccontextmanager
async def dbos_process(dsn: str) -> AsyncIterator[DbosProcess]:
    """DBOS with its defaults, on a database of its own."""
    arguments = (sys.executable, "-m", "loadtests.dbos_steps", dsn)
    process = await asyncio.create_subprocess_exec(*arguments, stdin=PIPE, stdout=PIPE, limit=_LINE_LIMIT)
    try:
        yield DbosProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def main() -> None:
    from dbos import DBOS, DBOSConfig  # noqa: PLC0415 - only the peer's own process pays for it

    @DBOS.step()
    async def step(number: int) -> dict[str, Any]:
        return {"number": number, "answer": _ANSWER}

    @DBOS.workflow()
    async def workflow() -> list[float]:
        taken = []
        for number in range(STEPS_A_WORKFLOW):
            before = time.perf_counter()
            await step(number)
            taken.append((time.perf_counter() - before) * 1000)
        return taken

    async def keep_running(deadline: float, taken: list[float]) -> None:
        while time.perf_counter() < deadline:
            handle = await DBOS.start_workflow_async(workflow)
            taken += await handle.get_result()

    async def run(in_flight: int, seconds: float) -> list[float]:
        taken: list[float] = []
        deadline = time.perf_counter() + seconds
        await asyncio.gather(*(keep_running(deadline, taken) for _ in range(in_flight)))
        return taken

    async def serve() -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await run(**json.loads(line))), flush=True)

    DBOS(config=DBOSConfig(name="bench", system_database_url=sys.argv[1], log_level="ERROR", console_log_level="ERROR"))
    DBOS.launch()
    try:
        asyncio.run(serve())
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main()

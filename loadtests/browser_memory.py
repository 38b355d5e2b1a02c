"""What a further context costs in memory: the shares (PSS) of all processes of Chromium."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from loadtests.browser_bench import PAGE, Bench
from loadtests.pages.site import SHOWN
from loadtests.report import Figure

CONTEXT_MB = 25.0
_SETTLE_SECONDS = 2.0
_SHOWN = SHOWN["60-row table"]
_GONE = (FileNotFoundError, ProcessLookupError)


async def measure(bench: Bench, contexts: int) -> list[Figure]:
    """The figures. Raises `SandboxUnavailable`; a row says so when the processes cannot be looked into."""
    try:
        own, plain = await _own(bench, contexts), await _plain(bench, contexts)
    except (OSError, LookupError) as error:
        return [Figure(f"memory of the browser: {error}", None, "")]
    peer = "plain Playwright"
    return [
        Figure("memory of Chromium with one page", own[0], "MB", peer=peer, peer_value=plain[0]),
        Figure("memory of a further context with a page", own[1], "MB", CONTEXT_MB, peer=peer, peer_value=plain[1]),
    ]


async def _own(bench: Bench, contexts: int) -> tuple[float, float]:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(bench.engine())

        async def add() -> None:
            browser = await stack.enter_async_context(bench.browser(engine))
            await browser.open_page(PAGE, url=bench.url(_SHOWN))

        await add()
        one = await _settled_megabytes()
        for _ in range(contexts):
            await add()
        return one, (await _settled_megabytes() - one) / contexts


async def _plain(bench: Bench, contexts: int) -> tuple[float, float]:
    url = bench.url(_SHOWN)
    await bench.ask_plain("hold", url=url, count=1)
    one = await _settled_megabytes()
    await bench.ask_plain("hold", url=url, count=contexts)
    all_of_them = await _settled_megabytes()
    await bench.ask_plain("stop")
    return one, (all_of_them - one) / contexts


async def _settled_megabytes() -> float:
    await asyncio.sleep(_SETTLE_SECONDS)
    return await asyncio.to_thread(_megabytes)


def _megabytes() -> float:
    """Of all processes of Chromium below this one. Raises OSError, or LookupError when there are none."""
    shares = [_share(directory) for directory in _descendants() if _is_chromium(directory)]
    if not shares:
        raise LookupError("no process of Chromium is to be seen")
    return sum(shares) / 1e6


def _is_chromium(directory: Path) -> bool:
    with suppress(*_GONE):
        return (directory / "exe").readlink().name.startswith("chrom")
    return False


def _share(directory: Path) -> int:
    with suppress(*_GONE):
        lines = (directory / "smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return 0


def _descendants() -> Iterator[Path]:
    children = defaultdict[int, list[int]](list)
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(*_GONE):
            after_name = (directory / "stat").read_text().rpartition(")")[2].split()
            children[int(after_name[1])].append(int(directory.name))
    waiting = [os.getpid()]
    while waiting:
        found = children[waiting.pop()]
        waiting += found
        yield from (Path(f"/proc/{number}") for number in found)

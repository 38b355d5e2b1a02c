"""From nothing, or from a Chromium that is kept, to the first page's snapshot."""

import time

from loadtests.browser_bench import PAGE, Bench
from loadtests.pages.site import SHOWN
from loadtests.report import Figure, percentile
from workstation.local.browser.engine import Engine

COLD_MS = 800.0
WARM_MS = 150.0
_LARGE, _SMALL = "60-row table", "login form"


async def measure(bench: Bench, openings: int) -> list[Figure]:
    """The figures; closing is not part of what is measured. Raises `SandboxUnavailable`."""
    return [*await _cold(bench, openings), *await _warm(bench, openings)]


async def _cold(bench: Bench, openings: int) -> list[Figure]:
    url = bench.url(SHOWN[_LARGE])
    own, plain, mcp = [], [], []
    for _ in range(openings + 1):
        own.append(await _open(bench, url))
        plain.append(await bench.ask_plain("cold", url=url))
        if bench.peers:
            mcp.append(await _open_by_mcp(bench, url))
    beside_mcp = _figures("the same beside playwright-mcp: cold", own, mcp, "playwright-mcp", (50,)) if mcp else []
    return [*_figures(f"{_LARGE}, first snapshot, cold", own, plain, target=COLD_MS), *beside_mcp]


async def _warm(bench: Bench, openings: int) -> list[Figure]:
    """In a Chromium that another browser keeps."""
    figures: list[Figure] = []
    async with bench.engine() as engine, bench.browser(engine) as first:
        await first.open_page(PAGE, url=bench.url(SHOWN[_SMALL]))
        for name in (_LARGE, _SMALL):
            own, plain, url = [], [], bench.url(SHOWN[name])
            for _ in range(openings + 1):
                own.append(await _open(bench, url, engine))
                plain.append(await bench.ask_plain("warm", url=url))
            figures += _figures(f"{name}, first snapshot, warm", own, plain, target=WARM_MS)
    await bench.ask_plain("stop")
    return figures


async def _open(bench: Bench, url: str, engine: Engine | None = None) -> float:
    before = time.perf_counter()
    async with bench.browser(engine) as browser:
        await browser.open_page(PAGE, url=url)
        await browser.snapshot(PAGE)
        return (time.perf_counter() - before) * 1000


async def _open_by_mcp(bench: Bench, url: str) -> float:
    before = time.perf_counter()
    async with bench.mcp() as mcp:
        await mcp.call("browser_navigate", url=url)
        await mcp.call("browser_snapshot")
        return (time.perf_counter() - before) * 1000


def _figures(
    name: str,
    own: list[float],
    others: list[float],
    peer: str = "plain Playwright",
    percents: tuple[int, ...] = (50, 95),
    target: float | None = None,
) -> list[Figure]:
    """Without the first of each, which warmed up; the target is for the median."""
    return [
        Figure(
            f"{name}, p{percent}",
            percentile(own[1:], percent),
            "ms",
            target if percent == 50 else None,
            peer=peer,
            peer_value=percentile(others[1:], percent),
        )
        for percent in percents
    ]

"""An action on a page, and the look at what it led to."""

import time
from collections.abc import Awaitable, Callable, Mapping

from loadtests.browser_bench import PAGE, Bench
from loadtests.browser_mcp import PlaywrightMcp
from loadtests.browser_refs import ref_named
from loadtests.pages.counter import BUTTON
from loadtests.pages.site import COUNTER
from loadtests.report import Figure, percentile
from workstation.interface import Click
from workstation.local.browser.browser import LocalBrowser

type Timed = Callable[[], Awaitable[float]]
"""Does something and gives the milliseconds of the part that counts."""

_PLAIN, _MCP = "plain Playwright", "playwright-mcp"
_MCP_MOST = 10
"""playwright-mcp waits half a second after each action."""


async def measure(bench: Bench, actions: int) -> list[Figure]:
    """The figures. Raises `SandboxUnavailable`."""
    url = bench.url(COUNTER)
    async with bench.browser() as browser:
        await browser.open_page(PAGE, url=url)
        await bench.ask_plain("hold", url=url, count=1)
        taken = await _rounds(_operations(browser, bench), actions)
        await bench.ask_plain("stop")
        beside_mcp = await _beside_mcp(browser, bench, min(actions, _MCP_MOST))
    return [
        *_figures("snapshot of 60 rows", taken["look"], taken["plain look"], _PLAIN),
        *_figures("click and snapshot", taken["click"], taken["plain click"], _PLAIN),
        *_figures("click and what it changed", taken["changes"], taken["plain click"], _PLAIN),
        *beside_mcp,
    ]


def _operations(browser: LocalBrowser, bench: Bench) -> Mapping[str, Timed]:
    return {
        "look": lambda: _look(browser),
        "plain look": lambda: bench.ask_plain("look"),
        "click": lambda: _click(browser, changes=False),
        "plain click": lambda: bench.ask_plain("click", name=BUTTON),
        "changes": lambda: _click(browser, changes=True),
    }


async def _beside_mcp(browser: LocalBrowser, bench: Bench, actions: int) -> list[Figure]:
    if bench.peers is None:
        return []
    async with bench.mcp() as mcp:
        await mcp.call("browser_navigate", url=bench.url(COUNTER))
        operations = {"click": lambda: _click(browser, changes=False), _MCP: lambda: _click_by_mcp(mcp)}
        taken = await _rounds(operations, actions)
    return _figures("the same beside playwright-mcp: click and snapshot", taken["click"], taken[_MCP], _MCP, (50,))


async def _rounds(operations: Mapping[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Each in turn, after one round that warms up."""
    taken: dict[str, list[float]] = {name: [] for name in operations}
    for number in range(rounds + 1):
        for name, operation in operations.items():
            milliseconds = await operation()
            if number:
                taken[name].append(milliseconds)
    return taken


async def _look(browser: LocalBrowser) -> float:
    before = time.perf_counter()
    await browser.snapshot(PAGE)
    return (time.perf_counter() - before) * 1000


async def _click(browser: LocalBrowser, *, changes: bool) -> float:
    ref = ref_named((await browser.snapshot(PAGE)).text, BUTTON)
    before = time.perf_counter()
    await browser.act(PAGE, Click(ref=ref))
    await browser.snapshot(PAGE, changes=changes)
    return (time.perf_counter() - before) * 1000


async def _click_by_mcp(mcp: PlaywrightMcp) -> float:
    ref = ref_named(await mcp.call("browser_snapshot"), BUTTON)
    before = time.perf_counter()
    await mcp.call("browser_click", element=BUTTON, target=ref)
    await mcp.call("browser_snapshot")
    return (time.perf_counter() - before) * 1000


def _figures(
    name: str, own: list[float], others: list[float], peer: str, percents: tuple[int, ...] = (50, 95)
) -> list[Figure]:
    return [
        Figure(f"{name}, p{percent}", percentile(own, percent), "ms", peer=peer, peer_value=percentile(others, percent))
        for percent in percents
    ]

"""The browser of a workstation and its way out, each beside what a user could have instead."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from loadtests import browser_actions, browser_memory, browser_openings, browser_snapshots, egress
from loadtests.browser_bench import Bench, prepared
from loadtests.children import PeerFailed
from loadtests.report import Figure
from workstation.errors import WorkstationError

type Part = Callable[[], Awaitable[list[Figure]]]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How often what is compared takes turns, how many contexts share a Chromium, how much passes the egress proxy."""

    openings: int
    contexts: int
    actions: int
    requests: int
    transfers: int


FULL = Lengths(openings=20, contexts=8, actions=100, requests=1000, transfers=7)
QUICK = Lengths(openings=2, contexts=2, actions=10, requests=100, transfers=1)


async def measure(lengths: Lengths) -> list[Figure]:
    """The figures; a part that cannot be measured is a row that says why."""
    way_out = await _measured("egress proxy", lambda: egress.measure(lengths.requests, lengths.transfers))
    return [*way_out, *await _browser(lengths)]


async def _browser(lengths: Lengths) -> list[Figure]:
    try:
        async with prepared() as bench:
            return [figure for name, part in _parts(bench, lengths).items() for figure in await _measured(name, part)]
    except WorkstationError as error:
        return [_not_measured("browser", error)]


def _parts(bench: Bench, lengths: Lengths) -> dict[str, Part]:
    return {
        "opening the browser": lambda: browser_openings.measure(bench, lengths.openings),
        "memory of the browser": lambda: browser_memory.measure(bench, lengths.contexts),
        "actions in the browser": lambda: browser_actions.measure(bench, lengths.actions),
        "snapshots of the browser": lambda: browser_snapshots.measure(bench),
    }


async def _measured(name: str, part: Part) -> list[Figure]:
    try:
        return await part()
    except (WorkstationError, PeerFailed) as error:
        return [_not_measured(name, error)]


def _not_measured(name: str, error: Exception) -> Figure:
    return Figure(f"{name}: {error}", None, "")

"""The hooks that installed packages bring, of those that an operator has named."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from importlib.metadata import entry_points

from agent.errors import HooksNotLoaded
from agent.hooks import Hooks
from agent.moments import in_words
from agent.own_thread import OwnThread

log = logging.getLogger(__name__)

GROUP = "empla.hooks"
"""The group of entry points in which a package says where its `Hooks` are."""
LOAD_SECONDS = 10.0


async def installed(names: Sequence[str]) -> Hooks:
    """The hooks that are installed by these names. Why one cannot be loaded is reported, and nobody's failure."""
    hooks = Hooks()
    for name in names:
        thread = OwnThread(f"hooks {name}")
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                hooks.include(await thread.call(partial(_load, name)))
        except TimeoutError:
            hooks.missing(name, f"it was not imported within {LOAD_SECONDS:g} s")
        except (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException as error:
            log.exception("hooks %s cannot be loaded, the employee goes on without them", name)
            hooks.missing(name, in_words(error))
        finally:
            thread.end()
    return hooks


def _load(name: str) -> Hooks:
    found = entry_points(group=GROUP, name=name)
    if len(found) != 1:
        there = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none"
        raise HooksNotLoaded(
            f"{len(found) or 'no'} packages have {name!r} as an entry point of {GROUP}; there are: {there}"
        )
    [point] = found
    hooks = point.load()
    if not isinstance(hooks, Hooks):
        raise HooksNotLoaded(f"{point.value} is no agent.hooks.Hooks but a {type(hooks).__name__}")
    return hooks

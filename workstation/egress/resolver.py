"""Names to addresses, through the system's resolver."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

type Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Gives the IP addresses of a name; raises OSError where there are none. Who calls it bounds the time."""

_LOOKUPS = 16
"""At a time; a lookup that nobody waits for any more keeps its thread until the system gives up."""


class SystemResolver:
    """`getaddrinfo` in threads of its own, so that slow lookups hold up each other and nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="egress-lookup")

    async def __call__(self, name: str) -> Sequence[str]:
        """The addresses of `name`, in the order in which to try them."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _lookup, name)
        return tuple(dict.fromkeys(found))

    def close(self) -> None:
        """Look up no more; lookups under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lookup(name: str) -> list[str]:
    answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in answers]

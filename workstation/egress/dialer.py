"""Connecting to a host: one look at its name, every address checked, and a socket to one that was."""

import asyncio
import socket
from collections.abc import Sequence

from empla.addresses import literal
from workstation.egress.endings import Ending, failed
from workstation.egress.policy import EgressRule
from workstation.egress.resolver import Resolve

_ATTEMPTS = 8
"""Addresses of one name that are tried; all are checked."""


class Dialer:
    """Makes connections within `seconds` each."""

    def __init__(self, resolve: Resolve, seconds: float) -> None:
        self._resolve, self._seconds = resolve, seconds

    async def connect(self, host: str, port: int, rule: EgressRule) -> tuple[socket.socket, str]:
        """A socket to `host`, and its address.

        Raises `EgressRefused` if one of its addresses is refused, `Ending` if none answers.
        """
        deadline = asyncio.get_running_loop().time() + self._seconds
        addresses = await self._addresses(host)
        for address in addresses:
            rule.check_address(address)
        return await _first(addresses[:_ATTEMPTS], port, deadline)

    async def _addresses(self, host: str) -> Sequence[str]:
        if literal(host) is not None:
            return (host,)
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._resolve(host)
        except TimeoutError:
            raise failed(504, f"the name was not found within {self._seconds:g} seconds") from None
        except (OSError, UnicodeError) as error:
            raise failed(502, "the name has no address") from error
        if not found:
            raise failed(502, "the name has no address")
        return found


async def _first(addresses: Sequence[str], port: int, deadline: float) -> tuple[socket.socket, str]:
    """The first that answers; those that are silent share the time evenly with those still to be tried."""
    loop = asyncio.get_running_loop()
    ending = failed(502, "the name has no address")
    for index, address in enumerate(addresses):
        share = (deadline - loop.time()) / (len(addresses) - index)
        try:
            async with asyncio.timeout(share):
                return await _connected(address, port), address
        except OSError as error:
            ending = _unreachable(error)
    raise ending


def _unreachable(error: OSError) -> Ending:
    if isinstance(error, TimeoutError):
        return failed(504, "the server did not answer the connection in time")
    return failed(502, f"no connection to the server ({error.strerror or 'refused'})")


async def _connected(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock

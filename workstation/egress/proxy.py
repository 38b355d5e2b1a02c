"""The way out to the network: a forward proxy that lets through what a policy allows."""

import socket
from types import TracebackType
from typing import Self

from workstation.egress.dialer import Dialer
from workstation.egress.door import Door
from workstation.egress.limits import EgressLimits
from workstation.egress.policy import EgressPolicy
from workstation.egress.resolver import Resolve, SystemResolver

_NOTHING = EgressPolicy()
_LIMITS = EgressLimits()


class EgressProxy:
    """HTTP requests, tunnels and WebSockets of its doors, all under one policy; an async context manager.

    A name is resolved once for each request, every address of the answer is checked, and the connection goes to one that
    was checked. A redirect is the client's next request and is decided about like any other. `resolve` stands in for the
    system's resolver.
    """

    def __init__(
        self, policy: EgressPolicy = _NOTHING, *, limits: EgressLimits = _LIMITS, resolve: Resolve | None = None
    ) -> None:
        self._policy, self._limits = policy, limits
        self._resolver = SystemResolver()
        self._dialer = Dialer(resolve or self._resolver, limits.connect_seconds)
        self._doors: set[Door] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        doors = tuple(self._doors)
        try:
            for door in doors:
                door.cut()  # all at once: whoever waits for the first may be cancelled
            for door in doors:
                await door.close()
        finally:
            self._resolver.close()

    @property
    def policy(self) -> EgressPolicy:
        """What is allowed. A new one holds at once: requests and tunnels under way that it does not allow are cut."""
        return self._policy

    @policy.setter
    def policy(self, policy: EgressPolicy) -> None:
        self._policy = policy
        for door in self._doors:
            door.recheck(policy)

    def open_door(self, listener: socket.socket, *, client: str) -> Door:
        """Serve what `listener` accepts, a listening TCP or unix socket, which the door owns from now on.

        `client` says in the log who it is. A socket from another network namespace works as well as one of this.
        """
        door = Door(
            listener,
            client,
            limits=self._limits,
            dialer=self._dialer,
            policy=lambda: self._policy,
            closed=self._doors.discard,
        )
        self._doors.add(door)
        return door

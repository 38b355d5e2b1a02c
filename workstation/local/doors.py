"""The way out of jailed programs: each jail's listener, served by the egress proxy for as long as the jail lives."""

from workstation.egress import Door, EgressProxy
from workstation.local.jail.jail import PROXY_PORT, Jail

_PROXY = f"http://127.0.0.1:{PROXY_PORT}"
_OWN = "localhost,127.0.0.1,::1"
"""What a program reaches without the proxy: itself."""
_ENVIRONMENT = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _PROXY),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), _OWN),
}


class Doors:
    """Opens the doors of one Compute's jails; without a `proxy` there are none."""

    def __init__(self, proxy: EgressProxy | None) -> None:
        self._proxy = proxy

    @property
    def lead_out(self) -> bool:
        """Whether programs reach anything."""
        return self._proxy is not None

    @property
    def environment(self) -> dict[str, str]:
        """Where programs look for the way out."""
        return dict(_ENVIRONMENT) if self._proxy is not None else {}

    def open(self, jail: Jail, client: str, trace: str) -> Door | None:
        """Serve what runs in a jail, under the trace of whoever started it; `leave` ends both."""
        if self._proxy is None or jail.listener is None:
            return None
        door = self._proxy.open_door(jail.listener, client=client)
        door.trace = trace
        return door


async def leave(jail: Jail, door: Door | None) -> None:
    """Close the door and destroy the jail behind it."""
    try:
        if door is not None:
            await door.close()
    finally:
        await jail.destroy()

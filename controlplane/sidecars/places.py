"""Where sidecars have their sockets: a directory of its own for each, which nobody but this account may enter."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from uuid import UUID

from controlplane.errors import LaunchFailed
from controlplane.launchers.interface import LaunchedProcess

SOCKET = "sock"
NEWS = "news"
"""Where a sidecar says that it serves."""
GROUPS = "groups"
"""Where a sidecar names the directories of its control group."""
MAX_SOCKET_PATH = 107
READY_SECONDS = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.002, 0.05
CLEAR_SECONDS = 5.0
_CGROUPS = Path("/sys/fs/cgroup")
_OURS = "empla-sidecar-"

log = logging.getLogger(__name__)


class Places:
    """The directories below one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._news: dict[UUID, socket.socket] = {}

    def socket(self, sidecar_id: UUID) -> Path:
        """The sidecar's socket."""
        return self._directory / sidecar_id.hex / SOCKET

    async def make(self, sidecar_id: UUID) -> str:
        """Make a sidecar's directory; returns the address to serve at. Raises `LaunchFailed`."""
        path = self.socket(sidecar_id)
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise LaunchFailed(f"{path} is too long for a socket's path: choose a shorter EMPLA_HOME")
        try:
            await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True)
            self._news[sidecar_id] = _listening(path.with_name(NEWS))
        except OSError as error:
            await self.clear(sidecar_id)
            raise LaunchFailed(f"no sidecar can be started: {error}") from error
        return f"unix:{path}"

    async def until_serving(self, sidecar_id: UUID, process: LaunchedProcess) -> None:
        """Wait until the sidecar says that it takes connections; raises `LaunchFailed`."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        gone, serving = asyncio.ensure_future(process.wait()), asyncio.ensure_future(told.wait())
        with self._news.pop(sidecar_id) as news:
            loop.add_reader(news, told.set)
            try:
                await asyncio.wait([gone, serving], timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    raise LaunchFailed(
                        f"the sidecar ended with {gone.result()} before it served; its employee's log says why"
                    )
                if not told.is_set():
                    raise LaunchFailed(
                        f"the sidecar did not serve within {READY_SECONDS:g} s; its employee's log says why"
                    )
            finally:
                loop.remove_reader(news)
                gone.cancel()
                serving.cancel()

    async def clear(self, sidecar_id: UUID) -> None:
        """Remove what a sidecar that is gone left; returns when nothing that it started runs any more."""
        if news := self._news.pop(sidecar_id, None):
            news.close()
        await _cleared(self._directory / sidecar_id.hex)

    async def keep_only(self, known: set[UUID]) -> None:
        """Clear up after all others."""
        names = {sidecar_id.hex for sidecar_id in known}
        for place in await asyncio.to_thread(_entries, self._directory):
            if place.name not in names:
                await _cleared(place)


def _listening(path: Path) -> socket.socket:
    """For whoever may enter the directory: the account that a sidecar has in a container is not ours."""
    news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        news.bind(str(path))
        path.chmod(0o666)
    except OSError:
        news.close()
        raise
    return news


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


async def _cleared(place: Path) -> None:
    """Kill and remove until nothing is left. It may take a while: a process in the kernel's hands does not end at once."""
    began, pause = time.monotonic(), FIRST_PAUSE_SECONDS
    while left := await asyncio.to_thread(_clear, place):
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE_SECONDS)
        if time.monotonic() - began > CLEAR_SECONDS:
            log.warning("what a sidecar left does not go away: %s", ", ".join(left))
            began = time.monotonic()


def _clear(place: Path) -> list[str]:
    """Returns what is still there."""
    try:
        groups = (place / GROUPS).read_text().splitlines()
    except FileNotFoundError:
        groups = []
    left = []
    for group in map(Path, groups):
        is_one = group.is_relative_to(_CGROUPS) and ".." not in group.parts and group.name.startswith(_OURS)
        if is_one and not _end_group(group):
            left.append(str(group))
    if not left:
        shutil.rmtree(place, ignore_errors=True)
    return left


def _end_group(group: Path) -> bool:
    """Kill whoever is in a control group and those below, and remove it; False while that is not done."""
    for procs in group.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            for pid in procs.read_text().split():
                if pid != "0":  # one that we do not see, or that just ends; to kill 0 would be to kill ourselves
                    os.kill(int(pid), signal.SIGKILL)
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not group.is_dir()

"""Where employees keep their files: a directory for each, which as root belongs to an account of the employee's own."""

import asyncio
import logging
import os
from pathlib import Path
from uuid import UUID

from controlplane.errors import LaunchFailed
from controlplane.launchers.commands import run
from controlplane.launchers.volumes import Volumes

log = logging.getLogger(__name__)

FIRST_ACCOUNT = 2_010_000_000
ACCOUNTS = 100_000_000
"""Where nobody else allots user ids: distributions, container managers and homed end at 1,879,048,191 and the range at
2,147,352,576 is systemd's again (https://systemd.io/UIDS-GIDS/); OpenShift's projects end at 2,000,000,000, SSSD's mapped
accounts at 2,000,200,000 (sssd-ad(5)). From 2,147,483,648 on some programs take them for negative."""
GIVING_SECONDS = 60.0


def account_of(employee_id: UUID) -> int:
    """The user and group id of an employee's files and jailed programs, the same wherever it is worked out.

    Two of a thousand employees share one with a probability of 1 in 200: their jails still keep them apart.
    """
    return FIRST_ACCOUNT + employee_id.int % ACCOUNTS


class Workspaces:
    """The workspaces below one directory, each of them a volume of its own if there are to be `volumes`."""

    def __init__(self, directory: Path, volumes: Volumes) -> None:
        self._directory, self._volumes = directory, volumes

    def place(self, employee_id: UUID) -> Path:
        """Where an employee's workspace is, or will be."""
        return self._directory / str(employee_id)

    async def prepare(self, employee_id: UUID) -> Path:
        """Have an employee's workspace ready, before its process is there; raises `LaunchFailed`."""
        try:
            place = await asyncio.to_thread(_make, self.place(employee_id))
            await self._volumes.mount(str(employee_id), place)
            if os.geteuid() == 0:
                await _give(place, account_of(employee_id))
        except OSError as error:
            raise LaunchFailed(f"the workspace cannot be made: {error}") from error
        return place

    async def release(self, employee_id: UUID) -> None:
        """Let go of the volume of an employee whose process is gone; its files stay in the image."""
        await self._unmount(str(employee_id))

    async def release_all(self) -> None:
        """Let go of every volume, also those of employees that an earlier control plane knew."""
        async with asyncio.TaskGroup() as group:
            for name in await asyncio.to_thread(self._volumes.names):
                group.create_task(self._unmount(name))

    async def _unmount(self, name: str) -> None:
        try:
            await self._volumes.unmount(name, await asyncio.to_thread((self._directory / name).resolve))
        except LaunchFailed as error:
            log.warning("the volume of employee %s stays mounted: %s", name, error)


async def open_workspaces(
    directory: Path, images: Path, quota_bytes: int | None, quota_entries: int | None
) -> Workspaces:
    """Workspaces whose quota is enforced where this machine can do that; where it cannot, the log says so."""
    volumes = Volumes(images, quota_bytes, quota_entries)
    if (quota_bytes is not None or quota_entries is not None) and (why := await volumes.why_not()):
        log.warning("the workspaces' quota is only advisory, jailed programs can exceed it; no volumes: %s", why)
        volumes = Volumes(images, None, None)
    return Workspaces(directory, volumes)


def _make(place: Path) -> Path:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place.resolve()  # the operator may have put a link to another disk there


async def _give(place: Path, account: int) -> None:
    """Give the workspace and all in it to the employee: an earlier version's files, and what the operator copied in.

    Links are given, not followed. A file with several names keeps its owner, for one of them may be outside. (Jailed
    programs cannot make such a name, link(2) does not cross mounts; the operator can.) As long as no process of the
    employee runs, nobody is there to exchange anything meanwhile. What cannot be given is no reason not to launch: the
    sandbox refuses a workspace of root's, and everything else works.
    """
    try:
        await asyncio.to_thread(_close_to_others, place, account)
    except OSError as error:  # as in a user namespace without so many accounts
        log.warning("%s stays root's, and no program can be run there: %s", place, error)
        return
    to, foreign = f"{account}:{account}", ("(", "!", "-uid", str(account), "-o", "!", "-gid", str(account), ")")
    safe = ("(", "-type", "d", "-o", "-links", "1", ")")
    chown = ("-execdir", "chown", "--no-dereference", to, "{}", "+")
    try:
        await run("find", "-P", place, "-xdev", *foreign, *safe, *chown, seconds=GIVING_SECONDS)
    except LaunchFailed as error:
        log.warning("some files in %s do not belong to the employee: %s", place, error)


def _close_to_others(place: Path, account: int) -> None:
    place.chmod(0o700)
    os.chown(place, account, account)

"""The container launcher of employees: each in a container of its own, over the engine's socket on this machine.

What an employee works with is mounted: its workspace, and the directories in which control planes, database and sidecars
listen. There is nothing in there that a sandbox could be built of: its programs and pages are in sidecars.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from controlplane.backoff import OUT_OF_MEMORY
from controlplane.errors import LaunchFailed
from controlplane.launchers.containers import ContainerProcess, Containers, Image, bind, to_its_end
from controlplane.launchers.interface import EMPLOYEE, LaunchSpec
from empla.rpc import is_local
from empla.transport import Transport

IMAGE = "localhost/empla/employee:latest"
NOTICE = "in containers, with their programs and pages in sidecars, whatever their profiles say"
PROCESSES = 512
"""Threads count; there are no programs."""
RESOURCES = {"nofile": 4096, "core": 0}
SCRATCH_BYTES = 64 << 20
"""Files outside of the workspace, which count as memory."""
_WORKSPACE, _GATEWAYS, _DATABASE, _LOG = "/workspace", "/run/gateway", "/run/postgresql", "/run/empla.log"
_ELSEWHERE = ("compute_packages", "browser_profile", "memory_bytes", "bounds", "collector")
"""Settings for what is not in there: sandboxes, control groups of its own, and a way to whoever takes traces."""


def images(network: str) -> dict[str, Image]:
    """The image that deploy/images/build.sh builds; employees reach models and the web through `network`."""
    return {EMPLOYEE: Image(IMAGE, network)}


def gateway_socket(address: str) -> str:
    """The name of the socket at which the control plane listens for containers that others dial at `address`."""
    return address.rpartition(":")[2].rpartition("/")[2]


def database_in_container(dsn: str) -> tuple[str, Path | None]:
    """How a container reaches a database, and the directory of its sockets to mount, if it has one.

    Raises `LaunchFailed`, DATABASE_OUT_OF_REACH, when it does not.
    """
    url = urlsplit(dsn)
    query = dict(parse_qsl(url.query))
    host = query.get("host") or url.hostname or "localhost"
    if host.startswith("/"):
        query["host"] = _DATABASE
        return url._replace(query=urlencode(query, safe="/")).geturl(), Path(host)
    if is_local(f"{host}:0") or host.startswith("%"):
        raise LaunchFailed(
            f"employees in containers do not reach the database at {host}, which is this machine's own there: have "
            "EMPLA_DATABASE_URL name its directory of sockets, as ?host=/run/postgresql, or a name that others know",
            reason="DATABASE_OUT_OF_REACH",
        )
    return dsn, None


class EmployeeContainerLauncher(Containers):
    """Launches employees; see `Containers`. Control planes listen in `gateways`, sidecars in `sidecars`."""

    forgotten_seconds = 0.0

    def __init__(
        self, address: str, installation: str, images: Mapping[str, Image], *, gateways: Path, sidecars: Path
    ) -> None:
        super().__init__(address, installation, images)
        self._gateways, self._sidecars = gateways, sidecars

    async def launch(self, spec: LaunchSpec) -> ContainerProcess:
        """Start a container, which takes its settings; raises `LaunchFailed`."""
        configuration = await asyncio.to_thread(self._configuration, spec)
        name = f"empla-{spec.kind}-{spec.employee_id}-{spec.epoch}"
        container = await self._created(name, configuration)
        try:
            await self._begin(container, spec)
            return await self._process(container, configuration["Labels"])
        except BaseException:
            await to_its_end(self._engine.remove(container))
            raise

    async def _begin(self, container: str, spec: LaunchSpec) -> None:
        if not await self._engine.start_told(container, json.dumps(_inside(spec)).encode()):
            raise LaunchFailed(f"the employee's container ended as it started; see {spec.log}", reason="ENDED")

    async def _process(self, container: str, labels: Mapping[str, str]) -> ContainerProcess:
        return ContainerProcess(self, container, labels, (await self._engine.state(container))["Pid"])

    async def _told(self, container: str, code: int) -> int:
        """The engine alone knows why the kernel killed it."""
        killed = code == -signal.SIGKILL and (await self._engine.state(container)).get("OOMKilled")
        return OUT_OF_MEMORY if killed else code

    def _configuration(self, spec: LaunchSpec) -> dict[str, Any]:
        image, owner, memory = self._image_of(spec), _account(spec), spec.settings["memory_bytes"]
        host = {
            "NetworkMode": image.network,
            "Memory": memory,
            "MemorySwap": memory,
            "PidsLimit": PROCESSES,
            "Privileged": False,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "Ulimits": [{"Name": name, "Soft": most, "Hard": most} for name, most in RESOURCES.items()],
            "Mounts": self._mounts(spec),
            "Tmpfs": {"/tmp": f"noexec,nosuid,nodev,mode=1777,size={SCRATCH_BYTES}"},  # noqa: S108
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        }
        return {
            "Image": image.name,
            "User": f"{owner.st_uid}:{owner.st_gid}",
            "Labels": self._labels(spec),
            "OpenStdin": True,
            "StdinOnce": True,
            "HostConfig": host,
        }

    def _mounts(self, spec: LaunchSpec) -> list[dict[str, Any]]:
        mounts = [
            bind(spec.settings["workspace"], _WORKSPACE),
            bind(spec.log, _LOG),
            bind(self._gateways, _GATEWAYS, for_reading=True),
            # A lease names a sidecar's socket by its path out here.
            bind(self._sidecars, str(self._sidecars), for_reading=True),
        ]
        _, sockets = database_in_container(spec.settings["database_url"])
        return mounts if sockets is None else [*mounts, bind(sockets, _DATABASE, for_reading=True)]


def _account(spec: LaunchSpec) -> os.stat_result:
    """Whom the employee is there: the owner of the workspace, who may add to the log as well."""
    try:
        owner = os.stat(spec.settings["workspace"])
        os.close(os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
        if os.geteuid() == 0:  # sidecars begin as a root without the right to write what is another's
            os.chown(spec.log, 0, owner.st_gid)
            os.chmod(spec.log, 0o620)
    except OSError as error:
        raise LaunchFailed(f"what the employee works on cannot be mounted: {error}", reason="VOLUME_MISSING") from error
    if owner.st_uid == 0:
        raise LaunchFailed(
            "the workspace belongs to root, and no employee is root in a container: give it to an unprivileged account",
            reason="VOLUME_MISSING",
        )
    return owner


def _inside(spec: LaunchSpec) -> dict[str, Any]:
    """The settings as they are in there."""
    gateways = [f"unix:{_GATEWAYS}/{gateway_socket(address)}" for address in spec.settings["gateway"].split(",")]
    return {
        **{name: value for name, value in spec.settings.items() if name not in _ELSEWHERE},
        "workspace": _WORKSPACE,
        "gateway": ",".join(gateways),
        "transport": Transport().model_dump(mode="json"),  # what is mounted does not leave this machine
        "database_url": database_in_container(spec.settings["database_url"])[0],
    }

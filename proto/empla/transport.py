"""How a client reaches the control plane: with TLS, unless it is on this machine or somebody says otherwise."""

from pathlib import Path

import grpc
from pydantic import BaseModel, ConfigDict


class Transport(BaseModel):
    """`ca` vouches for the server (None: the public authorities that gRPC knows), `certificate` and `key` are the client's.

    `server_name` is the name in the server's certificate, where it is dialled by another. `insecure`: in clear to other
    machines too.
    """

    model_config = ConfigDict(frozen=True)

    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""
    insecure: bool = False

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What secures a channel, read from the files; None: nothing. Raises `OSError`."""
        if not self.tls:
            return None
        contents = [path.read_bytes() if path else None for path in (self.ca, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*contents)

    @property
    def options(self) -> list[tuple[str, str]]:
        """The channel's arguments that belong to it."""
        return [("grpc.ssl_target_name_override", self.server_name)] if self.tls and self.server_name else []

"""Which control plane a command means, and how it is reached: the one of this machine, or one that has a context."""

from dataclasses import dataclass, field
from pathlib import Path

import click

from controlplane.cli.contexts import LOCAL, Context, read_contexts
from controlplane.cli.errors import CONTEXT, NotPermitted, Unreachable
from controlplane.settings import Settings
from empla.rpc import is_local
from empla.transport import Transport

_HOME_HINT = "if it runs with another EMPLA_HOME, set that here too, or set EMPLA_TOKEN"
START_HINT = "is the control plane running? start it with `empla up`"


@dataclass(frozen=True, slots=True)
class Target:
    """A control plane with what it takes to call it."""

    context: str
    address: str
    http_address: str
    token: str = field(repr=False)
    transport: Transport
    others: tuple[str, ...] = ()
    """Where the other control planes of its installation are."""

    @property
    def said(self) -> str:
        """The context after a name or an address, where it is not the one of this machine."""
        return "" if self.context == LOCAL else f" (context {self.context})"

    @property
    def way_out(self) -> str:
        """What to do when nobody answers there."""
        if self.context != LOCAL:
            return f"is it running? `empla context show {self.context}` says where"
        return START_HINT + "".join(
            f", or ask another one: EMPLA_GRPC_ADDRESS={address}" for address in self.others[:1]
        )

    @property
    def calling_hint(self) -> str:
        """What to do when somebody answers there, but not to such a call."""
        if self.context == LOCAL:
            how = "EMPLA_TLS_CA has it called by TLS"
        else:
            how = f"`empla context add {self.context}` takes --ca FILE, which has it called by TLS"
        return f"{how}; EMPLA_TLS_CLIENT_CERTIFICATE and EMPLA_TLS_CLIENT_KEY are for one that asks for a certificate"

    @property
    def trust_hint(self) -> str:
        """What to do when its certificate is refused."""
        if self.context == LOCAL:
            return "EMPLA_TLS_CA says who vouches for it, EMPLA_TLS_SERVER_NAME which name its certificate has"
        return f"`empla context add {self.context}` takes --ca FILE, who vouches for it"

    @property
    def token_hint(self) -> str:
        """What to do when the token is refused."""
        if self.context == LOCAL:
            return "set EMPLA_TOKEN, or use the token file of the machine that runs the control plane"
        return f"`empla context show {self.context}` says where its token is from"


def context_name(settings: Settings) -> str:
    """The context that is meant: by --context, EMPLA_CONTEXT, or `empla context use` where EMPLA_GRPC_ADDRESS is not set."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None and (given := ctx.meta.get(CONTEXT)) is not None:
        return str(given)
    if settings.context:
        return settings.context
    if "grpc_address" in settings.model_fields_set:
        return LOCAL
    return read_contexts(settings.contexts_file).current


def chosen_target(settings: Settings) -> Target:
    """The control plane that is meant; raises `NotFound` for an unknown context, `NotPermitted` without a usable token."""
    name = context_name(settings)
    if name == LOCAL:
        return local_target(settings)
    context = read_contexts(settings.contexts_file).get(name)
    tls = bool(context.ca) or not is_local(context.address)  # no token is shown to a network in clear
    transport = Transport(
        tls=tls,
        ca=Path(context.ca) if context.ca else None,
        certificate=settings.tls_client_certificate,
        key=settings.tls_client_key,
        server_name=settings.tls_server_name,
    )
    return Target(name, context.address, context.http_address, _context_token(name, context, settings), transport)


def local_target(settings: Settings) -> Target:
    """The control plane of this machine; its token is EMPLA_TOKEN, or in the file that `empla up` writes."""
    given = settings.token.get_secret_value() if settings.token else ""
    token = given or _token_in_home(settings)
    source = "EMPLA_TOKEN" if given else str(settings.token_file)
    http = f"https://{settings.http_address}" if settings.transport.tls else settings.http_address
    address = settings.dialled_address
    others = tuple(one for one in map(settings.dialled, filter(None, settings.gateways.split(","))) if one != address)
    return Target(LOCAL, address, http, checked_token(token, source), settings.transport, others)


def _token_in_home(settings: Settings) -> str:
    try:
        return settings.token_file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise Unreachable(f"there is no token at {settings.token_file}: {START_HINT}; {_HOME_HINT}") from error
    except OSError as error:
        raise NotPermitted(
            f"the token at {settings.token_file} cannot be read ({error.strerror}): "
            "use the account that runs the control plane, or set EMPLA_TOKEN"
        ) from error


def _context_token(name: str, context: Context, settings: Settings) -> str:
    """Its own token; one that has none takes EMPLA_TOKEN."""
    if context.token:
        return checked_token(context.token, f"context {name}")
    if context.token_file:
        content = _bytes(Path(context.token_file), f"the token of context {name}")
        return checked_token(content.decode(errors="replace"), context.token_file)
    if settings.token is None:
        raise NotPermitted(f"context {name} has no token: set EMPLA_TOKEN, or add it again with --token-file FILE")
    return checked_token(settings.token.get_secret_value(), "EMPLA_TOKEN")


def checked_token(content: str, source: str) -> str:
    """The token in `content`; raises `NotPermitted`, which names the `source`, for what is none."""
    token = content.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise NotPermitted(f"what {source} holds is not a token")
    return token


def _bytes(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotPermitted(f"{what} cannot be read: {path}: {error.strerror}") from error

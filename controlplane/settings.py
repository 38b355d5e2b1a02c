"""What the control plane and its command line read from the environment; nothing else in this package does."""

import logging
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from controlplane.attempts import PER_MINUTE
from controlplane.launchers.volumes import SMALLEST_BYTES
from empla.prices import Price
from empla.rpc import is_local
from empla.telemetry import Collector
from empla.transport import Transport

LOOPBACK = ("127.0.0.0/8", "::1/128")
"""The networks of this machine itself, where an operator's own services listen."""


OFFLINE = "offline rules"
EVERY_ADDRESS = ("0.0.0.0", "[::]")  # noqa: S104 - compared, not bound


def _default_home() -> Path:
    # The embedded PostgreSQL runs as an account of its own when we are root, and that account cannot enter root's home.
    return Path("/var/lib/empla") if os.geteuid() == 0 else Path.home() / ".empla"


def host_and_port(value: str) -> str:
    """`value`, if it is a host and a port; raises ValueError."""
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise ValueError("must be host:port with a port from 0 to 65535")
    return value


def _headers(value: str) -> dict[str, str]:
    """`name=value,name=value`, encoded as in a URL."""
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ValueError("it or OTEL_EXPORTER_OTLP_HEADERS must be name=value,name=value")
    return {unquote(name).strip(): unquote(content).strip() for name, _, content in pairs}


def _otlp(name: str) -> AliasChoices:
    """The variable for traces, else the one for everything; see opentelemetry.io/docs/specs/otel/protocol/exporter."""
    return AliasChoices(f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}")


class Settings(BaseSettings):
    """The control plane's configuration; each field is the environment variable `EMPLA_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="EMPLA_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=_default_home, description="Where all state lives.")
    database_url: SecretStr | None = Field(default=None, description="A PostgreSQL server; unset: the embedded one.")
    grpc_address: str = Field(default="127.0.0.1:7400", description="host:port, or unix:/path.")
    http_address: str = Field(default="127.0.0.1:7401", description="host:port of webhooks and the status page.")
    tls_certificate: Path | None = Field(
        default=None,
        description="What both ports show, with the chain to who vouches for it; unset: nothing is encrypted.",
    )
    tls_key: Path | None = Field(default=None, description="Its private key.", validate_default=True)
    tls_client_ca: Path | None = Field(
        default=None, description="Who vouches for clients: the gRPC port then asks each for a certificate."
    )
    tls_ca: Path | None = Field(
        default=None, description="Who vouches for the control plane, to the command line and employees."
    )
    tls_client_certificate: Path | None = Field(default=None, description="What these two show of themselves.")
    tls_client_key: Path | None = Field(default=None, validate_default=True)
    tls_server_name: str = Field(
        default="", description="The name in the control plane's certificate, where these two dial another."
    )
    insecure: bool = Field(default=False, description="Let other machines in, and dial them, without TLS.")
    wrong_tokens_per_minute: int = Field(
        default=PER_MINUTE,
        ge=1,
        description="How many one address may show, or wrong signatures to one channel, before it is told to wait.",
    )
    gateways: str = Field(
        default="",
        description="Where employees reach the control planes of this installation, comma separated; unset: grpc_address.",
    )
    launcher: Literal["process", "container", "inprocess"] = Field(
        default="process",
        description="Each employee as a process, or in a container; or, for development, all in the control plane's own.",
    )
    log_level: str = "INFO"
    drain_seconds: float = Field(default=10, gt=0, description="How long employees may finish their work on shutdown.")
    heartbeat_ms: int = Field(default=5000, ge=100, le=60_000)
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024, description="The largest webhook body.")
    workspace_quota_bytes: int | None = Field(
        default=None,
        ge=SMALLEST_BYTES,
        description="What a workspace may take. As root, each is made a volume of this size; one that is there keeps its.",
    )
    workspace_quota_entries: int | None = Field(default=None, ge=1, description="How many files it may hold.")
    retention_days: int = Field(
        default=90, ge=0, le=36_500, description="How long what employees leave behind is kept; 0: for ever."
    )
    callback_networks: tuple[str, ...] = Field(
        default=LOOPBACK,
        description="Networks that are not public and to which registered callbacks may go all the same.",
    )
    alert_webhook: SecretStr | None = Field(
        default=None, description="A URL that alerts are posted to, when they fire and when they are over."
    )
    alert_webhook_secret: SecretStr | None = Field(
        default=None, description="What signs them, as replies to callbacks are signed; unset: unsigned."
    )
    alert_slack: SecretStr | None = Field(default=None, description="The URL of an incoming webhook of Slack.")
    alert_after_seconds: float = Field(
        default=10, ge=0, le=3600, description="How long something lasts before its alert fires."
    )
    alert_clear_seconds: float = Field(
        default=60, ge=0, le=3600, description="How long it has been gone before its alert is over."
    )
    sidecars_per_employee: int = Field(default=4, ge=0, description="How many sidecars an employee may have at once.")
    sidecars_per_tenant: int = Field(default=32, ge=0)
    sidecars_per_host: int = Field(default=64, ge=0)
    sidecars_queue_seconds: float = Field(
        default=20, ge=0, le=600, description="How long an employee may wait for one of its sidecars to be possible."
    )
    sidecars_memory_bytes: int | None = Field(
        default=None, ge=64 << 20, description="The most memory of one sidecar; unset: half of this machine's."
    )
    sidecars_engine: str | None = Field(
        default=None,
        pattern="^unix:///",
        description="A container engine's socket, as unix:///run/docker.sock: sidecars are its containers, not processes.",
        validate_default=True,
    )
    sidecars_network: str = Field(
        default="bridge", description="The engine's network through which sidecars that are containers reach the web."
    )
    employees_network: str = Field(
        default="bridge",
        description="The engine's network through which employees that are containers reach their models.",
    )
    sidecars_warm: int = Field(
        default=1, ge=0, le=100, description="Spare sidecars that are kept ready, for the employees who used one last."
    )
    token: SecretStr | None = Field(
        default=None, description="The command line's operator token; unset: read from home."
    )
    context: str = Field(default="", description="Which control plane the command line means; see docs/cli.md.")
    xdg_config_home: str = Field(default="", validation_alias="XDG_CONFIG_HOME")
    model_provider: str = Field(default="auto", description="auto, anthropic, openai or offline.")
    model_name: str = ""
    model_mind: str = Field(default="", description="The model that forms beliefs and plans, if it is another one.")
    model_prices: dict[str, Price] = Field(
        default_factory=dict,
        description='US dollars for a million tokens, as JSON: {"openai/gpt": {"input": 3, "cached": 0.3, "output": 15}}.',
    )
    hooks: tuple[str, ...] = Field(
        default=(), description="Entry points of the group empla.hooks that each employee loads; see docs/hooks.md."
    )
    employee_memory_bytes: int = Field(
        default=1 << 30,
        ge=128 << 20,
        description="What the process of an employee may take, its sandboxes not counted; over it, it is started again.",
    )
    embedding: Literal["auto", "local", "openai", "off"] = Field(
        default="auto", description="Whose model finds memories by meaning: OpenAI's with a key, or the local one."
    )
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    openai_base_url: str | None = Field(default=None, validation_alias="OPENAI_BASE_URL")
    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_traces_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otlp_headers: SecretStr = Field(default=SecretStr(""), validation_alias=_otlp("HEADERS"))
    otlp_certificate: Path | None = Field(default=None, validation_alias=_otlp("CERTIFICATE"))
    otlp_protocol: str = Field(default="http/protobuf", validation_alias=_otlp("PROTOCOL"))
    otel_traces_exporter: str = Field(default="otlp", validation_alias="OTEL_TRACES_EXPORTER")
    otel_sdk_disabled: str = Field(default="false", validation_alias="OTEL_SDK_DISABLED")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not (url := value.get_secret_value()):
            return None
        if urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise ValueError("must be a URL such as postgresql://USER:PASSWORD@HOST:5432/DATABASE")
        return value

    @field_validator("grpc_address", "http_address")
    @classmethod
    def _address(cls, value: str, info: ValidationInfo) -> str:
        return value if info.field_name == "grpc_address" and value.startswith("unix:/") else host_and_port(value)

    @field_validator("gateways")
    @classmethod
    def _addresses(cls, value: str) -> str:
        several = [one.strip() for one in value.split(",") if one.strip()]
        return ",".join(one if one.startswith("unix:/") else host_and_port(one) for one in several)

    @field_validator("launcher")
    @classmethod
    def _launcher(cls, value: str, info: ValidationInfo) -> str:
        foreign = [name for name in ("grpc_address", "http_address") if not is_local(info.data.get(name, "unix:"))]
        if value == "inprocess" and foreign:
            raise ValueError(
                f"inprocess is for development, and EMPLA_{foreign[0].upper()} lets other machines in: take process"
            )
        return value

    @field_validator("sidecars_engine")
    @classmethod
    def _engine(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("launcher") == "container":
            raise ValueError(
                "EMPLA_LAUNCHER=container takes an engine, whose containers employees and their sidecars are: set this to "
                "its socket, as unix:///run/docker.sock"
            )
        return value

    @field_validator("tls_key", "tls_client_key")
    @classmethod
    def _key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = str(info.field_name).replace("key", "certificate")
        if (value is None) != (info.data.get(certificate) is None):
            raise ValueError(f"a certificate needs its key: set EMPLA_{certificate.upper()} and this, or neither")
        return value

    @field_validator("tls_client_ca")
    @classmethod
    def _mutual(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("tls_certificate") is None:
            raise ValueError("nobody is asked for a certificate without TLS: set EMPLA_TLS_CERTIFICATE as well")
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.upper() not in (known := logging.getLevelNamesMapping()):
            raise ValueError(f"must be one of {', '.join(known)}")
        return value

    @field_validator("callback_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("otlp_endpoint", "otlp_traces_endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("must be a URL such as http://127.0.0.1:4318")
        return value

    @field_validator("alert_webhook", "alert_slack")
    @classmethod
    def _alert_url(cls, value: SecretStr | None) -> SecretStr | None:
        url = urlsplit(value.get_secret_value()) if value else None
        if url and (url.scheme not in ("http", "https") or not url.hostname):
            raise ValueError("must be a URL such as https://example.com/alerts")
        return value if url and url.hostname else None

    @field_validator("otlp_headers")
    @classmethod
    def _named(cls, value: SecretStr) -> SecretStr:
        _headers(value.get_secret_value())
        return value

    @field_validator("otlp_protocol")
    @classmethod
    def _protocol(cls, value: str, info: ValidationInfo) -> str:
        if value != "http/protobuf" and (info.data.get("otlp_endpoint") or info.data.get("otlp_traces_endpoint")):
            raise ValueError("it or OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf: traces are sent by nothing else")
        return value

    @property
    def dialled_address(self) -> str:
        """Where the command line and employees find the gRPC port."""
        return self.dialled(self.grpc_address)

    @staticmethod
    def dialled(address: str) -> str:
        """Where an address that is listened at is found: on this machine, if it is every address."""
        host, _, port = address.rpartition(":")
        return f"localhost:{port}" if host in EVERY_ADDRESS else address

    @property
    def http_scheme(self) -> str:
        """How the HTTP port speaks."""
        return "https" if self.transport.tls else "http"

    @property
    def transport(self) -> Transport:
        """How they reach it: in clear on this machine only, unless that is allowed and nothing is set for TLS."""
        wanted = any((self.tls_certificate, self.tls_ca, self.tls_client_certificate, self.tls_server_name))
        return Transport(
            tls=wanted or not (self.insecure or is_local(self.dialled_address)),
            ca=self.tls_ca and self.tls_ca.absolute(),
            certificate=self.tls_client_certificate and self.tls_client_certificate.absolute(),
            key=self.tls_client_key and self.tls_client_key.absolute(),
            server_name=self.tls_server_name,
            insecure=self.insecure,
        )

    @property
    def collector(self) -> Collector | None:
        """Who takes the spans of every process; None: nobody."""
        base = self.otlp_endpoint.removesuffix("/")
        endpoint = self.otlp_traces_endpoint or (base and f"{base}/v1/traces")
        if not endpoint or self.otel_sdk_disabled.lower() == "true" or self.otel_traces_exporter == "none":
            return None
        return Collector(
            endpoint=endpoint,
            headers=_headers(self.otlp_headers.get_secret_value()),
            certificate=str(self.otlp_certificate.absolute()) if self.otlp_certificate else None,
        )

    @property
    def provider(self) -> str:
        """Whose model employees use when their profile names no other."""
        if self.model_provider != "auto":
            return self.model_provider
        if self.anthropic_api_key and self.anthropic_api_key.get_secret_value():
            return "anthropic"
        return "openai" if self.has_openai else "offline"

    @property
    def lacks_key(self) -> bool:
        """Whether that provider needs a key that is not set."""
        key = self.anthropic_api_key
        missing = {"anthropic": not (key and key.get_secret_value()), "openai": not self.has_openai}
        return missing.get(self.provider, False)

    @property
    def has_openai(self) -> bool:
        """Whether OpenAI, or a server like it, may be asked."""
        return bool(self.openai_base_url or (self.openai_api_key and self.openai_api_key.get_secret_value()))

    @property
    def model(self) -> str:
        """That model in words, such as `openai gpt`."""
        if self.provider == "offline":
            return OFFLINE
        at = f"at {self.openai_base_url}" if self.provider == "openai" and self.openai_base_url else ""
        return " ".join(filter(None, (self.provider, self.model_name or "(its default model)" * (not at), at)))

    @property
    def contexts_file(self) -> Path:
        """The control planes that the command line knows; an XDG_CONFIG_HOME that is no whole path counts as none."""
        given = Path(self.xdg_config_home)
        return (given if given.is_absolute() else Path.home() / ".config") / "empla" / "contexts.toml"

    @property
    def token_file(self) -> Path:
        """Where `empla up` leaves the operator token of this machine, mode 0600."""
        return self.home / "token"

    @property
    def log_directory(self) -> Path:
        """One file for each employee."""
        return self.home / "logs"

    @property
    def workspaces(self) -> Path:
        """One directory for each employee."""
        return self.home / "workspaces"

    @property
    def volumes(self) -> Path:
        """One image for each workspace that is a volume."""
        return self.home / "volumes"

    @property
    def browsers(self) -> Path:
        """The profile of each employee's browser: its cookies and storage."""
        return self.home / "browsers"

    @property
    def sidecars(self) -> Path:
        """A directory for the socket of each sidecar."""
        return self.home / "run" / "sidecars"

    @property
    def container_gateways(self) -> Path:
        """A socket of each control plane, for employees in containers."""
        return self.home / "run" / "gateways"

    @property
    def bounds(self) -> Path:
        """What bounds each employee's process."""
        return self.home / "run" / "bounds"

    @property
    def compute_packages(self) -> Path:
        """The Python packages that jailed programs may import, which `empla compute packages` fills."""
        return self.home / "compute" / "packages"

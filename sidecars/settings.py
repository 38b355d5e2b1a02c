"""What a sidecar is told when it is launched; nothing else in this package reads the environment."""

from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from empla.telemetry import Collector


class SidecarSettings(BaseModel):
    """The configuration of one sidecar, as a launcher that forks hands it over: no secret stands in an environment."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    id: UUID
    employee_id: UUID
    epoch: int = Field(default=0, description="The launch of the employee that it works for.")
    key: SecretStr = Field(description="What signs its tokens, in hexadecimal; see `empla.leases`.")
    expires_at: float = Field(description="When it ends unless a token says later, in seconds since 1970.")
    address: str = Field(description="Where it serves: unix:/path, or host:port on this machine.")
    workspace: Path
    quota_bytes: int | None = None
    quota_entries: int | None = None
    compute_packages: Path | None = None
    browser_profile: Path | None = None
    memory_bytes: int | None = Field(default=None, gt=0, description="What its programs may take together.")
    cpus: float | None = Field(default=None, gt=0, description="How many processors they may use together.")
    owner_pid: int | None = Field(default=None, gt=0, description="The process with which it ends.")
    owner_start_time: int | None = Field(default=None, description="That one's start, in clock ticks since boot.")
    warm: bool = Field(default=False, description="It is launched before anybody asks for it.")
    log_level: str = "INFO"
    collector: Collector | None = Field(default=None, description="Who takes its spans.")

    @field_validator("key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        bytes.fromhex(value.get_secret_value())
        return value

    @property
    def key_bytes(self) -> bytes:
        """The key itself."""
        return bytes.fromhex(self.key.get_secret_value())

    @property
    def socket(self) -> Path | None:
        """The file of the unix socket, if it is to serve on one."""
        return Path(self.address.removeprefix("unix:")) if self.address.startswith("unix:") else None


class EnvironmentSettings(BaseSettings, SidecarSettings):
    """The same from the environment: each field is the variable `EMPLA_SIDECAR_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="EMPLA_SIDECAR_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

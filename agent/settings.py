"""What an employee process is told when it is launched; nothing else in this package reads the environment."""

from pathlib import Path
from uuid import UUID

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent.identity import Identity
from agent.models.choose import Provider
from empla.prices import Price
from empla.telemetry import Collector
from empla.transport import Transport


class AgentSettings(BaseSettings):
    """The configuration of one launch; each field is the environment variable `EMPLA_AGENT_<NAME>`.

    A launcher that forks hands the same fields over in memory, so that no secret stands in an environment.
    """

    model_config = SettingsConfigDict(env_prefix="EMPLA_AGENT_", extra="ignore", frozen=True, hide_input_in_errors=True)

    employee_id: UUID
    tenant_id: UUID
    epoch: int
    credential: SecretStr
    gateway: str
    transport: Transport = Transport()
    database_url: SecretStr
    workspace: Path
    quota_bytes: int | None = None
    quota_entries: int | None = None
    compute_packages: Path | None = None
    browser_profile: Path | None = None
    log_level: str = "INFO"
    collector: Collector | None = None
    model_provider: Provider = "auto"
    model_name: str = ""
    model_mind: str = ""
    anthropic_api_key: SecretStr | None = None
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    model_prices: dict[str, Price] = Field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    memory_bytes: int | None = None
    bounds: Path | None = None

    @property
    def identity(self) -> Identity:
        """Which launch of which employee this is."""
        return Identity(self.employee_id, self.tenant_id, self.epoch)

"""Which model an employee uses, by its settings."""

from dataclasses import dataclass, field
from typing import Literal

from agent.models.interface import Model, ModelRefused

Provider = Literal["auto", "anthropic", "openai", "offline", "scripted"]

DEFAULT_ANTHROPIC = "claude-sonnet-5-5"
DEFAULT_OPENAI = "gpt-5.6-terra"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """What the process was told about models; an empty key is no key.

    `name` is the provider's name of the model, its default when None. `openai_base_url` is any server that speaks
    OpenAI's chat completions; such a server may need no key.
    """

    provider: Provider = "auto"
    name: str | None = None
    anthropic_api_key: str | None = field(default=None, repr=False)
    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """The model, and one line to show at start-up when it is not a real one."""

    model: Model
    notice: str | None = None


class ModelNotConfigured(ModelRefused):
    """The settings name a provider that is unknown or has no key; the message says what to set."""


OFFLINE_NOTICE = (
    "no model key is set: the employee answers with the offline rules only; set ANTHROPIC_API_KEY or OPENAI_API_KEY"
)


def choose_model(settings: ModelSettings) -> ChosenModel:
    """The model that `settings` ask for: with `auto` Anthropic, else OpenAI, else the offline rules.

    Raises `ModelNotConfigured` when the provider is unknown or its key is missing.
    """
    match _provider(settings):
        case "anthropic":
            return ChosenModel(_anthropic(settings))
        case "openai":
            return ChosenModel(_openai(settings))
        case "offline":
            return ChosenModel(_offline(), OFFLINE_NOTICE)
        case "scripted":
            return ChosenModel(_scripted(), "the scripted model is chosen: it echoes what it is asked")
        case unknown:
            known = "auto, anthropic, openai, offline, scripted"
            raise ModelNotConfigured(f"unknown model provider {unknown!r}: set one of {known}")


def _provider(settings: ModelSettings) -> str:
    if settings.provider != "auto":
        return settings.provider
    if settings.anthropic_api_key:
        return "anthropic"
    return "openai" if settings.openai_api_key or settings.openai_base_url else "offline"


# The SDKs cost up to 80 MB and a second of start-up: each is imported only by the process that uses it.


def _anthropic(settings: ModelSettings) -> Model:
    if not settings.anthropic_api_key:
        raise ModelNotConfigured("the model provider is anthropic, but it has no key: set ANTHROPIC_API_KEY")
    from agent.models.anthropic import AnthropicModel  # noqa: PLC0415
    from agent.models.retry import RetryingModel  # noqa: PLC0415

    # Only the default is known to take an effort; less of it keeps answers within seconds.
    effort: Literal["low"] | None = None if settings.name else "low"
    name = settings.name or DEFAULT_ANTHROPIC
    return RetryingModel(AnthropicModel(name, api_key=settings.anthropic_api_key, effort=effort))


def _openai(settings: ModelSettings) -> Model:
    if not settings.openai_api_key and not settings.openai_base_url:
        raise ModelNotConfigured("the model provider is openai, but it has no key: set OPENAI_API_KEY")
    if settings.openai_base_url and not settings.name:
        raise ModelNotConfigured(f"the server at {settings.openai_base_url} needs the name of one of its models")
    from agent.models.openai import OpenAIModel  # noqa: PLC0415
    from agent.models.retry import RetryingModel  # noqa: PLC0415

    name = settings.name or DEFAULT_OPENAI
    return RetryingModel(
        OpenAIModel(name, api_key=settings.openai_api_key or "none", base_url=settings.openai_base_url)
    )


def _offline() -> Model:
    from agent.models.offline import OfflineModel  # noqa: PLC0415

    return OfflineModel()


def _scripted() -> Model:
    from agent.models.scripted import ScriptedModel  # noqa: PLC0415

    return ScriptedModel()

import subprocess
import sys

import pytest

from agent.models.choose import (
    DEFAULT_ANTHROPIC,
    DEFAULT_OPENAI,
    ModelNotConfigured,
    ModelSettings,
    Provider,
    choose_model,
)
from agent.models.interface import ModelRefused


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (ModelSettings(anthropic_api_key="a", openai_api_key="b"), f"anthropic/{DEFAULT_ANTHROPIC}"),
        (ModelSettings(anthropic_api_key="", openai_api_key="b"), f"openai/{DEFAULT_OPENAI}"),
        (ModelSettings(openai_base_url="http://127.0.0.1:1/v1", name="qwen"), "openai/qwen"),
        (ModelSettings(), "offline"),
        (ModelSettings(provider="openai", anthropic_api_key="a", openai_api_key="b"), f"openai/{DEFAULT_OPENAI}"),
        (ModelSettings(provider="anthropic", anthropic_api_key="a", name="claude-x"), "anthropic/claude-x"),
        (ModelSettings(provider="offline", anthropic_api_key="a"), "offline"),
        (ModelSettings(provider="scripted"), "scripted"),
    ],
)
def test_the_model_follows_the_settings(settings: ModelSettings, name: str) -> None:
    assert choose_model(settings).model.name == name


def test_offline_is_announced() -> None:
    notice = choose_model(ModelSettings()).notice
    assert notice is not None
    assert "no model key is set" in notice
    assert "ANTHROPIC_API_KEY or OPENAI_API_KEY" in notice
    assert choose_model(ModelSettings(anthropic_api_key="a")).notice is None


@pytest.mark.parametrize(
    ("provider", "hint"),
    [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY"), ("gemini", "auto, anthropic")],
)
def test_what_is_missing_is_said(provider: Provider, hint: str) -> None:
    with pytest.raises(ModelNotConfigured, match=hint) as caught:
        choose_model(ModelSettings(provider=provider))
    assert isinstance(caught.value, ModelRefused)


def test_a_server_of_ones_own_needs_a_model_name() -> None:
    with pytest.raises(ModelNotConfigured, match="name"):
        choose_model(ModelSettings(openai_base_url="http://127.0.0.1:1/v1"))


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(ModelSettings(anthropic_api_key="secret-a", openai_api_key="secret-b"))


def test_the_sdks_stay_out_until_they_are_chosen() -> None:
    code = (
        "import sys, agent.models.choose as c; c.choose_model(c.ModelSettings());"
        "sys.exit(any(m in sys.modules for m in ('anthropic', 'openai', 'httpx2')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={}, timeout=60)

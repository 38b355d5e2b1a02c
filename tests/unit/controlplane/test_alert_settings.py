"""Who is told of alerts, as the environment says it."""

import pytest
from pydantic import ValidationError

from controlplane.alert_notices import targets_of
from controlplane.settings import Settings


def test_nobody_is_told_unless_somebody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPLA_ALERT_WEBHOOK", "")
    assert targets_of(Settings()) == {}
    monkeypatch.setenv("EMPLA_ALERT_WEBHOOK", "https://example.com/alerts")
    monkeypatch.setenv("EMPLA_ALERT_SLACK", "https://hooks.example.com/T0/secret")
    targets = targets_of(Settings())
    assert (targets["webhook"].secret, targets["slack"].url) == (None, "https://hooks.example.com/T0/secret")
    monkeypatch.setenv("EMPLA_ALERT_WEBHOOK_SECRET", "s3cret")
    targets = targets_of(Settings())
    assert (targets["webhook"].secret, targets["slack"].secret) == (b"s3cret", None)
    assert not [hidden for hidden in ("s3cret", "T0", "example.com") if hidden in repr(Settings())]


@pytest.mark.parametrize("name", ["EMPLA_ALERT_WEBHOOK", "EMPLA_ALERT_SLACK"])
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "hooks.example.com/T0")
    with pytest.raises(ValidationError, match="must be a URL"):
        Settings()

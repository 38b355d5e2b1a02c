"""What the standard's variables for exporting traces come to, and those for TLS."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from controlplane.settings import Settings
from empla.transport import Transport

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def test_without_an_endpoint_nothing_is_exported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"{PREFIX}HEADERS", "key=k")
    monkeypatch.setenv(f"{PREFIX}ENDPOINT", "")
    monkeypatch.setenv(f"{PREFIX}PROTOCOL", "grpc")  # which is about something else
    assert Settings().collector is None


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"ENDPOINT": "http://there:4318"}, "http://there:4318/v1/traces"),
        ({"ENDPOINT": "https://there/otlp/"}, "https://there/otlp/v1/traces"),
        ({"TRACES_ENDPOINT": "http://there/spans"}, "http://there/spans"),
        ({"TRACES_ENDPOINT": "http://there/spans", "ENDPOINT": "http://elsewhere"}, "http://there/spans"),
        ({"TRACES_ENDPOINT": "", "ENDPOINT": "http://there:4318"}, "http://there:4318/v1/traces"),
    ],
)
def test_the_endpoint_of_traces_goes_before_the_one_of_everything(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], endpoint: str
):
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    collector = Settings().collector
    assert collector is not None
    assert (collector.endpoint, collector.headers, collector.certificate) == (endpoint, {}, None)


def test_headers_and_certificate_go_with_it_and_show_nowhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"{PREFIX}ENDPOINT", "https://there")
    monkeypatch.setenv(f"{PREFIX}HEADERS", "elsewhere=x")
    monkeypatch.setenv(f"{PREFIX}TRACES_HEADERS", "authorization=Bearer%20hunter2, x-scope = a,")
    monkeypatch.setenv(f"{PREFIX}CERTIFICATE", "roots.pem")
    settings = Settings()
    collector = settings.collector
    assert collector is not None
    assert collector.headers == {"authorization": "Bearer hunter2", "x-scope": "a"}
    assert collector.certificate == str(Path.cwd() / "roots.pem")
    assert "hunter2" not in repr(settings) + repr(collector)


@pytest.mark.parametrize("variable", [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_it_can_be_turned_off_where_an_endpoint_is_set(monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]):
    monkeypatch.setenv(f"{PREFIX}ENDPOINT", "http://there:4318")
    assert Settings().collector is not None
    monkeypatch.setenv(*variable)
    assert Settings().collector is None


def transport(**given: Any) -> Transport:
    return Settings(**given).transport


def test_another_machine_is_dialled_with_tls_unless_told():
    far = "empla.example.com:7400"
    assert not transport().tls
    assert transport(grpc_address=far).tls
    assert not transport(grpc_address=far, insecure=True).tls
    assert transport(tls_ca=Path("ca.pem"), insecure=True).tls
    assert [Settings(grpc_address=f"{host}:7400").dialled_address for host in ("0.0.0.0", "[::]", "127.0.0.1")] == [
        "localhost:7400",
        "localhost:7400",
        "127.0.0.1:7400",
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"tls_certificate": "c.pem"},
        {"tls_key": "c.key"},
        {"tls_client_certificate": "c.pem"},
        {"tls_client_key": "c.key"},
        {"tls_client_ca": "ca.pem"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_half_of_what_tls_needs_is_refused(given: dict[str, str]):
    with pytest.raises(ValidationError, match="EMPLA_TLS_"):
        Settings.model_validate(given)


def test_a_database_is_a_url_or_the_embedded_one():
    with pytest.raises(ValueError, match="must be a URL such as postgresql://"):
        Settings(database_url=SecretStr("host=db"))
    assert Settings(database_url=SecretStr("")).database_url is None


def test_employees_are_containers_only_where_an_engine_is_named():
    with pytest.raises(ValidationError, match=r"set this to its socket, as unix:///run/docker\.sock"):
        Settings(launcher="container")
    assert Settings(launcher="container", sidecars_engine="unix:///run/docker.sock").launcher == "container"

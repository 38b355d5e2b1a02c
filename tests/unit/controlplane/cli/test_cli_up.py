"""What several starts of `empla up` below one home share, and what they may not."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from controlplane.cli.errors import Failure
from controlplane.cli.up import MOST_DESCRIPTORS, _home_of, _make_home, _open_many, _reported, _token
from controlplane.settings import Settings
from empla.rpc import CannotListen
from empla.store.errors import StoreUnavailable

Fixture = Callable[..., Any]

SERVER = SecretStr("postgresql://somewhere/empla")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    _make_home(tmp_path / "home")
    return tmp_path / "home"


def test_with_a_database_server_several_share_a_home(home: Path):
    settings = Settings(home=home, database_url=SERVER)
    with _home_of(settings), _home_of(settings):
        pass


@pytest.mark.parametrize("alone", [{"database_url": None}, {"database_url": SERVER, "launcher": "inprocess"}])
def test_whoever_needs_a_home_alone_has_it_alone(home: Path, alone: dict[str, object]):
    shared, lonely = Settings(home=home, database_url=SERVER), Settings.model_validate({"home": home} | alone)
    for first, second in ((shared, lonely), (lonely, shared), (lonely, lonely)):
        with _home_of(first), pytest.raises(OSError, match="EMPLA_DATABASE_URL"), _home_of(second):
            pass


def test_the_token_that_is_there_first_is_everybodys(home: Path, monkeypatch: pytest.MonkeyPatch):
    path = home / "token"
    first = _token(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert _token(path) == first
    path.unlink()
    other = f"another one wrote this {'.' * 20}"
    monkeypatch.setattr("os.fsync", lambda _: path.write_text(other))  # in the midst of our writing
    assert _token(path) == other
    assert list(home.glob("token*")) == [path]


def test_it_may_open_as_much_as_its_account_may():
    limits = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        _open_many()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, MOST_DESCRIPTORS), hard)
        _open_many()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_home_that_cannot_be_made_names_the_setting(empla: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMPLA_HOME", str(tmp_path / "file" / "home"))
    result = empla("up", "--no-chat")
    assert (result.exit_code, result.stderr.startswith("empla: ")) == (1, True)
    assert "set EMPLA_HOME to a directory" in result.stderr


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (CannotListen("cannot listen on 127.0.0.1:7400"), "set EMPLA_GRPC_ADDRESS"),
        (StoreUnavailable("the database is unavailable"), "if EMPLA_DATABASE_URL is set"),
    ],
)
def test_what_ends_a_start_is_one_line_that_says_what_to_do(tmp_path: Path, cause: Exception, advice: str):
    with pytest.raises(Failure) as said, _reported(tmp_path / "log"):
        raise ExceptionGroup("of a task group", [cause])
    assert str(cause) in said.value.message
    assert advice in said.value.message


def test_another_error_has_no_such_advice(tmp_path: Path):
    with pytest.raises(Failure, match=r"^no room \(details in .*log\)$"), _reported(tmp_path / "log"):
        raise OSError("no room")
